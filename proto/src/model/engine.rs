//! Engines: named upstream services, their endpoints, and how one is chosen.

use std::fmt;
use std::str::FromStr;

use deserr::{Deserr, IntoValue, MergeWithError, Value, ValuePointerRef, take_cf_content};
use serde::{Serialize, Serializer};

use super::code;
use super::error::{BadValue, Contradiction, Errors};
use super::health::{Ejection, Health, HealthForm};
use super::pool::{Pool, PoolMode, check_slots};
use super::text::{Address, Millis, as_text, clip};
use super::tls::EngineTls;

/// A named upstream service: its endpoints, and how to balance, pool and limit it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Engine {
    /// Its addresses. May be empty: calls are then answered `no_endpoint`.
    #[deserr(default)]
    pub endpoints: Vec<Endpoint>,
    /// How an endpoint is chosen for a call.
    #[deserr(default)]
    pub balance: Balance,
    /// What `balance: hash` computes the hash of; calls with the same go to the same endpoint.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_key: Option<HashKey>,
    /// What the endpoints speak.
    #[deserr(default)]
    pub protocol: Protocol,
    /// The weight of a new or returning endpoint grows from 10 % to 100 % over this time (default 0s: off).
    #[deserr(default)]
    pub slow_start: Millis,
    /// Slots and connections.
    #[deserr(default)]
    pub pool: Pool,
    /// Active health checks; a text is short for an object with this `check`.
    #[deserr(default, from(HealthForm) = Health::from)]
    pub health: Health,
    /// Passive health checks: endpoints whose calls fail rest for a while.
    #[deserr(default)]
    pub ejection: Ejection,
    /// The endpoints speak TLS; without it they are spoken to in the clear.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<EngineTls>,
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
    /// Whether it gets no new calls; those that run go on.
    #[deserr(default)]
    pub drain: bool,
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
    /// In turn, by weight, among the endpoints with a free slot.
    #[deserr(rename = "round_robin")]
    RoundRobin,
    /// The better of two chosen at random ("power of two choices").
    #[deserr(rename = "p2c")]
    P2c,
    /// The endpoint that the call's `hash_key` falls on; when it is full or unhealthy, the next one.
    #[deserr(rename = "hash")]
    Hash,
}

/// What calls are told apart by with `balance: hash`: `source`, `tenant` or `header:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashKey {
    /// The caller's IP address.
    Source,
    /// The tenant; a call of none goes anywhere.
    Tenant,
    /// The value of this header, written in lower case; a call without it goes anywhere.
    Header(String),
}
as_text!(HashKey, "source, tenant or header:NAME, such as header:x-session-id");

impl FromStr for HashKey {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        match s {
            "source" => return Ok(Self::Source),
            "tenant" => return Ok(Self::Tenant),
            _ => {}
        }
        match s.strip_prefix("header:") {
            Some(name) if is_header_name(name) => Ok(Self::Header(name.to_ascii_lowercase())),
            _ => Err(BadValue(format!(
                "\"{}\" is not a hash key; write source, tenant or header:NAME, like header:x-session-id",
                clip(s)
            ))),
        }
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source => f.write_str("source"),
            Self::Tenant => f.write_str("tenant"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

/// A field name (RFC 9110, section 5.1), so that no pseudo-header is one.
fn is_header_name(s: &str) -> bool {
    let mark = |b: u8| b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=256).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || mark(b))
}

/// What endpoints speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Errors)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Protocol {
    /// gRPC calls by HTTP/2, all others by HTTP/1.1.
    #[default]
    #[deserr(rename = "auto")]
    Auto,
    /// HTTP/1.1 for everything.
    #[deserr(rename = "http1")]
    Http1,
    /// Cleartext HTTP/2 (prior knowledge) for everything.
    #[deserr(rename = "h2c")]
    H2c,
    /// HTTP/2 by TLS for everything.
    #[deserr(rename = "h2")]
    H2,
}

impl Protocol {
    /// Whether a call goes by HTTP/2.
    pub fn is_http2(self, grpc: bool) -> bool {
        match self {
            Self::H2c | Self::H2 => true,
            Self::Http1 => false,
            Self::Auto => grpc,
        }
    }
}

pub(super) fn check(e: Engine, _: ValuePointerRef) -> Result<Engine, Contradiction> {
    check_hash_key(&e)?;
    check_protocol(&e)?;
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

pub(super) fn check_endpoint(e: Endpoint, _: ValuePointerRef) -> Result<Endpoint, Contradiction> {
    if !(1..=1_000).contains(&e.weight) {
        let message = format!("is {}; it must be from 1 to 1000", e.weight);
        return Err(Contradiction("/weight", code::BAD_VALUE, message));
    }
    check_slots(e.slots)?;
    Ok(e)
}

fn check_protocol(e: &Engine) -> Result<(), Contradiction> {
    let message = match (e.protocol, &e.tls) {
        (Protocol::H2c, Some(_)) => {
            "is h2c, which is HTTP/2 in the clear, but tls is set; write h2, or remove tls"
        }
        (Protocol::H2, None) => "is h2, which is HTTP/2 by TLS; set tls, or write h2c",
        _ => return Ok(()),
    };
    Err(Contradiction("/protocol", code::CONFLICTING_FIELDS, message.into()))
}

fn check_hash_key(e: &Engine) -> Result<(), Contradiction> {
    let message = match (e.balance, &e.hash_key) {
        (Balance::Hash, None) => {
            "is missing; balance hash needs it: set source or header:NAME".to_owned()
        }
        (Balance::Hash, Some(_)) | (_, None) => return Ok(()),
        (_, Some(key)) => {
            format!("is {key}, but balance is not hash; set balance to hash or remove it")
        }
    };
    Err(Contradiction("/hash_key", code::CONFLICTING_FIELDS, message))
}
