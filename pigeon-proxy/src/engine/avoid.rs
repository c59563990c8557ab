//! Avoiding an endpoint whose dial failed, for a growing time.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::clock::scramble;

const FIRST_US: u64 = 100_000;

/// Whether and until when an endpoint is avoided. Times are those of the engine's clock.
#[derive(Debug, Default)]
pub(crate) struct Avoid {
    failures: AtomicU32,
    until_us: AtomicU64,
    /// Somebody was let through after the time was over, to see whether it is reachable again.
    probing: AtomicBool,
}

impl Avoid {
    /// Until when, if it is avoided now.
    pub(crate) fn until(&self, now_us: u64) -> Option<u64> {
        if self.failures.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Some(self.until_us.load(Ordering::Relaxed)).filter(|&until| until > now_us)
    }

    /// Whether it could not be reached when that was tried last.
    pub(crate) fn is_set(&self) -> bool {
        self.failures.load(Ordering::Relaxed) > 0
    }

    /// Notes that a dial failed; the longest time of avoiding is `most_us`. The failures of calls that
    /// dialled at the same time count as one; true for that one.
    pub(crate) fn failed(&self, now_us: u64, most_us: u64, seed: u64) -> bool {
        let probed = self.probing.swap(false, Ordering::Relaxed);
        if self.until(now_us).is_some() && !probed {
            return false;
        }
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        let full = (FIRST_US << before.min(20)).min(most_us).max(4);
        // Between three quarters and all of it, so that proxies do not come back together.
        let time = full - scramble(seed) % (full / 4);
        self.until_us.store(now_us + time, Ordering::Relaxed);
        true
    }

    /// Notes that it is reachable. True if it was avoided before.
    pub(crate) fn reached(&self) -> bool {
        if self.failures.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.probing.store(false, Ordering::Relaxed);
        self.failures.swap(0, Ordering::Relaxed) > 0
    }

    /// Called when a call is sent there: if the time is just over, this call is the probe, and the
    /// others keep away until it is known how it went, at most `patience`.
    pub(crate) fn probe(&self, now_us: u64, patience: Duration) {
        if self.failures.load(Ordering::Relaxed) == 0 || self.until(now_us).is_some() {
            return;
        }
        let patience = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
        self.probing.store(true, Ordering::Relaxed);
        self.until_us.store(now_us.saturating_add(patience), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST_US: u64 = 10_000_000;

    fn time_after(failures: u32) -> u64 {
        let avoid = Avoid::default();
        let mut now = 0;
        for _ in 0..failures {
            now = avoid.until(now).unwrap_or(now);
            avoid.failed(now, MOST_US, 7);
        }
        avoid.until(now).expect("avoided") - now
    }

    #[test]
    fn grows_from_100_ms_to_10_s_with_jitter() {
        for (failures, full) in
            [(1, 100_000), (2, 200_000), (3, 400_000), (8, MOST_US), (99, MOST_US)]
        {
            let time = time_after(failures);
            assert!(time > full / 4 * 3 && time <= full, "{failures}: {time}");
        }
    }

    #[test]
    fn failures_at_the_same_time_count_once() {
        let avoid = Avoid::default();
        for _ in 0..50 {
            avoid.failed(0, MOST_US, 1);
        }
        assert!(avoid.until(0).expect("avoided") <= FIRST_US);
    }

    #[test]
    fn one_probe_at_a_time_and_its_result_counts() {
        let avoid = Avoid::default();
        avoid.failed(0, MOST_US, 1);
        let over = avoid.until(0).expect("avoided");
        assert_eq!(avoid.until(over), None);
        avoid.probe(over, Duration::from_secs(5));
        assert_eq!(avoid.until(over), Some(over + 5_000_000));
        avoid.failed(over + 1, MOST_US, 1);
        let again = avoid.until(over + 1).expect("avoided") - over - 1;
        assert!(again > 150_000 && again <= 200_000, "{again}");
        assert!(avoid.reached());
        assert_eq!(avoid.until(over + 2), None);
        assert!(!avoid.reached());
    }
}
