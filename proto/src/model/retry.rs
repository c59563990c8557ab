//! Retries: on which answers, how often and how fast a call is tried again.

use std::fmt;
use std::str::FromStr;

use deserr::{Deserr, IntoValue, MergeWithError, Value, ValuePointerRef, take_cf_content};
use serde::{Serialize, Serializer};

use super::code;
use super::error::{BadValue, Contradiction, Errors, in_range};
use super::text::{Millis, as_text, clip};

/// When a call is tried again after the engine saw it.
///
/// What the engine provably did not see (no connection, REFUSED_STREAM, GOAWAY) is always tried again, up to
/// 3 times, whatever is said here.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check_retry -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Retry {
    /// How often a call is tried again, 0 to 10 (default 0: never).
    #[deserr(default)]
    pub attempts: u32,
    /// On which answers; needed with `attempts`.
    #[deserr(default)]
    pub on: Vec<RetryOn>,
    /// Longest pause before the first retry; it doubles with each, and is cut at random (default 25ms).
    #[deserr(default = Millis::new(25))]
    pub backoff: Millis,
    /// Longest pause before any retry (default 250ms).
    #[deserr(default = Millis::new(250))]
    pub max_backoff: Millis,
    /// Most request bytes kept for sending again, 0 to 16777216 (default 65536); a longer request is not retried.
    #[deserr(default = 65_536)]
    pub buffer: u32,
    /// Retries may be at most this percent of the route's calls of the last 10 s (default 20); 3 always may.
    #[deserr(default = 20)]
    pub budget: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 0,
            on: Vec::new(),
            backoff: Millis::new(25),
            max_backoff: Millis::new(250),
            buffer: 65_536,
            budget: 20,
        }
    }
}

/// An answer to try again on: a gRPC status (`UNAVAILABLE`), an HTTP status (`503`) or `reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RetryOn {
    /// This gRPC status, 1 to 16.
    Grpc(u8),
    /// This HTTP status, 400 to 599.
    Http(u16),
    /// The engine broke off before any response header.
    Reset,
}
as_text!(RetryOn, "a gRPC status, an HTTP status or reset, such as UNAVAILABLE or \"503\"");

/// The names of the gRPC statuses, by number.
pub const GRPC_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl FromStr for RetryOn {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        if s == "reset" {
            return Ok(Self::Reset);
        }
        if let Some(code) =
            (0..).zip(GRPC_NAMES).skip(1).find_map(|(i, name)| (name == s).then_some(i))
        {
            return Ok(Self::Grpc(code));
        }
        match s.parse::<u16>() {
            Ok(status) if s.len() == 3 && (400..=599).contains(&status) => Ok(Self::Http(status)),
            _ => Err(BadValue(format!(
                "\"{}\" is nothing to retry on; write a gRPC status like UNAVAILABLE, \
                 an HTTP status from 400 to 599, or reset",
                clip(s)
            ))),
        }
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grpc(code) => {
                // Only statuses that there are can be read.
                f.write_str(GRPC_NAMES.get(usize::from(*code)).copied().unwrap_or("UNKNOWN"))
            }
            Self::Http(status) => write!(f, "{status}"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

pub(super) fn check_retry(mut r: Retry, _: ValuePointerRef) -> Result<Retry, Contradiction> {
    in_range("/attempts", r.attempts, 0..=10)?;
    in_range("/buffer", r.buffer, 0..=16_777_216)?;
    in_range("/budget", r.budget, 0..=100)?;
    let bad = |field, message| Err(Contradiction(field, code::CONFLICTING_FIELDS, message));
    if r.attempts > 0 && r.on.is_empty() {
        let message =
            format!("is empty, but attempts is {}; say on what, such as UNAVAILABLE", r.attempts);
        return bad("/on", message);
    }
    if r.attempts == 0 && !r.on.is_empty() {
        return bad(
            "/attempts",
            "is 0, but on is set; set attempts from 1 to 10, or remove on".into(),
        );
    }
    if r.max_backoff < r.backoff {
        let message = format!(
            "is {}, less than backoff ({}); make it at least that",
            r.max_backoff, r.backoff
        );
        return bad("/max_backoff", message);
    }
    r.on.sort();
    r.on.dedup();
    Ok(r)
}
