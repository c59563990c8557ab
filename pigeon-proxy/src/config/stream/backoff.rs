//! How long to wait before the admin is tried again: full jitter, so that many proxies do not come at once.

use std::time::Duration;

/// Never at once, whatever the jitter says.
const LEAST: Duration = Duration::from_millis(20);

/// Delays that grow with each failure.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Delays below `bounds.0` at first, and never above `bounds.1`.
    pub(super) fn new(bounds: (Duration, Duration)) -> Self {
        Self { first: bounds.0, most: bounds.1, failures: 0 }
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next delay.
    pub(super) fn next(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(fastrand::f64()).max(LEAST.min(ceiling))
    }

    fn ceiling(&self) -> Duration {
        // 2^20 × any sensible first delay is past the longest.
        let grown = self.first.saturating_mul(1 << self.failures.min(20));
        grown.min(self.most)
    }
}

/// A delay around `mean`: from half of it to half as much again.
pub(super) fn around(mean: Duration) -> Duration {
    mean.mul_f64(0.5 + fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::new((Duration::from_millis(200), Duration::from_secs(30)));
        let mut ceilings = Vec::new();
        for _ in 0..40 {
            let ceiling = backoff.ceiling();
            ceilings.push(ceiling.as_millis());
            let delay = backoff.next();
            assert!((LEAST..=ceiling).contains(&delay), "{delay:?} of {ceiling:?}");
        }
        assert_eq!(ceilings[..9], [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
        assert_eq!(ceilings[39], 30_000);
        backoff.reset();
        assert_eq!(backoff.ceiling().as_millis(), 200);
    }
}
