//! Routes: which calls go to which engine.

use std::collections::BTreeSet;

use deserr::{Deserr, ValuePointerRef};
use serde::Serialize;

use super::code;
use super::error::{Contradiction, Errors, in_range};
use super::limit::{self, Limit};
use super::matching::Match;
use super::retry::Retry;
use super::text::{Millis, Name};

/// Sends the calls it matches to an engine, or to several by shares.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Route {
    /// Which calls.
    #[deserr(default)]
    #[serde(rename = "match")]
    #[deserr(rename = "match")]
    pub matches: Match,
    /// Name of the engine; it gets what `split` leaves.
    pub engine: Name,
    /// Shares of the calls that go to other engines.
    #[deserr(default)]
    pub split: Vec<Split>,
    /// Between routes that match equally well the higher wins (default 0).
    #[deserr(default)]
    pub priority: i32,
    /// Longest time a call may take, waiting included; the caller's own deadline counts too. 0s = none.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// When a call is tried again.
    #[deserr(default)]
    pub retry: Retry,
    /// How many calls in which time, per proxy; a call must pass all of them.
    #[deserr(default)]
    pub limits: Vec<Limit>,
}

impl Route {
    /// Every engine it names, the one that gets the rest first.
    pub fn engines(&self) -> impl Iterator<Item = &Name> {
        std::iter::once(&self.engine).chain(self.split.iter().map(|s| &s.engine))
    }
}

/// A share of a route's calls that goes to another engine.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check_split -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Split {
    /// Name of the engine.
    pub engine: Name,
    /// Its share of the calls, 1 to 99.
    pub percent: u32,
}

pub(super) fn check(mut r: Route, _: ValuePointerRef) -> Result<Route, Contradiction> {
    // "No time at all" would only ever be a mistake, and the wire form has no word for it.
    r.timeout = r.timeout.filter(|t| t.as_ms() > 0);
    let mut seen = BTreeSet::from([&r.engine]);
    for split in &r.split {
        if !seen.insert(&split.engine) {
            let message = format!(
                "names the engine \"{}\" twice, or the route's own; keep one",
                split.engine
            );
            return Err(Contradiction("/split", code::CONFLICTING_FIELDS, message));
        }
    }
    let sum: u64 = r.split.iter().map(|s| u64::from(s.percent)).sum();
    if sum > 99 {
        let message = format!(
            "adds up to {sum} %; at most 99 can go elsewhere, the rest goes to \"{}\"",
            r.engine
        );
        return Err(Contradiction("/split", code::BAD_VALUE, message));
    }
    limit::check_all(&r.limits)?;
    Ok(r)
}

pub(super) fn check_split(s: Split, _: ValuePointerRef) -> Result<Split, Contradiction> {
    in_range("/percent", s.percent, 1..=99)?;
    Ok(s)
}
