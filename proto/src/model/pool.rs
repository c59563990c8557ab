//! Pools: slots and connections of an engine.

use deserr::{Deserr, ValuePointerRef};
use serde::Serialize;

use super::code;
use super::error::{Contradiction, Errors, in_range};
use super::text::Millis;

/// What governs slots and connections of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check_pool -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pool {
    /// Whether and how slots limit calls.
    #[deserr(default)]
    pub mode: PoolMode,
    /// Calls at once per endpoint; needed unless mode is off.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// How far mode loose may grow, as a multiple of `slots` (default 5).
    #[deserr(default = 5)]
    pub loose_factor: u32,
    /// Calls that may wait for a slot, per engine and proxy (default 0: none).
    #[deserr(default)]
    pub queue: u32,
    /// Longest wait of one call (default 2s).
    #[deserr(default = Millis::new(2_000))]
    pub queue_timeout: Millis,
    /// How long to try to connect to an endpoint (default 5s).
    #[deserr(default = Millis::new(5_000))]
    pub dial_timeout: Millis,
    /// A connection to an endpoint idle for this long is closed (default 5m).
    #[deserr(default = Millis::new(300_000))]
    pub idle_timeout: Millis,
    /// How long a slot rests after the gateway cancelled its call, for the engine to notice (default 100ms).
    #[deserr(default = Millis::new(100))]
    pub cancel_cooldown: Millis,
    /// How calls share connections.
    #[deserr(default)]
    pub reuse: Reuse,
    /// Calls at once on one HTTP/2 connection, 1 to 10000 (default 100); fewer where the engine says so.
    #[deserr(default = 100)]
    pub max_streams_per_connection: u32,
    /// A connection older than this takes no new calls, and closes when its calls have ended (at least 1s).
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<Millis>,
    /// A connection that has taken so many calls takes no more (at least 1).
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// How long calls may go on at an endpoint that is removed or drained; none = until they end.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<Millis>,
    /// Longest pause between attempts to reach an endpoint that refuses connections (default 10s, at least 100ms).
    #[deserr(default = Millis::new(10_000))]
    pub dial_backoff_max: Millis,
    /// An HTTP/2 PING goes to the engine after this much silence (at least 1s); none = never.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<Millis>,
    /// A connection whose PING stays unanswered for this long is given up (default 20s).
    #[deserr(default = Millis::new(20_000))]
    pub keepalive_timeout: Millis,
    /// Whether connections without calls are kept alive too.
    #[deserr(default)]
    pub keepalive_without_calls: bool,
    /// Most bytes an engine may send ahead on one call, 65535 to 16777216 (default 262144).
    #[deserr(default = 262_144)]
    pub stream_window: u32,
    /// Most unread bytes held per connection before the engine is stopped, 65535 to 1073741824 (default 16777216).
    #[deserr(default = 16_777_216)]
    pub connection_window: u32,
    /// Longest gRPC message either way, in bytes; a longer one ends the call with `too_large`. None = no limit.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_message_bytes: Option<u32>,
    /// Connections each worker keeps open to every endpoint ahead of calls, 0 to 100 (default 0).
    #[deserr(default)]
    pub warm: u32,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            mode: PoolMode::Off,
            slots: None,
            loose_factor: 5,
            queue: 0,
            queue_timeout: Millis::new(2_000),
            dial_timeout: Millis::new(5_000),
            idle_timeout: Millis::new(300_000),
            cancel_cooldown: Millis::new(100),
            reuse: Reuse::Multiplex,
            max_streams_per_connection: 100,
            max_lifetime: None,
            max_requests: None,
            drain_timeout: None,
            dial_backoff_max: Millis::new(10_000),
            keepalive_time: None,
            keepalive_timeout: Millis::new(20_000),
            keepalive_without_calls: false,
            stream_window: 262_144,
            connection_window: 16_777_216,
            max_message_bytes: None,
            warm: 0,
        }
    }
}

/// Whether and how slots limit calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Errors)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PoolMode {
    /// No limit; calls are only counted.
    #[default]
    #[deserr(rename = "off")]
    Off,
    /// Never more than `slots` calls per endpoint.
    #[deserr(rename = "strict")]
    Strict,
    /// Up to `slots × loose_factor`, endpoints below `slots` first.
    #[deserr(rename = "loose")]
    Loose,
}

/// How calls share connections to an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Errors)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Reuse {
    /// Many calls at once on one HTTP/2 connection.
    #[default]
    #[deserr(rename = "multiplex")]
    Multiplex,
    /// One call at a time per connection.
    #[deserr(rename = "exclusive")]
    Exclusive,
}

pub(super) fn check_pool(p: Pool, _: ValuePointerRef) -> Result<Pool, Contradiction> {
    check_limits(&p)?;
    check_connections(&p)?;
    Ok(p)
}

/// Slots and the queue.
fn check_limits(p: &Pool) -> Result<(), Contradiction> {
    check_slots(p.slots)?;
    let bad = |field, message: &str| Err(Contradiction(field, code::POOL, message.into()));
    if p.mode == PoolMode::Off {
        if p.slots.is_some() {
            return bad("/mode", "is off, but slots is set; set mode to strict or loose");
        }
        if p.queue > 0 {
            let message =
                "is off, so nothing ever waits, but queue is set; set mode to strict or loose";
            return bad("/mode", message);
        }
    } else if p.slots.is_none() {
        return bad("/slots", "is missing; modes strict and loose need it");
    }
    in_range("/loose_factor", p.loose_factor, 1..=100)?;
    in_range("/queue", p.queue, 0..=100_000)
}

/// Connections, their age, windows and keepalive.
fn check_connections(p: &Pool) -> Result<(), Contradiction> {
    const SECOND: Millis = Millis::new(1_000);
    p.dial_timeout.at_least("/dial_timeout", Millis::new(1))?;
    p.dial_backoff_max.at_least("/dial_backoff_max", Millis::new(100))?;
    p.keepalive_timeout.at_least("/keepalive_timeout", Millis::new(1))?;
    p.max_lifetime.map_or(Ok(()), |t| t.at_least("/max_lifetime", SECOND))?;
    p.keepalive_time.map_or(Ok(()), |t| t.at_least("/keepalive_time", SECOND))?;
    in_range("/max_streams_per_connection", p.max_streams_per_connection, 1..=10_000)?;
    in_range("/stream_window", p.stream_window, 65_535..=16_777_216)?;
    in_range("/connection_window", p.connection_window, 65_535..=1_073_741_824)?;
    in_range("/warm", p.warm, 0..=100)?;
    for (field, value) in
        [("/max_requests", p.max_requests), ("/max_message_bytes", p.max_message_bytes)]
    {
        if value == Some(0) {
            let message = "is 0; it must be at least 1: remove it for no limit";
            return Err(Contradiction(field, code::BAD_VALUE, message.into()));
        }
    }
    Ok(())
}

pub(super) fn check_slots(slots: Option<u32>) -> Result<(), Contradiction> {
    slots.map_or(Ok(()), |n| in_range("/slots", n, 1..=100_000))
}
