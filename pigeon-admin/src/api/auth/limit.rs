//! How fast wrong tokens may be tried: a token bucket for the whole API.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong tokens per second, in the long run.
const RATE: f64 = 10.0;
/// Wrong tokens at once.
const BURST: f64 = 20.0;

/// Counts failures, and tells when there are too many.
pub struct FailureLimit(Mutex<Bucket>);

struct Bucket {
    left: f64,
    at: Instant,
}

impl FailureLimit {
    /// Full at `now`.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Bucket { left: BURST, at: now }))
    }

    /// Counts one failure now.
    ///
    /// # Errors
    /// How long to wait, if there were too many.
    pub fn take(&self) -> Result<(), Duration> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Result<(), Duration> {
        // The lock guards two numbers that are valid at every moment, so that poison means nothing.
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + elapsed * RATE).min(BURST);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / RATE));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_ten_a_second() {
        let start = Instant::now();
        let limit = FailureLimit::new(start);
        let passed = |at: Instant| (0..100).filter(|_| limit.take_at(at).is_ok()).count();
        assert_eq!(passed(start), 20);
        assert_eq!(passed(start + Duration::from_secs(1)), 10);
        let wait = limit.take_at(start + Duration::from_secs(1)).expect_err("empty");
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        assert_eq!(passed(start + Duration::from_secs(3600)), 20);
    }
}
