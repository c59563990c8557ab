//! The time as engines see it: given to them, never read inside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Microseconds since an arbitrary moment.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's monotonic clock, counted from this moment.
    Monotonic(Instant),
    /// Set by hand.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    pub fn monotonic() -> Self {
        Self::Monotonic(Instant::now())
    }

    /// Now, in microseconds.
    pub fn now_us(&self) -> u64 {
        match self {
            // 584,000 years fit.
            Self::Monotonic(start) => {
                u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
            }
            Self::Manual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// A moment somebody has read off the machine's clock already; on a clock set by hand, now.
    pub fn at_us(&self, moment: Instant) -> u64 {
        match self {
            Self::Monotonic(start) => {
                let since = moment.saturating_duration_since(*start);
                u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
            }
            Self::Manual(_) => self.now_us(),
        }
    }
}

/// A number that looks random, from one that does not (splitmix64).
pub(crate) fn scramble(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number below `n` (0 if `n` is 0), from one that is evenly spread: the high half of the product, which
/// takes no division.
pub(crate) fn below(spread: u64, n: u64) -> u64 {
    ((u128::from(spread) * u128::from(n)) >> 64) as u64
}
