//! The budget of retries: a share of a route's calls, so that an engine in trouble does not get more
//! calls because of its trouble.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// Seconds that are looked at together, each with its own counter.
const SECONDS: usize = 10;
/// Retries that are always allowed in that time: else a route with few calls would have none.
const ALWAYS: u64 = 3;

/// Calls and retries of a route in the last 10 s, the current second included. Lock-free, shared by the
/// workers, and kept when the configuration changes.
#[derive(Debug)]
pub struct Budget {
    start: Instant,
    /// Retries may be this much of the calls.
    percent: AtomicU32,
    ring: [AtomicU64; SECONDS],
    /// Retries there was no budget for, ever.
    denied: AtomicU64,
}

/// How a budget stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Calls of the last ten seconds.
    pub calls: u64,
    /// Retries of the last ten seconds.
    pub retries: u64,
    /// How many of them these calls allow.
    pub most: u64,
    /// How many retries the budget has refused, ever.
    pub denied: u64,
}

/// What happened in one second, as it is packed into a counter: 24 bits for the second (that is 194 days,
/// and a counter so old would have to be untouched since), 20 for the calls, 20 for the retries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Second {
    second: u64,
    calls: u64,
    retries: u64,
}

const MOST: u64 = (1 << 20) - 1;
const MOST_SECOND: u64 = (1 << 24) - 1;

impl Second {
    fn unpack(packed: u64) -> Self {
        Self { second: packed >> 40, calls: packed >> 20 & MOST, retries: packed & MOST }
    }

    fn pack(self) -> u64 {
        self.second << 40 | self.calls.min(MOST) << 20 | self.retries.min(MOST)
    }

    /// This counter, if it is of `second`; else a new one.
    fn of(self, second: u64) -> Self {
        if self.second == second { self } else { Self { second, calls: 0, retries: 0 } }
    }
}

impl Budget {
    /// A budget of `percent`; `start` is any moment not after the first use.
    pub fn new(percent: u32, start: Instant) -> Self {
        let ring = [const { AtomicU64::new(0) }; SECONDS];
        Self { start, percent: AtomicU32::new(percent), ring, denied: AtomicU64::new(0) }
    }

    /// Takes over another share; what was counted stays.
    pub fn set_percent(&self, percent: u32) {
        self.percent.store(percent, Ordering::Relaxed);
    }

    /// Counts a call that begins.
    pub fn called(&self, now: Instant) {
        let (second, slot) = self.at(now);
        let one_more = |packed| {
            let now = Second::unpack(packed).of(second);
            Some(Second { calls: now.calls + 1, ..now }.pack())
        };
        // Never an error: the closure always has a value.
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
    }

    /// Takes a retry out of the budget; false if there is none left.
    pub fn take(&self, now: Instant) -> bool {
        let (second, slot) = self.at(now);
        // Whoever loses the race for the counter counts anew, so two do not take the same one.
        let one_more = |packed| {
            let (calls, retries) = self.recent(second);
            let now = Second::unpack(packed).of(second);
            (retries < self.allowed(calls))
                .then(|| Second { retries: now.retries + 1, ..now }.pack())
        };
        let taken = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        if !taken {
            self.denied.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// How it stands.
    pub fn spent(&self, now: Instant) -> Spent {
        let (calls, retries) = self.recent(self.at(now).0);
        let denied = self.denied.load(Ordering::Relaxed);
        Spent { calls, retries, most: self.allowed(calls), denied }
    }

    /// How many retries so many calls allow.
    fn allowed(&self, calls: u64) -> u64 {
        let percent = u64::from(self.percent.load(Ordering::Relaxed));
        (calls * percent / 100).max(ALWAYS)
    }

    fn at(&self, now: Instant) -> (u64, &AtomicU64) {
        // From 1, so that a counter that was never used belongs to no second.
        let second = now.saturating_duration_since(self.start).as_secs() + 1;
        (second & MOST_SECOND, &self.ring[second as usize % SECONDS])
    }

    /// Calls and retries of the ten seconds that end with `second`.
    fn recent(&self, second: u64) -> (u64, u64) {
        let recent = |s: &Second| second.wrapping_sub(s.second) & MOST_SECOND < SECONDS as u64;
        let all = self.ring.iter().map(|slot| Second::unpack(slot.load(Ordering::Relaxed)));
        all.filter(recent)
            .filter(|s| s.second != 0)
            .fold((0, 0), |(calls, retries), s| (calls + s.calls, retries + s.retries))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_second_is_the_same_after_packing(
            second in 0..=MOST_SECOND, calls in 0..=MOST, retries in 0..=MOST,
        ) {
            let one = Second { second, calls, retries };
            prop_assert_eq!(Second::unpack(one.pack()), one);
        }

        /// Against a list of everything that ever happened.
        #[test]
        fn says_what_a_list_of_all_calls_says(
            percent in 0..=100_u32,
            events in prop::collection::vec((0..3_000_u64, any::<bool>(), 1..30_u8), 1..150),
        ) {
            let start = Instant::now();
            let budget = Budget::new(percent, start);
            let (mut now, mut calls, mut retries) = (start, Vec::new(), Vec::new());
            for (ms, call, times) in events {
                now += Duration::from_millis(ms);
                let second = (now - start).as_secs();
                let recent = |all: &Vec<u64>| {
                    all.iter().filter(|&&s| s + (SECONDS as u64) > second).count() as u64
                };
                for _ in 0..times {
                    if call {
                        budget.called(now);
                        calls.push(second);
                    } else {
                        let allowed = (recent(&calls) * u64::from(percent) / 100).max(ALWAYS);
                        let fits = recent(&retries) < allowed;
                        prop_assert_eq!(budget.take(now), fits);
                        if fits {
                            retries.push(second);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn threads_together_take_no_more_than_the_budget() {
        let now = Instant::now();
        let budget = Budget::new(20, now);
        let taken = std::thread::scope(|scope| {
            let take = || {
                (0..500)
                    .filter(|_| {
                        budget.called(now);
                        budget.take(now)
                    })
                    .count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|t| t.join().expect("counted")).sum::<usize>()
        });
        assert!(taken <= 400, "{taken} of 2000");
        assert!(taken >= 300, "{taken} of 2000: what the last call brought is there to take");
    }
}
