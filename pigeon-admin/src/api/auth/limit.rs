//! How fast wrong tokens may be tried: a token bucket for each source, so that who guesses slows down
//! nobody else.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong tokens per second from one source, in the long run.
const RATE: f64 = 10.0;
/// Wrong tokens at once from one source.
const BURST: f64 = 20.0;
/// Sources counted apart; further ones share a bucket until one of these is full again.
const MOST: usize = 1_024;

/// Counts failures, and tells when there are too many.
pub struct FailureLimit(Mutex<Buckets>);

struct Buckets {
    /// By address; only sources that failed so lately that their bucket is not full again need to be here.
    sources: HashMap<IpAddr, Bucket>,
    /// Of sources that have no bucket, and of callers whose address is not known.
    others: Bucket,
}

struct Bucket {
    left: f64,
    at: Instant,
}

impl FailureLimit {
    /// Full at `now`, for everyone.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Buckets { sources: HashMap::new(), others: Bucket::full(now) }))
    }

    /// Counts one failure of `source` now.
    ///
    /// # Errors
    /// How long to wait, if there were too many.
    pub fn take(&self, source: Option<IpAddr>) -> Result<(), Duration> {
        self.take_at(source, Instant::now())
    }

    fn take_at(&self, source: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        // Every operation leaves the buckets valid, so that poison means nothing.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.of(source, now).take(now)
    }
}

impl Buckets {
    fn of(&mut self, source: Option<IpAddr>, now: Instant) -> &mut Bucket {
        let Some(source) = source.map(network) else { return &mut self.others };
        if self.sources.len() >= MOST && !self.sources.contains_key(&source) {
            self.sources.retain(|_, bucket| bucket.left_at(now) < BURST);
            if self.sources.len() >= MOST {
                return &mut self.others;
            }
        }
        self.sources.entry(source).or_insert_with(|| Bucket::full(now))
    }
}

impl Bucket {
    fn full(now: Instant) -> Self {
        Self { left: BURST, at: now }
    }

    fn left_at(&self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left + elapsed * RATE).min(BURST)
    }

    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.left = self.left_at(now);
        self.at = now;
        if self.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.left) / RATE));
        }
        self.left -= 1.0;
        Ok(())
    }
}

/// What counts as one source: an IPv4 address, or the /64 of an IPv6 address, all of which one host can have.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    fn passed(limit: &FailureLimit, source: Option<IpAddr>, at: Instant) -> usize {
        (0..100).filter(|_| limit.take_at(source, at).is_ok()).count()
    }

    #[test]
    fn a_burst_passes_then_ten_a_second() {
        let start = Instant::now();
        let limit = FailureLimit::new(start);
        for source in [ip("192.0.2.1"), None] {
            assert_eq!(passed(&limit, source, start), 20);
            let later = start + Duration::from_secs(1);
            assert_eq!(passed(&limit, source, later), 10);
            let wait = limit.take_at(source, later).expect_err("empty");
            assert!(wait <= Duration::from_millis(100), "{wait:?}");
            assert_eq!(passed(&limit, source, start + Duration::from_secs(3600)), 20);
        }
    }

    #[test]
    fn one_source_does_not_slow_another() {
        let start = Instant::now();
        let limit = FailureLimit::new(start);
        assert_eq!(passed(&limit, ip("192.0.2.1"), start), 20);
        assert_eq!(passed(&limit, ip("192.0.2.2"), start), 20);
        assert_eq!(passed(&limit, ip("::ffff:192.0.2.2"), start), 0, "the same host");
        assert_eq!(passed(&limit, ip("2001:db8::1"), start), 20);
        assert_eq!(passed(&limit, ip("2001:db8::ffff:1"), start), 0, "the same network");
        assert_eq!(passed(&limit, ip("2001:db8:0:1::1"), start), 20);
    }

    #[test]
    fn sources_without_number_share_and_are_forgotten() {
        let start = Instant::now();
        let limit = FailureLimit::new(start);
        let nth = |i: usize| Some(IpAddr::from((i as u32).to_be_bytes()));
        for i in 0..MOST {
            assert!(limit.take_at(nth(i), start).is_ok(), "{i}");
        }
        let more = (MOST..MOST + 100).filter(|i| limit.take_at(nth(*i), start).is_ok()).count();
        assert_eq!(more, 20, "these share a bucket");
        assert!(limit.take_at(nth(0), start).is_ok(), "this one has its own");
        assert_eq!(passed(&limit, nth(MOST), start + Duration::from_secs(3)), 20);
        assert_eq!(limit.0.lock().expect("sound").sources.len(), 1, "full ones are not kept");
    }
}
