//! Health: what an endpoint is asked (active checks), and what its calls tell (ejection).

use std::fmt;
use std::str::FromStr;

use deserr::{Deserr, IntoValue, MergeWithError, Value, ValuePointerRef, take_cf_content};
use serde::{Serialize, Serializer};

use super::code;
use super::error::{BadValue, Contradiction, Errors, in_range};
use super::text::{Millis, as_text, clip};

/// Active health checks: every proxy asks every endpoint, again and again.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check_health -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// What is asked (default auto).
    #[deserr(default)]
    pub check: HealthCheck,
    /// From one check of an endpoint to the next, give or take 10 % (default 10s, at least 100ms).
    #[deserr(default = Millis::new(10_000))]
    pub interval: Millis,
    /// A check without an answer for this long has failed (default 2s).
    #[deserr(default = Millis::new(2_000))]
    pub timeout: Millis,
    /// Successes in a row that make an endpoint healthy again, 1 to 100 (default 1).
    #[deserr(default = 1)]
    pub up: u32,
    /// Failures in a row that make it unhealthy, 1 to 100 (default 3).
    #[deserr(default = 3)]
    pub down: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            check: HealthCheck::Auto,
            interval: Millis::new(10_000),
            timeout: Millis::new(2_000),
            up: 1,
            down: 3,
        }
    }
}

impl Health {
    /// No active checks: an endpoint is avoided only while it refuses connections or is ejected.
    pub fn none() -> Self {
        Self { check: HealthCheck::None, ..Self::default() }
    }
}

/// [`Health`] as it may be written down: `health: grpc` is short for `health: {check: grpc}`. Documents and
/// stores of versions that knew only `health: none` read so too.
pub(super) struct HealthForm(Health);

impl From<HealthForm> for Health {
    fn from(form: HealthForm) -> Self {
        form.0
    }
}

impl Deserr<Errors> for HealthForm {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Errors> {
        match value {
            Value::String(_) => HealthCheck::deserialize_from_value(value, location)
                .map(|check| Self(Health { check, ..Health::default() })),
            object => Health::deserialize_from_value(object, location).map(Self),
        }
    }
}

/// What an endpoint is asked: `auto`, `grpc`, `grpc:SERVICE`, `http:/path`, `tcp` or `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HealthCheck {
    /// `grpc`; and `tcp` where the engine answers UNIMPLEMENTED or does not speak HTTP/2.
    #[default]
    Auto,
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// The service asked about; empty = the server as a whole.
        service: String,
    },
    /// A GET; a status of 200 to 299 is up.
    Http {
        /// The path, with a query where wanted.
        path: String,
    },
    /// Whether it takes a connection.
    Tcp,
    /// Nothing.
    None,
}
as_text!(HealthCheck, "auto, grpc, grpc:SERVICE, http:/path, tcp or none");

impl FromStr for HealthCheck {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let printable = |t: &str| t.len() <= 2_000 && t.bytes().all(|b| b.is_ascii_graphic());
        match s {
            "auto" => return Ok(Self::Auto),
            "grpc" => return Ok(Self::Grpc { service: String::new() }),
            "tcp" => return Ok(Self::Tcp),
            "none" => return Ok(Self::None),
            _ => {}
        }
        if let Some(service) = s.strip_prefix("grpc:").filter(|t| !t.is_empty() && printable(t)) {
            return Ok(Self::Grpc { service: service.to_owned() });
        }
        let path = s.strip_prefix("http:").filter(|p| p.starts_with('/') && !p.starts_with("//"));
        if let Some(path) = path.filter(|p| printable(p) && !p.contains('#')) {
            return Ok(Self::Http { path: path.to_owned() });
        }
        Err(BadValue(format!(
            "\"{}\" is not a health check; write auto, grpc, grpc:SERVICE, http:/path, tcp or none",
            clip(s)
        )))
    }
}

impl fmt::Display for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Grpc { service } if service.is_empty() => f.write_str("grpc"),
            Self::Grpc { service } => write!(f, "grpc:{service}"),
            Self::Http { path } => write!(f, "http:{path}"),
            Self::Tcp => f.write_str("tcp"),
            Self::None => f.write_str("none"),
        }
    }
}

/// Passive health checks: an endpoint whose calls fail gets none for a while.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check_ejection -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ejection {
    /// Failed calls in a row that eject an endpoint (default 5); 0 = off.
    #[deserr(default = 5)]
    pub failures: u32,
    /// Whether an endpoint is ejected too when far more of its calls fail than of the others (default true).
    #[deserr(default = true)]
    pub outliers: bool,
    /// How long the first ejection lasts; the n-th lasts n times as long (default 30s).
    #[deserr(default = Millis::new(30_000))]
    pub time: Millis,
    /// The longest one lasts (default 5m).
    #[deserr(default = Millis::new(300_000))]
    pub max_time: Millis,
    /// Most endpoints ejected at once, in percent, rounded down (default 50): a single one never is.
    #[deserr(default = 50)]
    pub max_ejected: u32,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: 5,
            outliers: true,
            time: Millis::new(30_000),
            max_time: Millis::new(300_000),
            max_ejected: 50,
        }
    }
}

pub(super) fn check_health(h: Health, _: ValuePointerRef) -> Result<Health, Contradiction> {
    h.interval.at_least("/interval", Millis::new(100))?;
    h.timeout.at_least("/timeout", Millis::new(1))?;
    in_range("/up", h.up, 1..=100)?;
    in_range("/down", h.down, 1..=100)?;
    Ok(h)
}

pub(super) fn check_ejection(e: Ejection, _: ValuePointerRef) -> Result<Ejection, Contradiction> {
    e.time.at_least("/time", Millis::new(1))?;
    in_range("/max_ejected", e.max_ejected, 0..=100)?;
    if e.max_time < e.time {
        let message =
            format!("is {}, less than time ({}); make it at least that", e.max_time, e.time);
        return Err(Contradiction("/max_time", code::CONFLICTING_FIELDS, message));
    }
    Ok(e)
}
