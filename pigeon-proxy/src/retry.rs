//! Trying a call again: whether, after which pause, and how often over all calls of a route.
//!
//! Pure: the clock and randomness are arguments. The transports say how an attempt failed and do what
//! [`Tries::again`] tells them.

mod budget;

use std::time::{Duration, Instant};

use pigeon_proto::model::{self, RetryOn};

pub use self::budget::{Budget, Spent};
use crate::engine::scramble;

/// How often a call is tried again that no engine has seen: neither the policy nor the budget count it.
const MOST_UNSEEN: u32 = 3;

/// How an attempt failed, before any header of an answer that the caller could have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The engine provably did not look at it: REFUSED_STREAM, or a GOAWAY that leaves it out (RFC 9113,
    /// sections 6.8 and 8.7), or the connection was gone before anything was sent.
    Unseen,
    /// The engine broke off, or its connection went, before any header of the answer.
    Reset,
    /// An answer that is nothing but this gRPC status (Trailers-Only).
    Grpc(u8),
    /// An answer with this HTTP status.
    Http(u16),
}

/// When the calls of a route are tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How often, on what is listed.
    pub attempts: u32,
    /// The gRPC statuses that are listed: bit n for status n.
    pub grpc: u32,
    /// The HTTP statuses that are listed.
    pub http: Vec<u16>,
    /// Whether [`Failed::Reset`] is listed.
    pub reset: bool,
    /// The pause before the first time is up to this; it doubles from time to time …
    pub backoff: Duration,
    /// … up to this.
    pub max_backoff: Duration,
    /// Most bytes of a request that are kept for sending it again.
    pub buffer: usize,
}

/// How often one call was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    unseen: u32,
    seen: u32,
}

impl From<&model::Retry> for Policy {
    fn from(retry: &model::Retry) -> Self {
        let (mut grpc, mut http, mut reset) = (0, Vec::new(), false);
        for on in &retry.on {
            match *on {
                RetryOn::Grpc(status) => grpc |= 1_u32.checked_shl(status.into()).unwrap_or(0),
                RetryOn::Http(status) => http.push(status),
                RetryOn::Reset => reset = true,
            }
        }
        Self {
            attempts: retry.attempts,
            grpc,
            http,
            reset,
            backoff: retry.backoff.duration(),
            max_backoff: retry.max_backoff.duration(),
            buffer: retry.buffer as usize,
        }
    }
}

impl Policy {
    /// Whether calls may be tried again that an engine has seen.
    pub fn is_on(&self) -> bool {
        self.attempts > 0
    }

    /// Whether this failure is one to try again after.
    pub fn lists(&self, failed: Failed) -> bool {
        match failed {
            Failed::Unseen => true,
            Failed::Reset => self.reset,
            Failed::Grpc(status) => status < 32 && self.grpc & 1 << status != 0,
            Failed::Http(status) => self.http.contains(&status),
        }
    }

    /// The pause before the call is tried again, none if it is not. The budget is not asked. A pause never
    /// ends at or after the deadline. `seed` decides how much of the pause is taken: anything from nothing
    /// to all of it, so that calls that failed together do not come back together.
    pub fn again(
        &self,
        tries: &Tries,
        failed: Failed,
        now: Instant,
        deadline: Option<Instant>,
        seed: u64,
    ) -> Option<Duration> {
        let pause = match failed {
            Failed::Unseen if tries.unseen < MOST_UNSEEN => Duration::ZERO,
            Failed::Unseen => return None,
            _ if tries.seen < self.attempts && self.lists(failed) => self.pause(tries.seen, seed),
            _ => return None,
        };
        let in_time = deadline.is_none_or(|d| now.checked_add(pause).is_some_and(|end| end < d));
        in_time.then_some(pause)
    }

    /// The pause after the call was tried again `before` times.
    fn pause(&self, before: u32, seed: u64) -> Duration {
        let full = self.backoff.saturating_mul(1 << before.min(20)).min(self.max_backoff);
        let us = u64::try_from(full.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(scramble(seed) % us.saturating_add(1))
    }
}

impl Tries {
    /// Asks policy and budget, and counts the new attempt if there is to be one; the pause before it.
    pub fn again(
        &mut self,
        (policy, budget): (&Policy, &Budget),
        failed: Failed,
        now: Instant,
        deadline: Option<Instant>,
        seed: u64,
    ) -> Option<Duration> {
        let pause = policy.again(self, failed, now, deadline, seed)?;
        if failed == Failed::Unseen {
            self.unseen += 1;
        } else if budget.take(now) {
            self.seen += 1;
        } else {
            return None;
        }
        Some(pause)
    }

    /// Attempts before the current one that an engine may have seen: `grpc-previous-rpc-attempts`.
    pub fn previous(&self) -> u32 {
        self.seen
    }
}

#[cfg(test)]
mod tests;
