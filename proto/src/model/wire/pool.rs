//! The wire form of pools. A version before a field was there sends 0 for it, which reads as its default.

use super::super::error::Errors;
use super::super::{Millis, Pool, PoolMode, Reuse, pool};
use super::{checked, some, some_time, time_or_zero, unknown};
use crate::v1;

impl From<&Pool> for v1::Pool {
    fn from(p: &Pool) -> Self {
        let mode = match p.mode {
            PoolMode::Off => v1::pool::Mode::Off,
            PoolMode::Strict => v1::pool::Mode::Strict,
            PoolMode::Loose => v1::pool::Mode::Loose,
        };
        let reuse = match p.reuse {
            Reuse::Multiplex => v1::pool::Reuse::Multiplex,
            Reuse::Exclusive => v1::pool::Reuse::Exclusive,
        };
        Self {
            mode: mode.into(),
            slots: p.slots.unwrap_or(0),
            loose_factor: p.loose_factor,
            queue: p.queue,
            queue_timeout_ms: p.queue_timeout.as_ms(),
            dial_timeout_ms: p.dial_timeout.as_ms(),
            idle_timeout_ms: p.idle_timeout.as_ms(),
            cancel_cooldown_ms: p.cancel_cooldown.as_ms(),
            reuse: reuse.into(),
            max_streams_per_connection: p.max_streams_per_connection,
            max_lifetime_ms: time_or_zero(p.max_lifetime),
            max_requests: p.max_requests.unwrap_or(0),
            drain_timeout_ms: p.drain_timeout.map(Millis::as_ms),
            dial_backoff_max_ms: p.dial_backoff_max.as_ms(),
            keepalive_time_ms: time_or_zero(p.keepalive_time),
            keepalive_timeout_ms: p.keepalive_timeout.as_ms(),
            keepalive_without_calls: p.keepalive_without_calls,
            stream_window: p.stream_window,
            connection_window: p.connection_window,
            max_message_bytes: p.max_message_bytes.unwrap_or(0),
            warm: p.warm,
        }
    }
}

impl TryFrom<v1::Pool> for Pool {
    type Error = Errors;

    fn try_from(w: v1::Pool) -> Result<Self, Errors> {
        let mode = match v1::pool::Mode::try_from(w.mode) {
            Ok(v1::pool::Mode::Off) => PoolMode::Off,
            Ok(v1::pool::Mode::Strict) => PoolMode::Strict,
            Ok(v1::pool::Mode::Loose) => PoolMode::Loose,
            Err(_) => return Err(unknown("/pool/mode", w.mode)),
        };
        let reuse = match v1::pool::Reuse::try_from(w.reuse) {
            Ok(v1::pool::Reuse::Multiplex) => Reuse::Multiplex,
            Ok(v1::pool::Reuse::Exclusive) => Reuse::Exclusive,
            Err(_) => return Err(unknown("/pool/reuse", w.reuse)),
        };
        let default = Self::default();
        let value = Self {
            mode,
            slots: some(w.slots),
            loose_factor: w.loose_factor,
            queue: w.queue,
            queue_timeout: Millis::new(w.queue_timeout_ms),
            dial_timeout: Millis::new(w.dial_timeout_ms),
            idle_timeout: Millis::new(w.idle_timeout_ms),
            cancel_cooldown: Millis::new(w.cancel_cooldown_ms),
            reuse,
            max_streams_per_connection: some(w.max_streams_per_connection)
                .unwrap_or(default.max_streams_per_connection),
            max_lifetime: some_time(w.max_lifetime_ms),
            max_requests: some(w.max_requests),
            drain_timeout: w.drain_timeout_ms.map(Millis::new),
            dial_backoff_max: some_time(w.dial_backoff_max_ms).unwrap_or(default.dial_backoff_max),
            keepalive_time: some_time(w.keepalive_time_ms),
            keepalive_timeout: some_time(w.keepalive_timeout_ms)
                .unwrap_or(default.keepalive_timeout),
            keepalive_without_calls: w.keepalive_without_calls,
            stream_window: some(w.stream_window).unwrap_or(default.stream_window),
            connection_window: some(w.connection_window).unwrap_or(default.connection_window),
            max_message_bytes: some(w.max_message_bytes),
            warm: w.warm,
        };
        checked(value, "/pool", pool::check_pool)
    }
}
