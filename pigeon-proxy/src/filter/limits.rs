//! Limits: so many calls of a route in a time, of all callers together, or of each source, tenant or caller.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pigeon_proto::model::{Limit, LimitPer};

use super::Asked;
use super::identity::Identity;
use crate::limit::{Bucket, Rule, Sources, source};
use crate::reject::Rejection;

/// The limits of a route, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Limits {
    /// What moments are counted from.
    start: Instant,
    /// Tells callers apart; nobody outside knows how.
    hasher: RandomState,
    limits: Box<[Limiter]>,
}

#[derive(Debug)]
struct Limiter {
    rule: Rule,
    /// Counts on in the next table.
    tokens: Tokens,
}

#[derive(Clone, Debug)]
enum Tokens {
    Route(Arc<Bucket>),
    /// Of each source, tenant or caller.
    Each(LimitPer, Arc<Sources>),
}

/// A call, as limits see it.
#[derive(Clone, Copy)]
struct Counted<'a> {
    peer: IpAddr,
    identity: Option<&'a Identity>,
    now: u64,
}

impl Limits {
    /// What the route had `before` and still has goes on counting; a limit that has changed keeps the tokens
    /// that were taken.
    pub(super) fn new(limits: &[Limit], before: Option<&Limits>, now: Instant) -> Self {
        let start = before.map_or(now, |before| before.start);
        let old: Vec<&Limiter> = before.into_iter().flat_map(|b| &b.limits).collect();
        let hasher = before.map_or_else(RandomState::new, |before| before.hasher.clone());
        let mut seen = [0; LimitPer::ALL.len()];
        let limiter = |limit: &Limit| {
            // The first per source follows the first per source, whatever stands between them.
            let at = &mut seen[limit.per as usize];
            let follows = old.iter().filter(|old| old.tokens.per() == limit.per).nth(*at);
            *at += 1;
            Limiter::new(limit, follows.copied(), nanos(start, now))
        };
        Self { start, hasher, limits: limits.iter().map(limiter).collect() }
    }

    /// Takes a token of every limit, or of none if one of them has none.
    #[inline]
    pub(super) fn pass(
        &self,
        asked: &Asked<'_>,
        identity: Option<&Identity>,
    ) -> Result<(), Rejection> {
        if self.limits.is_empty() { Ok(()) } else { self.take(asked, identity) }
    }

    fn take(&self, asked: &Asked<'_>, identity: Option<&Identity>) -> Result<(), Rejection> {
        let call = Counted { peer: asked.peer, identity, now: nanos(self.start, asked.now) };
        if self.limits.len() > 1 {
            let wait = self.limits.iter().map(|limit| limit.wait(&self.hasher, call)).max();
            if let Some(retry) = wait.filter(|wait| !wait.is_zero()) {
                return Err(Rejection::RateLimited { retry });
            }
        }
        // Another call may have been faster since. What was taken until then stays taken: to give it back
        // could let through more than a limit says.
        for limit in &self.limits {
            limit.take(&self.hasher, call).map_err(|retry| Rejection::RateLimited { retry })?;
        }
        Ok(())
    }
}

impl Limiter {
    fn new(limit: &Limit, before: Option<&Limiter>, now: u64) -> Self {
        let rule = Rule::new(limit.rate, limit.burst);
        let tokens = match (before, limit.per) {
            (Some(before), _) if before.rule == rule => before.tokens.clone(),
            (Some(before), _) => match &before.tokens {
                Tokens::Route(bucket) => {
                    Tokens::Route(bucket.converted(&before.rule, &rule, now).into())
                }
                Tokens::Each(per, each) => {
                    Tokens::Each(*per, each.converted(&before.rule, &rule, now).into())
                }
            },
            (None, LimitPer::Route) => Tokens::Route(Arc::default()),
            (None, per) => Tokens::Each(per, Arc::default()),
        };
        Self { rule, tokens }
    }

    fn wait(&self, hasher: &RandomState, call: Counted<'_>) -> Duration {
        match &self.tokens {
            Tokens::Route(bucket) => bucket.wait(&self.rule, call.now),
            Tokens::Each(per, each) => each.wait(call.whose(*per, hasher), &self.rule, call.now),
        }
    }

    fn take(&self, hasher: &RandomState, call: Counted<'_>) -> Result<(), Duration> {
        match &self.tokens {
            Tokens::Route(bucket) => bucket.take(&self.rule, call.now),
            Tokens::Each(per, each) => each.take(call.whose(*per, hasher), &self.rule, call.now),
        }
    }
}

impl Counted<'_> {
    /// Whose call it is, as a number.
    fn whose(&self, per: LimitPer, hasher: &RandomState) -> u64 {
        match (per, self.identity) {
            (LimitPer::Tenant, Some(Identity { tenant: Some(tenant), .. })) => {
                hasher.hash_one(tenant)
            }
            (LimitPer::Tenant | LimitPer::Caller, Some(identity)) => hasher.hash_one(identity),
            // A route that knows its callers lets nobody through without.
            _ => source(self.peer),
        }
    }
}

impl Tokens {
    fn per(&self) -> LimitPer {
        match self {
            Self::Route(_) => LimitPer::Route,
            Self::Each(per, _) => *per,
        }
    }
}

/// 584 years fit.
fn nanos(start: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::identity::How;
    use super::*;

    fn limits(text: &[(&str, u32, LimitPer)]) -> Vec<Limit> {
        let limit = |&(rate, burst, per): &(&str, u32, LimitPer)| Limit {
            rate: rate.parse().expect("a rate"),
            burst,
            per,
        };
        text.iter().map(limit).collect()
    }

    fn call(limits: &Limits, peer: &str, now: Instant) -> Result<(), Duration> {
        call_of(limits, peer, None, now)
    }

    fn call_of(
        limits: &Limits,
        peer: &str,
        identity: Option<&Identity>,
        now: Instant,
    ) -> Result<(), Duration> {
        let asked = Asked {
            listener: &"l".parse().expect("a name"),
            peer: peer.parse().expect("an address"),
            beyond: false,
            certificate: None,
            authority: "a",
            target: "/",
            grpc: false,
            header: &|_| None,
            repeated: &|_| false,
            wall: &std::time::SystemTime::now,
            now,
        };
        limits.pass(&asked, identity).map_err(|rejection| rejection.retry().expect("a hint"))
    }

    #[test]
    fn a_call_that_one_limit_refuses_takes_nothing_of_the_others() {
        let now = Instant::now();
        let text = limits(&[("1/s", 3, LimitPer::Route), ("1/s", 1, LimitPer::Source)]);
        let limits = Limits::new(&text, None, now);
        assert_eq!(call(&limits, "10.0.0.1", now), Ok(()));
        for _ in 0..9 {
            assert_eq!(call(&limits, "10.0.0.1", now), Err(Duration::from_secs(1)));
        }
        assert_eq!(call(&limits, "10.0.0.2", now), Ok(()));
        assert_eq!(call(&limits, "10.0.0.3", now), Ok(()));
        assert_eq!(call(&limits, "10.0.0.4", now), Err(Duration::from_secs(1)));
    }

    #[test]
    fn tenants_and_callers_are_counted_each_for_itself() {
        let now = Instant::now();
        let who = |tenant: Option<&str>, subject: &str, how| {
            Identity::new(tenant.map(|t| t.parse().expect("a name")), subject, how)
        };
        let jwt = |issuer: &str| How::Jwt { issuer: issuer.into() };
        let callers = [
            who(Some("a"), "k1", How::ApiKey),
            who(Some("a"), "k2", How::ApiKey),
            who(Some("b"), "k1", How::ApiKey),
            who(None, "k1", How::Certificate),
            who(None, "k1", jwt("i")),
            who(None, "k1", jwt("j")),
        ];
        for (per, first) in [
            (LimitPer::Caller, [true, true, true, true, true, true]),
            (LimitPer::Tenant, [true, false, true, true, true, true]),
        ] {
            let each = Limits::new(&limits(&[("1/h", 1, per)]), None, now);
            for again in [false, true] {
                for (identity, first) in callers.iter().zip(first) {
                    let passed = call_of(&each, "10.0.0.1", Some(identity), now).is_ok();
                    assert_eq!(passed, first && !again, "{per:?} {identity:?}");
                }
            }
            // Also after a change, and from wherever it calls.
            let next = Limits::new(&limits(&[("2/h", 2, per)]), Some(&each), now);
            assert_eq!(call_of(&next, "10.0.0.2", Some(&callers[0]), now), Ok(()));
            assert!(call_of(&next, "10.0.0.2", Some(&callers[0]), now).is_err());
        }
    }

    #[test]
    fn another_table_counts_on_and_another_rate_counts_anew_from_there() {
        let now = Instant::now();
        let hourly = limits(&[("1/h", 1, LimitPer::Source), ("2/h", 2, LimitPer::Route)]);
        let first = Limits::new(&hourly, None, now);
        assert_eq!(call(&first, "10.0.0.1", now), Ok(()));
        // In another order, and with one more between them.
        let more = [("9/h", 9, LimitPer::Route), ("2/h", 2, LimitPer::Route)];
        let moved = limits(&[&more[1..], &[("1/h", 1, LimitPer::Source)]].concat());
        let second = Limits::new(&moved, Some(&first), now);
        assert_eq!(call(&second, "10.0.0.1", now), Err(Duration::from_secs(3_600)));
        assert_eq!(call(&second, "10.0.0.2", now), Ok(()));
        assert_eq!(call(&second, "10.0.0.3", now), Err(Duration::from_secs(1_800)));
        // Both tables count the same.
        assert_eq!(call(&first, "10.0.0.4", now), Err(Duration::from_secs(1_800)));
        let faster = limits(&[("1/s", 1, LimitPer::Source)]);
        let third = Limits::new(&faster, Some(&second), now);
        assert_eq!(call(&third, "10.0.0.1", now), Err(Duration::from_secs(1)));
        assert_eq!(call(&third, "10.0.0.3", now), Ok(()));
        assert!(Limits::new(&[], Some(&third), now).limits.is_empty());
    }
}
