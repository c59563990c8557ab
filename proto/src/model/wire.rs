//! The wire form of specs: what `Put.spec` of the config stream carries.

use bytes::Bytes;
use deserr::ValuePointerRef;
use prost::Message;

use super::error::{BadValue, Contradiction, Errors, FieldError};
use super::{
    Engine, Kind, Listener, ListenerProtocol, Millis, Route, Spec, Tenant, code, listener,
};
use crate::v1;

mod cors;
mod engine;
mod identity;
mod own;
mod pool;
mod route;
mod tls;

impl Spec {
    /// The wire form.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Listener(l) => v1::Listener::from(l).encode_to_vec(),
            Self::Engine(e) => v1::Engine::from(e).encode_to_vec(),
            Self::Route(r) => v1::Route::from(r).encode_to_vec(),
            Self::Tenant(t) => v1::Tenant::from(t).encode_to_vec(),
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
            Kind::Tenant => {
                Tenant::try_from(v1::Tenant::decode(bytes).map_err(malformed)?).map(Self::Tenant)
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

/// 0 for what is not set; for numbers that cannot be 0 themselves.
fn some(n: u32) -> Option<u32> {
    (n > 0).then_some(n)
}

fn some_text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn some_time(ms: u64) -> Option<Millis> {
    (ms > 0).then(|| Millis::new(ms))
}

fn time_or_zero(time: Option<Millis>) -> u64 {
    time.map_or(0, Millis::as_ms)
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
        let protocol = match l.protocol {
            ListenerProtocol::Auto => v1::listener::Protocol::Auto,
            ListenerProtocol::Tcp => v1::listener::Protocol::Tcp,
        };
        Self {
            address: l.address.to_string(),
            max_connections: l.max_connections,
            max_connections_per_source: l.max_connections_per_source.unwrap_or(0),
            max_streams_per_source: l.max_streams_per_source.unwrap_or(0),
            max_concurrent_streams: l.max_concurrent_streams,
            max_header_bytes: l.max_header_bytes,
            header_timeout_ms: l.header_timeout.as_ms(),
            protocol: protocol.into(),
            idle_timeout_ms: l.idle_timeout.map(Millis::as_ms),
            max_lifetime_ms: time_or_zero(l.max_lifetime),
            h2c_upgrade: l.h2c_upgrade,
            tls: l.tls.as_ref().map(Into::into),
            jwt: l.jwt.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Listener> for Listener {
    type Error = Errors;

    fn try_from(w: v1::Listener) -> Result<Self, Errors> {
        let mut errors = Errors::default();
        let address = at(&mut errors, "/address", w.address.parse());
        let protocol = errors.keep(match v1::listener::Protocol::try_from(w.protocol) {
            Ok(v1::listener::Protocol::Auto) => Ok(ListenerProtocol::Auto),
            Ok(v1::listener::Protocol::Tcp) => Ok(ListenerProtocol::Tcp),
            Err(_) => Err(unknown("/protocol", w.protocol)),
        });
        let tls = errors.keep(w.tls.map(tls::wire_listener_tls).transpose());
        let jwt = w.jwt.into_iter().enumerate();
        let jwt = jwt.filter_map(|(i, j)| errors.keep(identity::jwt(j, &format!("/jwt/{i}"))));
        let jwt = jwt.collect();
        let (Some(address), Some(protocol), Some(tls), true) =
            (address, protocol, tls, errors.0.is_empty())
        else {
            return Err(errors);
        };
        let value = Self {
            address,
            protocol,
            max_connections: w.max_connections,
            max_connections_per_source: some(w.max_connections_per_source),
            max_streams_per_source: some(w.max_streams_per_source),
            max_concurrent_streams: w.max_concurrent_streams,
            max_header_bytes: w.max_header_bytes,
            header_timeout: Millis::new(w.header_timeout_ms),
            idle_timeout: w.idle_timeout_ms.map(Millis::new),
            max_lifetime: some_time(w.max_lifetime_ms),
            h2c_upgrade: w.h2c_upgrade,
            tls,
            jwt,
        };
        checked(value, "", listener::check)
    }
}

#[cfg(test)]
mod tests;
