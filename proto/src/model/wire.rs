//! The wire form of specs: what `Put.spec` of the config stream carries.

use bytes::Bytes;
use deserr::ValuePointerRef;
use prost::Message;

use super::error::{BadValue, Contradiction, Errors, FieldError};
use super::{
    Balance, Endpoint, Engine, Health, Kind, Listener, Match, Millis, Pool, PoolMode, Protocol,
    Route, Spec, code, engine, listener, matching,
};
use crate::v1;

impl Spec {
    /// The wire form.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Listener(l) => v1::Listener::from(l).encode_to_vec(),
            Self::Engine(e) => v1::Engine::from(e).encode_to_vec(),
            Self::Route(r) => v1::Route::from(r).encode_to_vec(),
        }
        .into()
    }

    /// Reads and checks the wire form.
    ///
    /// # Errors
    /// All of them: bytes that do not decode, values this version does not know or refuses.
    pub fn decode(kind: Kind, bytes: &[u8]) -> Result<Self, Errors> {
        let malformed = |e: prost::DecodeError| {
            let message = format!("does not decode as a {kind}: {e}");
            Errors::from(FieldError::new("/spec", code::CANNOT_USE, message))
        };
        let spec = match kind {
            Kind::Listener => Listener::try_from(v1::Listener::decode(bytes).map_err(malformed)?)
                .map(Self::Listener),
            Kind::Engine => {
                Engine::try_from(v1::Engine::decode(bytes).map_err(malformed)?).map(Self::Engine)
            }
            Kind::Route => {
                Route::try_from(v1::Route::decode(bytes).map_err(malformed)?).map(Self::Route)
            }
        };
        spec.map_err(|e| e.under("/spec"))
    }
}

/// Keeps the error of one field, at its pointer.
fn at<T>(errors: &mut Errors, pointer: &str, result: Result<T, BadValue>) -> Option<T> {
    let result = result.map_err(|e| FieldError::new(pointer, code::BAD_VALUE, e.0).into());
    errors.keep(result)
}

/// A number that this version has no word for: written by a newer admin.
fn unknown(pointer: &str, value: i32) -> Errors {
    let message = format!("the value {value} is not known to this version; upgrade this proxy");
    FieldError::new(pointer, code::CANNOT_USE, message).into()
}

fn checked<T>(
    value: T,
    prefix: &str,
    check: fn(T, ValuePointerRef) -> Result<T, Contradiction>,
) -> Result<T, Errors> {
    check(value, ValuePointerRef::Origin).map_err(|Contradiction(field, code, message)| {
        FieldError::new(format!("{prefix}{field}"), code, message).into()
    })
}

impl From<&Listener> for v1::Listener {
    fn from(l: &Listener) -> Self {
        Self {
            address: l.address.to_string(),
            max_connections: l.max_connections,
            max_concurrent_streams: l.max_concurrent_streams,
            max_header_bytes: l.max_header_bytes,
            header_timeout_ms: l.header_timeout.as_ms(),
        }
    }
}

impl TryFrom<v1::Listener> for Listener {
    type Error = Errors;

    fn try_from(w: v1::Listener) -> Result<Self, Errors> {
        let mut errors = Errors::default();
        let address = at(&mut errors, "/address", w.address.parse());
        let Some(address) = address else { return Err(errors) };
        let value = Self {
            address,
            max_connections: w.max_connections,
            max_concurrent_streams: w.max_concurrent_streams,
            max_header_bytes: w.max_header_bytes,
            header_timeout: Millis::new(w.header_timeout_ms),
        };
        checked(value, "", listener::check)
    }
}

impl From<&Engine> for v1::Engine {
    fn from(e: &Engine) -> Self {
        let endpoint = |p: &Endpoint| v1::Endpoint {
            address: p.address.to_string(),
            weight: p.weight,
            slots: p.slots.unwrap_or(0),
        };
        let balance = match e.balance {
            Balance::LeastConnections => v1::engine::Balance::LeastConnections,
            Balance::Random => v1::engine::Balance::Random,
        };
        let protocol = match e.protocol {
            Protocol::Auto => v1::engine::Protocol::Auto,
            Protocol::Http1 => v1::engine::Protocol::Http1,
            Protocol::H2c => v1::engine::Protocol::H2c,
        };
        let health = match e.health {
            Health::None => v1::engine::Health::NoCheck,
        };
        Self {
            endpoints: e.endpoints.iter().map(endpoint).collect(),
            balance: balance.into(),
            protocol: protocol.into(),
            pool: Some((&e.pool).into()),
            health: health.into(),
        }
    }
}

impl TryFrom<v1::Engine> for Engine {
    type Error = Errors;

    fn try_from(w: v1::Engine) -> Result<Self, Errors> {
        let mut errors = Errors::default();
        let balance = match v1::engine::Balance::try_from(w.balance) {
            Ok(v1::engine::Balance::LeastConnections) => Ok(Balance::LeastConnections),
            Ok(v1::engine::Balance::Random) => Ok(Balance::Random),
            Err(_) => Err(unknown("/balance", w.balance)),
        };
        let protocol = match v1::engine::Protocol::try_from(w.protocol) {
            Ok(v1::engine::Protocol::Auto) => Ok(Protocol::Auto),
            Ok(v1::engine::Protocol::Http1) => Ok(Protocol::Http1),
            Ok(v1::engine::Protocol::H2c) => Ok(Protocol::H2c),
            Err(_) => Err(unknown("/protocol", w.protocol)),
        };
        let health = match v1::engine::Health::try_from(w.health) {
            Ok(v1::engine::Health::NoCheck) => Ok(Health::None),
            Err(_) => Err(unknown("/health", w.health)),
        };
        let endpoints: Vec<_> = w
            .endpoints
            .into_iter()
            .enumerate()
            .filter_map(|(i, e)| errors.keep(wire_endpoint(e, &format!("/endpoints/{i}"))))
            .collect();
        let parts = (errors.keep(balance), errors.keep(protocol), errors.keep(health));
        let pool = errors.keep(w.pool.unwrap_or_default().try_into());
        match (parts, pool) {
            ((Some(balance), Some(protocol), Some(health)), Some(pool)) if errors.0.is_empty() => {
                checked(Self { endpoints, balance, protocol, pool, health }, "", engine::check)
            }
            _ => Err(errors),
        }
    }
}

fn wire_endpoint(w: v1::Endpoint, prefix: &str) -> Result<Endpoint, Errors> {
    let mut errors = Errors::default();
    let address = at(&mut errors, &format!("{prefix}/address"), w.address.parse());
    let Some(address) = address else { return Err(errors) };
    let slots = (w.slots > 0).then_some(w.slots);
    checked(Endpoint { address, weight: w.weight, slots }, prefix, engine::check_endpoint)
}

impl From<&Pool> for v1::Pool {
    fn from(p: &Pool) -> Self {
        let mode = match p.mode {
            PoolMode::Off => v1::pool::Mode::Off,
            PoolMode::Strict => v1::pool::Mode::Strict,
            PoolMode::Loose => v1::pool::Mode::Loose,
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
        let value = Self {
            mode,
            slots: (w.slots > 0).then_some(w.slots),
            loose_factor: w.loose_factor,
            queue: w.queue,
            queue_timeout: Millis::new(w.queue_timeout_ms),
            dial_timeout: Millis::new(w.dial_timeout_ms),
            idle_timeout: Millis::new(w.idle_timeout_ms),
            cancel_cooldown: Millis::new(w.cancel_cooldown_ms),
        };
        checked(value, "/pool", engine::check_pool)
    }
}

impl From<&Route> for v1::Route {
    fn from(r: &Route) -> Self {
        let m = &r.matches;
        let target = match (&m.grpc, &m.path) {
            (Some(g), _) => Some(v1::r#match::Target::Grpc(g.to_string())),
            (None, Some(p)) => Some(v1::r#match::Target::Path(p.to_string())),
            (None, None) => None,
        };
        let matches = v1::Match {
            listener: m.listener.as_ref().map(ToString::to_string).unwrap_or_default(),
            host: m.host.as_ref().map(ToString::to_string).unwrap_or_default(),
            target,
            methods: m.methods.iter().map(ToString::to_string).collect(),
        };
        Self {
            r#match: Some(matches),
            engine: r.engine.to_string(),
            priority: r.priority,
            timeout_ms: r.timeout.map_or(0, Millis::as_ms),
        }
    }
}

impl TryFrom<v1::Route> for Route {
    type Error = Errors;

    fn try_from(w: v1::Route) -> Result<Self, Errors> {
        let mut errors = Errors::default();
        let matches = errors.keep(wire_match(w.r#match.unwrap_or_default()));
        let engine = at(&mut errors, "/engine", w.engine.parse());
        let timeout = (w.timeout_ms > 0).then(|| Millis::new(w.timeout_ms));
        match (matches, engine) {
            (Some(matches), Some(engine)) => {
                Ok(Self { matches, engine, priority: w.priority, timeout })
            }
            _ => Err(errors),
        }
    }
}

fn wire_match(w: v1::Match) -> Result<Match, Errors> {
    let mut errors = Errors::default();
    let e = &mut errors;
    let some = |s: String| (!s.is_empty()).then_some(s);
    let mut value = Match {
        listener: some(w.listener).and_then(|s| at(e, "/match/listener", s.parse())),
        host: some(w.host).and_then(|s| at(e, "/match/host", s.parse())),
        ..Match::default()
    };
    match w.target {
        Some(v1::r#match::Target::Grpc(s)) => value.grpc = at(e, "/match/grpc", s.parse()),
        Some(v1::r#match::Target::Path(s)) => value.path = at(e, "/match/path", s.parse()),
        None => {}
    }
    value.methods = w.methods.iter().filter_map(|m| at(e, "/match/methods", m.parse())).collect();
    errors.into_result()?;
    checked(value, "/match", matching::check)
}

#[cfg(test)]
mod tests {
    use super::super::document;
    use super::*;

    #[test]
    fn every_field_survives_the_wire() {
        let text = r#"
kind: listener
name: l
spec: {address: "[::1]:9", max_connections: 7, max_concurrent_streams: 8, max_header_bytes: 9000, header_timeout: 3s}
---
kind: engine
name: e
spec:
  endpoints: [{address: "a:1", weight: 3, slots: 4}, {address: "b:2"}]
  balance: random
  protocol: h2c
  health: none
  pool: {mode: loose, slots: 9, loose_factor: 2, queue: 5, queue_timeout: 1ms, dial_timeout: 2ms, idle_timeout: 3ms, cancel_cooldown: 4ms}
---
kind: route
name: g
spec: {match: {listener: l, host: "*.x.y", grpc: a.B/C}, engine: e, priority: -4, timeout: 5s}
---
kind: route
name: h
spec: {match: {path: "/p*", methods: [PUT, GET]}, engine: e}
"#;
        for object in document::parse(text).expect("documents") {
            let bytes = object.spec.encode();
            assert_eq!(Spec::decode(object.key.kind, &bytes), Ok(object.spec));
        }
    }

    #[test]
    fn a_value_of_a_newer_version_is_refused_by_name() {
        let bytes =
            v1::Engine { balance: 99, pool: Some((&Pool::default()).into()), ..Default::default() }
                .encode_to_vec();
        let e = Spec::decode(Kind::Engine, &bytes).expect_err("must be refused");
        assert_eq!(
            (e.0[0].pointer.as_str(), e.0[0].code.as_str()),
            ("/spec/balance", code::CANNOT_USE)
        );
        assert!(Spec::decode(Kind::Route, b"\xff\xff").is_err());
    }
}
