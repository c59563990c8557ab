//! Token buckets: how many calls in which time; and how many connections and calls a source has now. Pure and without a lock for what all calls share; the clock
//! is an argument.
//!
//! A bucket is one number: the moment at which it will be full again, in nanoseconds (GCRA, the virtual
//! scheduling of ITU-T I.371). A call moves that moment by what one token takes to come, unless it would lie
//! further ahead than the whole bucket takes to fill.

mod present;
mod sources;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pigeon_proto::model::Rate;

pub use self::present::{Presence, Present};
pub use self::sources::Sources;

const SECOND: u64 = 1_000_000_000;

/// How fast tokens come, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Until one token has come.
    interval: u64,
    /// How far ahead the moment may lie of a bucket that still has a token.
    tolerance: u64,
}

impl Rule {
    /// `burst` is at least 1.
    pub fn new(rate: Rate, burst: u32) -> Self {
        // Rounded up, so that never more calls pass than the rate says: at most a thousandth fewer.
        let time = u64::from(rate.unit.seconds()) * SECOND;
        let interval = time.div_ceil(u64::from(rate.calls.max(1)));
        Self { interval, tolerance: interval * u64::from(burst.max(1) - 1) }
    }

    /// How long until there is a token in a bucket that is full at `full`; 0: there is one.
    pub fn wait(&self, full: u64, now: u64) -> u64 {
        full.saturating_sub(now).saturating_sub(self.tolerance)
    }

    /// When the bucket is full again once a token was taken.
    fn taken(&self, full: u64, now: u64) -> u64 {
        full.max(now).saturating_add(self.interval)
    }

    /// What was taken under another rule, under this one: as many tokens, none below zero.
    fn converted(&self, before: &Self, full: u64, now: u64) -> u64 {
        let debt = u128::from(full.saturating_sub(now));
        let debt = debt * u128::from(self.interval) / u128::from(before.interval);
        let most = self.tolerance + self.interval;
        now + u64::try_from(debt).unwrap_or(most).min(most)
    }
}

/// A bucket, shared by all workers.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

impl Bucket {
    /// How long until there is a token; zero: there is one.
    pub fn wait(&self, rule: &Rule, now: u64) -> Duration {
        Duration::from_nanos(rule.wait(self.0.load(Ordering::Relaxed), now))
    }

    /// Takes a token.
    ///
    /// # Errors
    /// There is none; the time until there is.
    pub fn take(&self, rule: &Rule, now: u64) -> Result<(), Duration> {
        let one = |full| (rule.wait(full, now) == 0).then(|| rule.taken(full, now));
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one) {
            Ok(_) => Ok(()),
            Err(full) => Err(Duration::from_nanos(rule.wait(full, now))),
        }
    }

    /// The same bucket under another rule.
    pub fn converted(&self, from: &Rule, to: &Rule, now: u64) -> Self {
        Self(to.converted(from, self.0.load(Ordering::Relaxed), now).into())
    }
}

/// Who calls, as limits tell callers apart: an IPv4 address, or the first 64 bits of an IPv6 address, which
/// is what one customer gets of a provider at least. None of the two is a form of the other, but for
/// addresses that nobody has (0000::/32).
pub fn source(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(u32::from(v4)),
        IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64,
    }
}

#[cfg(test)]
mod tests;
