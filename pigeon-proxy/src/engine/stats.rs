//! What is counted of an endpoint's calls: totals, and the last ten seconds. Lock-free; 2.1 KiB each.

use std::sync::atomic::{AtomicU64, Ordering};

/// How far back the window reaches, the current second included.
const SECONDS: usize = 10;
/// The classes of the time to the first response message: class `i` is below 2^i × 64 µs.
pub const CLASSES: usize = 24;

/// Counters of one endpoint.
#[derive(Debug)]
pub(crate) struct Stats {
    calls: AtomicU64,
    failures: AtomicU64,
    ring: [Second; SECONDS],
}

/// The counters of one second, used again every ten.
#[derive(Debug, Default)]
struct Second {
    well: Stamped,
    failed: Stamped,
    first_message: [Stamped; CLASSES],
}

/// A counter that begins anew each second it is used in: the second above, the count below. So no two
/// seconds are ever mixed up, and nobody has to clear anything.
#[derive(Debug, Default)]
struct Stamped(AtomicU64);

impl Stamped {
    fn add(&self, second: u32) {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            if (seen >> 32) as u32 == second {
                // Should the second turn just now, the call counts for the next.
                self.0.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let first = u64::from(second) << 32 | 1;
            match self.0.compare_exchange_weak(seen, first, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// The count, if it is of one of the last seconds.
    fn recent(&self, second: u32) -> u32 {
        let value = self.0.load(Ordering::Relaxed);
        // The low half is the count.
        if second.wrapping_sub((value >> 32) as u32) < SECONDS as u32 { value as u32 } else { 0 }
    }
}

/// The calls of the last ten seconds whose end says something about the endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) calls: u32,
    pub(crate) failures: u32,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            ring: std::array::from_fn(|_| Second::default()),
        }
    }
}

/// Seconds are counted from 1, as what was never used bears 0.
fn second(now_us: u64) -> u32 {
    u32::try_from(now_us / 1_000_000 + 1).unwrap_or(u32::MAX)
}

impl Stats {
    /// A call has ended: well, failed, or (none) in a way that says nothing about the endpoint.
    pub(crate) fn ended(&self, now_us: u64, failed: Option<bool>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let second = second(now_us);
        let of = &self.ring[second as usize % SECONDS];
        match failed {
            Some(false) => of.well.add(second),
            Some(true) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                of.failed.add(second);
            }
            None => {}
        }
    }

    /// The first message of a response came after so many microseconds.
    pub(crate) fn first_message(&self, now_us: u64, after_us: u64) {
        let second = second(now_us);
        // Below 64 µs: 0; below 128: 1; and so on.
        let class = (after_us / 64).checked_ilog2().map_or(0, |log| log as usize + 1);
        self.ring[second as usize % SECONDS].first_message[class.min(CLASSES - 1)].add(second);
    }

    /// Calls ended, and how many of them failed.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.calls.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }

    /// The last ten seconds.
    pub(crate) fn recent(&self, now_us: u64) -> Recent {
        let second = second(now_us);
        let failures: u32 = self.ring.iter().map(|s| s.failed.recent(second)).sum();
        let well: u32 = self.ring.iter().map(|s| s.well.recent(second)).sum();
        Recent { calls: well + failures, failures }
    }

    /// The calls of the last ten seconds by class of the time to the first message.
    pub(crate) fn first_messages(&self, now_us: u64) -> [u32; CLASSES] {
        let second = second(now_us);
        std::array::from_fn(|class| {
            self.ring.iter().map(|s| s.first_message[class].recent(second)).sum()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn classes_are_powers_of_two_of_64_microseconds() {
        for (us, class) in
            [(0, 0), (63, 0), (64, 1), (127, 1), (128, 2), (1_000, 4), (u64::MAX, 23)]
        {
            let stats = Stats::default();
            stats.first_message(5 * S, us);
            let counts = stats.first_messages(5 * S);
            assert_eq!(counts.iter().position(|n| *n == 1), Some(class), "{us} µs");
        }
    }

    #[test]
    fn the_first_second_of_the_clock_counts_too() {
        let stats = Stats::default();
        assert_eq!(stats.recent(0), Recent::default());
        stats.ended(0, Some(true));
        stats.ended(0, None);
        assert_eq!(stats.recent(0), Recent { calls: 1, failures: 1 });
        assert_eq!(stats.totals(), (2, 1));
        assert_eq!(stats.recent(10 * S), Recent::default());
    }

    proptest! {
        #[test]
        fn the_window_is_the_last_ten_seconds(steps in prop::collection::vec((0..4_u64, any::<bool>()), 1..200)) {
            let (stats, mut ended, mut now) = (Stats::default(), Vec::new(), 0);
            for (pause, failed) in steps {
                now += pause;
                stats.ended(now * S, Some(failed));
                ended.push((now, failed));
                let recent = ended.iter().filter(|(at, _)| now - at < 10);
                let failures = recent.clone().filter(|(_, failed)| *failed).count() as u32;
                let expected = Recent { calls: recent.count() as u32, failures };
                prop_assert_eq!(stats.recent(now * S), expected);
            }
        }
    }

    #[test]
    fn no_call_is_lost_between_threads() {
        let stats = Stats::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| stats.ended(7 * S, Some(false))));
            }
        });
        assert_eq!(stats.recent(7 * S).calls, 40_000);
    }
}
