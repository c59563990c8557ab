//! How long a connection to an endpoint is used, and how many are kept open ahead of calls.
//!
//! Pure: a transport shows a connection, and is told what to do with it. Nothing here cuts a call: a
//! connection that is past its time takes no new calls and is closed when its last one has ended.

use std::time::{Duration, Instant};

use pigeon_proto::model;

use super::clock::scramble;

/// What the settings of a pool say about its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// A connection without calls is closed after this.
    pub idle_timeout: Duration,
    /// A connection takes no new calls after this, or down to 90 % of it.
    pub max_lifetime: Option<Duration>,
    /// A connection takes this many calls.
    pub max_requests: Option<u32>,
    /// Connections with room for a call to keep open.
    pub warm: u32,
}

/// One connection, as [`Lifetime`] sees it.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    /// When it was opened.
    pub opened: Instant,
    /// A random number that it keeps, so that connections opened together do not retire together.
    pub seed: u64,
    /// Calls it has taken in all.
    pub taken: u32,
    /// Calls that run on it now.
    pub running: u32,
    /// When its last call ended, or when it was opened.
    pub idle_since: Instant,
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It may take calls.
    Keep,
    /// Its calls go on, and it takes no new ones.
    Retire,
    /// It has no calls and is to take none: close it.
    Close,
    /// It has had no calls for `idle_timeout`: close it, unless it is kept warm.
    Idle,
}

impl From<&model::Pool> for Lifetime {
    fn from(pool: &model::Pool) -> Self {
        Self {
            idle_timeout: pool.idle_timeout.duration(),
            max_lifetime: pool.max_lifetime.map(|time| time.duration()),
            max_requests: pool.max_requests,
            warm: pool.warm,
        }
    }
}

impl Lifetime {
    /// Whether a connection may take one more call.
    pub fn takes(&self, age: &Age, now: Instant) -> bool {
        let young = |limit| now.saturating_duration_since(age.opened) < shortened(limit, age.seed);
        self.max_requests.is_none_or(|most| age.taken < most) && self.max_lifetime.is_none_or(young)
    }

    /// What to do with a connection.
    pub fn fate(&self, age: &Age, now: Instant) -> Fate {
        match (self.takes(age, now), age.running) {
            (false, 0) => Fate::Close,
            (false, _) => Fate::Retire,
            (true, 0) if self.idle(age, now) => Fate::Idle,
            (true, _) => Fate::Keep,
        }
    }

    /// How many connections to open, if `ready` have room for a call and `opening` are being opened.
    /// `free` = calls the endpoint may take besides those it has: more connections would be of no use.
    pub fn to_open(&self, ready: usize, opening: usize, free: u32) -> usize {
        let wanted = usize::try_from(self.warm.min(free)).unwrap_or(usize::MAX);
        wanted.saturating_sub(ready + opening)
    }

    /// How many of `idle` connections ([`Fate::Idle`]) to close, if `ready` have room for a call, those
    /// included.
    pub fn to_close(&self, idle: usize, ready: usize) -> usize {
        let warm = usize::try_from(self.warm).unwrap_or(usize::MAX);
        idle.min(ready.saturating_sub(warm))
    }

    fn idle(&self, age: &Age, now: Instant) -> bool {
        now.saturating_duration_since(age.idle_since) >= self.idle_timeout
    }
}

/// Between 90 % and all of `limit`.
pub(crate) fn shortened(limit: Duration, seed: u64) -> Duration {
    let us = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(us - scramble(seed) % (us / 10 + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lifetime(warm: u32) -> Lifetime {
        Lifetime {
            idle_timeout: Duration::from_secs(10),
            max_lifetime: Some(Duration::from_secs(100)),
            max_requests: Some(5),
            warm,
        }
    }

    fn age(opened: Instant, taken: u32, running: u32) -> Age {
        Age { opened, seed: 3, taken, running, idle_since: opened }
    }

    #[test]
    fn a_connection_with_calls_is_never_closed() {
        let (start, lifetime) = (Instant::now(), lifetime(0));
        for after in [0, 9, 11, 89, 101, 100_000] {
            for taken in [1, 4, 5, 6] {
                let now = start + Duration::from_secs(after);
                let fate = lifetime.fate(&age(start, taken, 1), now);
                assert!(matches!(fate, Fate::Keep | Fate::Retire), "{after} {taken}");
                let over = taken >= 5 || after > 100;
                assert!(!over || fate == Fate::Retire, "{after} {taken}");
                assert!(after > 89 || taken >= 5 || fate == Fate::Keep, "{after} {taken}");
            }
        }
    }

    #[test]
    fn without_calls_it_is_closed_after_its_time() {
        let (start, lifetime) = (Instant::now(), lifetime(0));
        let fate =
            |taken, after| lifetime.fate(&age(start, taken, 0), start + Duration::from_secs(after));
        assert_eq!(fate(0, 9), Fate::Keep);
        assert_eq!(fate(0, 10), Fate::Idle);
        assert_eq!(fate(5, 0), Fate::Close);
        assert_eq!(fate(0, 100), Fate::Close);
        let forever = Lifetime { max_lifetime: None, max_requests: None, ..lifetime };
        let old = age(start, u32::MAX, 1);
        assert_eq!(forever.fate(&old, start + Duration::from_secs(1 << 30)), Fate::Keep);
    }

    proptest! {
        #[test]
        fn lifetimes_are_spread_over_the_last_tenth(limit in 1..100_000_000_u64, seed in any::<u64>()) {
            let full = Duration::from_micros(limit);
            let time = shortened(full, seed);
            prop_assert!(time <= full && time >= full.mul_f64(0.899), "{:?}", time);
        }

        #[test]
        fn warm_connections_are_opened_once_and_not_closed(
            warm in 0..100_u32, ready in 0..200_usize, opening in 0..50_usize,
            idle in 0..200_usize, free in 0..200_u32,
        ) {
            let lifetime = lifetime(warm);
            let open = lifetime.to_open(ready, opening, free);
            prop_assert!(open == 0 || ready + opening + open == warm.min(free) as usize);
            let idle = idle.min(ready);
            let close = lifetime.to_close(idle, ready);
            prop_assert!(close <= idle);
            // What is closed now is not opened again a moment later.
            prop_assert!(close == 0 || lifetime.to_open(ready - close, 0, free) == 0);
            prop_assert!(close == idle || ready - close <= warm as usize);
        }
    }
}
