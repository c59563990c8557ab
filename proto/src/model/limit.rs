//! Limits of a route: how many calls in which time, for all callers together or for each.

use std::fmt;
use std::str::FromStr;

use deserr::{Deserr, IntoValue, MergeWithError, Value, ValuePointerRef, take_cf_content};
use serde::{Serialize, Serializer};

use super::code;
use super::error::{BadValue, Contradiction, Errors, in_range};
use super::text::{as_text, clip};

/// Limits of one route.
const MOST_LIMITS: usize = 8;
/// Calls that a limit may let pass at once.
const MOST_BURST: u32 = 1_000_000;

/// So many calls in a time: a bucket of `burst` tokens that fills at `rate`, and of which every call takes one.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Limit {
    /// Calls per second, minute or hour: `200/s`, `90/m`, `1000/h`.
    pub rate: Rate,
    /// Calls that may come at once, 1 to 1000000 (default: what the rate gives in one second, at least 1).
    #[deserr(default)]
    pub burst: u32,
    /// Whose calls are counted together (default route).
    #[deserr(default)]
    pub per: LimitPer,
}

/// Whose calls a limit counts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserr, Serialize)]
#[deserr(rename_all = lowercase, error = Errors)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LimitPer {
    /// All calls of the route.
    #[default]
    Route,
    /// Those of one source: an IPv4 address, or the first 64 bits of an IPv6 address.
    Source,
    /// Those of one tenant; of a caller that is none's, its own.
    Tenant,
    /// Those of one caller: an API key, the subject of a token or of a certificate.
    Caller,
}

/// A number of calls in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    /// So many, 1 to 1000000.
    pub calls: u32,
    /// In this time.
    pub unit: RateUnit,
}
as_text!(Rate, "calls per second, minute or hour, such as 200/s, 90/m or 1000/h");

/// The time of a [`Rate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RateUnit {
    /// `/s`
    Second,
    /// `/m`
    Minute,
    /// `/h`
    Hour,
}

impl RateUnit {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    /// In seconds.
    pub const fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    const fn letter(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
        }
    }
}

impl FromStr for Rate {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let bad = |why: &str| {
            Err(BadValue(format!(
                "\"{}\" is not a rate: {why}; write it like 200/s, 90/m or 1000/h",
                clip(s)
            )))
        };
        let Some((calls, unit)) = s.split_once('/') else { return bad("the time is missing") };
        let unit = RateUnit::ALL.into_iter().find(|u| u.letter() == unit);
        match (calls.parse(), unit) {
            (_, None) => bad("the time is s, m or h"),
            (Ok(calls @ 1..=1_000_000), Some(unit)) => Ok(Self { calls, unit }),
            _ => bad("the number must be from 1 to 1000000"),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.calls, self.unit.letter())
    }
}

impl LimitPer {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Route, Self::Source, Self::Tenant, Self::Caller];

    /// Whether it counts only callers that are known.
    pub const fn is_of_known(self) -> bool {
        matches!(self, Self::Tenant | Self::Caller)
    }

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Source => "source",
            Self::Tenant => "tenant",
            Self::Caller => "caller",
        }
    }
}

impl FromStr for LimitPer {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        if s.is_empty() {
            // Absent on the wire.
            return Ok(Self::Route);
        }
        let known = Self::ALL.into_iter().find(|per| per.as_str() == s);
        known.ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            BadValue(format!("\"{}\" is not known; use one of: {all}", clip(s)))
        })
    }
}

pub(super) fn check(mut l: Limit, _: ValuePointerRef) -> Result<Limit, Contradiction> {
    if l.burst == 0 {
        l.burst = (l.rate.calls / l.rate.unit.seconds()).max(1);
    }
    in_range("/burst", l.burst, 1..=MOST_BURST)?;
    Ok(l)
}

/// The limits of a route together.
pub(super) fn check_all(limits: &[Limit], callers_known: bool) -> Result<(), Contradiction> {
    if let Some(limit) = limits.iter().find(|l| l.per.is_of_known() && !callers_known) {
        let per = limit.per.as_str();
        let message = format!(
            "has per: {per}, but without auth nobody knows who calls; set auth, or per: source"
        );
        return Err(Contradiction("/limits", code::CONFLICTING_FIELDS, message));
    }

    if limits.len() > MOST_LIMITS {
        let message = format!("has {} entries; at most {MOST_LIMITS} are checked", limits.len());
        return Err(Contradiction("/limits", code::BAD_VALUE, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for good in ["1/s", "200/s", "90/m", "1000000/h"] {
            assert_eq!(good.parse::<Rate>().expect(good).to_string(), good);
        }
        for (bad, why) in [
            ("200", "time is missing"),
            ("0/s", "1 to 1000000"),
            ("-1/s", "1 to 1000000"),
            ("2000000/s", "1 to 1000000"),
            ("5/d", "s, m or h"),
            ("", "time is missing"),
        ] {
            let error = bad.parse::<Rate>().expect_err(bad).to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn a_burst_that_is_not_given_is_what_comes_in_a_second() {
        for (rate, burst) in [("200/s", 200), ("90/m", 1), ("600/m", 10), ("5/h", 1)] {
            let limit = Limit { rate: rate.parse().expect(rate), burst: 0, per: LimitPer::Route };
            let limit = check(limit, ValuePointerRef::Origin).expect("good");
            assert_eq!(limit.burst, burst, "{rate}");
        }
    }
}
