//! Engines: named upstream services, their endpoints and pool settings.

use deserr::Deserr;
use serde::Serialize;

use super::code;
use super::error::{Contradiction, Errors};
use super::text::{Address, Millis};

/// A named upstream service: its endpoints, and how to balance, pool and limit it.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Engine {
    /// Its addresses. May be empty: calls are then answered `no_endpoint`.
    #[deserr(default)]
    pub endpoints: Vec<Endpoint>,
    /// How an endpoint is chosen for a call.
    #[deserr(default)]
    pub balance: Balance,
    /// What the endpoints speak.
    #[deserr(default)]
    pub protocol: Protocol,
    /// Slots and connections.
    #[deserr(default)]
    pub pool: Pool,
    /// Active health checks.
    #[deserr(default)]
    pub health: Health,
}

/// One address of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check_endpoint -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Endpoint {
    /// host:port
    pub address: Address,
    /// Share of calls relative to the other endpoints, 1 to 1000 (default 1).
    #[deserr(default = 1)]
    pub weight: u32,
    /// Slots of this endpoint, where they differ from `pool.slots`.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Errors)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Balance {
    /// Most free slots relative to weight (without slots: fewest calls); ties at random.
    #[default]
    #[deserr(rename = "least_connections")]
    LeastConnections,
    /// At random, by weight, among the endpoints with a free slot.
    #[deserr(rename = "random")]
    Random,
}

/// What endpoints speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Errors)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Protocol {
    /// gRPC calls by cleartext HTTP/2, all others by HTTP/1.1.
    #[default]
    #[deserr(rename = "auto")]
    Auto,
    /// HTTP/1.1 for everything.
    #[deserr(rename = "http1")]
    Http1,
    /// Cleartext HTTP/2 (prior knowledge) for everything.
    #[deserr(rename = "h2c")]
    H2c,
}

/// Active health checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Errors)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Health {
    /// None: an endpoint is avoided only while it refuses connections.
    #[default]
    #[deserr(rename = "none")]
    None,
}

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

pub(super) fn check(e: Engine, _: deserr::ValuePointerRef) -> Result<Engine, Contradiction> {
    let mut seen = std::collections::HashSet::new();
    for a in &e.endpoints {
        if !seen.insert(&a.address) {
            let message = format!("the address {} is there twice; remove one", a.address);
            return Err(Contradiction("/endpoints", code::DUPLICATE_ENDPOINT, message));
        }
        if a.slots.is_some() && e.pool.mode == PoolMode::Off {
            let message = format!(
                "{} has slots, but pool.mode is off; set pool.mode to strict or loose",
                a.address
            );
            return Err(Contradiction("/pool/mode", code::POOL, message));
        }
    }
    Ok(e)
}

pub(super) fn check_endpoint(
    e: Endpoint,
    _: deserr::ValuePointerRef,
) -> Result<Endpoint, Contradiction> {
    if !(1..=1_000).contains(&e.weight) {
        let message = format!("is {}; it must be from 1 to 1000", e.weight);
        return Err(Contradiction("/weight", code::BAD_VALUE, message));
    }
    check_slots(e.slots)?;
    Ok(e)
}

pub(super) fn check_pool(p: Pool, _: deserr::ValuePointerRef) -> Result<Pool, Contradiction> {
    check_slots(p.slots)?;
    let bad = |field, code, message: String| Err(Contradiction(field, code, message));
    if p.mode == PoolMode::Off {
        if p.slots.is_some() {
            return bad(
                "/mode",
                code::POOL,
                "is off, but slots is set; set mode to strict or loose".into(),
            );
        }
        if p.queue > 0 {
            return bad(
                "/mode",
                code::POOL,
                "is off, so nothing ever waits, but queue is set; set mode to strict or loose"
                    .into(),
            );
        }
    } else if p.slots.is_none() {
        return bad("/slots", code::POOL, "is missing; modes strict and loose need it".into());
    }
    if !(1..=100).contains(&p.loose_factor) {
        let message = format!("is {}; it must be from 1 to 100", p.loose_factor);
        return bad("/loose_factor", code::BAD_VALUE, message);
    }
    if p.queue > 100_000 {
        let message = format!("is {}; it must be at most 100000", p.queue);
        return bad("/queue", code::BAD_VALUE, message);
    }
    if p.dial_timeout.as_ms() == 0 {
        return bad("/dial_timeout", code::BAD_VALUE, "is 0s; it must be at least 1ms".into());
    }
    Ok(p)
}

fn check_slots(slots: Option<u32>) -> Result<(), Contradiction> {
    match slots {
        Some(n) if !(1..=100_000).contains(&n) => {
            let message = format!("is {n}; it must be from 1 to 100000");
            Err(Contradiction("/slots", code::BAD_VALUE, message))
        }
        _ => Ok(()),
    }
}
