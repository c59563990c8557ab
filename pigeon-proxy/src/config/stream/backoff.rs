//! How long to wait before the admin is tried again: full jitter, so that many proxies do not come at once.

use std::time::Duration;

/// Never at once, whatever the jitter says.
const LEAST: Duration = Duration::from_millis(20);

/// A stream that lived this long was healthy.
const HEALTHY: Duration = Duration::from_secs(60);

/// What comes after the end of a stream, or of an attempt at one.
#[derive(Debug)]
pub(super) enum Then {
    /// Try again, after a delay that grows with each failure.
    Again,
    /// As [`Then::Again`], but if the stream had been welcomed its end is no failure.
    Back,
    /// Only a person can help.
    Slowly,
    /// As the admin asked.
    After(Duration),
}

/// Delays that grow with each failure.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    slow: Duration,
    failures: u32,
}

impl Backoff {
    /// Delays below `bounds.0` at first, and never above `bounds.1`; around `slow` where only a person can
    /// help.
    pub(super) fn new(bounds: (Duration, Duration), slow: Duration) -> Self {
        Self { first: bounds.0, most: bounds.1, slow, failures: 0 }
    }

    /// The delay before the next attempt; `lived` = for how long the stream that ended had been welcomed.
    pub(super) fn delay(&mut self, then: &Then, lived: Option<Duration>) -> Duration {
        let failed = match then {
            Then::Back => lived.is_none(),
            _ => lived.is_none_or(|lived| lived < HEALTHY),
        };
        if !failed {
            self.failures = 0;
        }
        match then {
            Then::Again | Then::Back => self.next(),
            Then::Slowly => self.slow.mul_f64(0.5 + fastrand::f64()),
            Then::After(delay) => *delay,
        }
    }

    fn next(&mut self) -> Duration {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        let bounds = (Duration::from_millis(200), Duration::from_secs(30));
        Backoff::new(bounds, Duration::from_secs(10))
    }

    #[test]
    fn delays_double_to_a_limit() {
        let mut backoff = backoff();
        let mut ceilings = Vec::new();
        for _ in 0..40 {
            let ceiling = backoff.ceiling();
            ceilings.push(ceiling.as_millis());
            let delay = backoff.delay(&Then::Again, None);
            assert!((LEAST..=ceiling).contains(&delay), "{delay:?} of {ceiling:?}");
        }
        assert_eq!(ceilings[..9], [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
        assert_eq!(ceilings[39], 30_000);
    }

    #[test]
    fn only_a_stream_that_was_fine_begins_them_anew() {
        let (brief, long) = (Some(Duration::from_secs(1)), Some(HEALTHY));
        for (then, lived, anew) in [
            (Then::Back, None, false),
            (Then::Back, brief, true),
            (Then::Back, long, true),
            (Then::Again, None, false),
            (Then::Again, brief, false),
            (Then::Again, long, true),
        ] {
            let mut backoff = backoff();
            (0..9).for_each(|_| _ = backoff.delay(&Then::Again, None));
            backoff.delay(&then, lived);
            let ceiling = if anew { 400 } else { 30_000 };
            assert_eq!(backoff.ceiling().as_millis(), ceiling, "{then:?} {lived:?}");
        }
    }

    #[test]
    fn a_person_and_an_admin_are_given_their_time() {
        let mut backoff = backoff();
        for _ in 0..100 {
            let slow = backoff.delay(&Then::Slowly, None).as_secs_f64();
            assert!((5.0..=15.0).contains(&slow), "{slow}");
        }
        let asked = Duration::from_millis(7);
        assert_eq!(backoff.delay(&Then::After(asked), None), asked);
        assert_eq!(backoff.ceiling().as_millis(), 200);
    }
}
