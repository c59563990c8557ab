//! Limits: so many calls of a route in a time, of all callers together or of each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pigeon_proto::model::{Limit, LimitPer};

use super::Asked;
use crate::limit::{Bucket, Rule, Sources, source};
use crate::reject::Rejection;

/// The limits of a route, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Limits {
    /// What moments are counted from.
    start: Instant,
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
    Source(Arc<Sources>),
}

impl Limits {
    /// What the route had `before` and still has goes on counting; a limit that has changed keeps the tokens
    /// that were taken.
    pub(super) fn new(limits: &[Limit], before: Option<&Limits>, now: Instant) -> Self {
        let start = before.map_or(now, |before| before.start);
        let old: Vec<&Limiter> = before.into_iter().flat_map(|b| &b.limits).collect();
        let mut seen = [0, 0];
        let limiter = |limit: &Limit| {
            // The first per source follows the first per source, whatever stands between them.
            let at = &mut seen[limit.per as usize];
            let follows = old.iter().filter(|old| old.tokens.per() == limit.per).nth(*at);
            *at += 1;
            Limiter::new(limit, follows.copied(), nanos(start, now))
        };
        Self { start, limits: limits.iter().map(limiter).collect() }
    }

    /// Takes a token of every limit, or of none if one of them has none.
    #[inline]
    pub(super) fn pass(&self, asked: &Asked<'_>) -> Result<(), Rejection> {
        if self.limits.is_empty() { Ok(()) } else { self.take(asked) }
    }

    fn take(&self, asked: &Asked<'_>) -> Result<(), Rejection> {
        let now = nanos(self.start, asked.now);
        if self.limits.len() > 1 {
            let wait = self.limits.iter().map(|limit| limit.wait(asked, now)).max();
            if let Some(retry) = wait.filter(|wait| !wait.is_zero()) {
                return Err(Rejection::RateLimited { retry });
            }
        }
        // Another call may have been faster since. What was taken until then stays taken: to give it back
        // could let through more than a limit says.
        for limit in &self.limits {
            limit.take(asked, now).map_err(|retry| Rejection::RateLimited { retry })?;
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
                Tokens::Source(sources) => {
                    Tokens::Source(sources.converted(&before.rule, &rule, now).into())
                }
            },
            (None, LimitPer::Route) => Tokens::Route(Arc::default()),
            (None, LimitPer::Source) => Tokens::Source(Arc::default()),
        };
        Self { rule, tokens }
    }

    fn wait(&self, asked: &Asked<'_>, now: u64) -> Duration {
        match &self.tokens {
            Tokens::Route(bucket) => bucket.wait(&self.rule, now),
            Tokens::Source(sources) => sources.wait(source(asked.peer), &self.rule, now),
        }
    }

    fn take(&self, asked: &Asked<'_>, now: u64) -> Result<(), Duration> {
        match &self.tokens {
            Tokens::Route(bucket) => bucket.take(&self.rule, now),
            Tokens::Source(sources) => sources.take(source(asked.peer), &self.rule, now),
        }
    }
}

impl Tokens {
    fn per(&self) -> LimitPer {
        match self {
            Self::Route(_) => LimitPer::Route,
            Self::Source(_) => LimitPer::Source,
        }
    }
}

/// 584 years fit.
fn nanos(start: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
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
        let asked = Asked {
            listener: &"l".parse().expect("a name"),
            peer: peer.parse().expect("an address"),
            certificate: None,
            authority: "a",
            target: "/",
            grpc: false,
            header: &|_| None,
            repeated: &|_| false,
            wall: &std::time::SystemTime::now,
            now,
        };
        limits.pass(&asked).map_err(|rejection| rejection.retry().expect("a hint"))
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
