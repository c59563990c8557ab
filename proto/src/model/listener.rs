//! Listeners: where the proxies accept calls.

use std::collections::BTreeSet;

use deserr::Deserr;
use serde::Serialize;

use super::auth::Jwt;
use super::code;
use super::error::{Contradiction, Errors};
use super::text::{BindAddress, Millis, clip};
use super::tls::ListenerTls;

/// An address the proxies listen on: HTTP/1.1 and HTTP/2 on one port, or raw connections.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Listener {
    /// IP:port; `pigeon-proxy --bind NAME=ADDR` moves it for one proxy.
    pub address: BindAddress,
    /// What is spoken (default auto).
    #[deserr(default)]
    pub protocol: ListenerProtocol,
    /// Connections at once, per proxy; more are closed at once (default 10000).
    #[deserr(default = 10_000)]
    pub max_connections: u32,
    /// Connections at once from one address (of IPv6: from one /64), per proxy; more are closed at once
    /// (default: no limit of their own). Behind a load balancer all callers may have one address.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_source: Option<u32>,
    /// Calls at once from one address (of IPv6: from one /64), per proxy, over all of its connections; more
    /// are answered `rate_limited` (default: no limit). Not with `protocol: tcp`.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_streams_per_source: Option<u32>,
    /// Calls at once on one HTTP/2 connection (default 1000).
    #[deserr(default = 1_000)]
    pub max_concurrent_streams: u32,
    /// All header fields of one request together, in bytes (default 65536).
    #[deserr(default = 65_536)]
    pub max_header_bytes: u32,
    /// Longest time from the start of a request to the end of its head (default 10s).
    #[deserr(default = Millis::new(10_000))]
    pub header_timeout: Millis,
    /// With `protocol: tcp` only: a connection on which nothing moves for this long is closed (default 5m). 0s = never.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Millis>,
    /// With `protocol: tcp` only: a connection older than this, or up to 10 % less, is closed. 0s = none (default).
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<Millis>,
    /// Callers in the clear may change from HTTP/1.1 to HTTP/2 (`upgrade: h2c`); else that is ignored (default).
    /// Not behind a proxy that lets callers' `upgrade` pass: it would see no more of what they ask for.
    #[deserr(default)]
    pub h2c_upgrade: bool,
    /// Callers speak TLS; without it they speak in the clear.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Whose tokens (JWT) are believed here; for routes whose `auth` has `jwt`.
    #[deserr(default)]
    pub jwt: Vec<Jwt>,
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(rename_all = lowercase, error = Errors)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ListenerProtocol {
    /// HTTP/1.1 or HTTP/2, by the first bytes of a connection.
    #[default]
    Auto,
    /// Raw bytes: a connection is a call and takes a slot.
    Tcp,
}

/// How long a raw connection may be silent, if nothing is said.
const IDLE_TIMEOUT: Millis = Millis::new(300_000);

impl Listener {
    /// The listener that exists from the first start.
    pub fn standard() -> Self {
        Self {
            address: BindAddress(([127, 0, 0, 1], 8080).into()),
            protocol: ListenerProtocol::Auto,
            max_connections: 10_000,
            max_connections_per_source: None,
            max_streams_per_source: None,
            max_concurrent_streams: 1_000,
            max_header_bytes: 65_536,
            header_timeout: Millis::new(10_000),
            idle_timeout: None,
            max_lifetime: None,
            h2c_upgrade: false,
            tls: None,
            jwt: Vec::new(),
        }
    }
}

pub(super) fn check(
    mut l: Listener,
    _: deserr::ValuePointerRef,
) -> Result<Listener, Contradiction> {
    let bad = |field, message: &str| Err(Contradiction(field, code::BAD_VALUE, message.into()));
    if l.max_connections == 0 {
        return bad("/max_connections", "is 0; it must be at least 1");
    }
    if l.max_concurrent_streams == 0 {
        return bad("/max_concurrent_streams", "is 0; it must be at least 1");
    }
    // hyper needs 8 KiB to read an HTTP/1.1 head at all.
    if !(8_192..=1_048_576).contains(&l.max_header_bytes) {
        return bad("/max_header_bytes", "must be from 8192 to 1048576 bytes");
    }
    if l.header_timeout.as_ms() == 0 {
        return bad("/header_timeout", "is 0s; it must be at least 1ms");
    }
    l.max_connections_per_source = l.max_connections_per_source.filter(|most| *most > 0);
    l.max_streams_per_source = l.max_streams_per_source.filter(|most| *most > 0);
    if l.protocol == ListenerProtocol::Tcp && l.max_streams_per_source.is_some() {
        let message =
            "is for HTTP; a raw connection is one call: use max_connections_per_source".into();
        return Err(Contradiction("/max_streams_per_source", code::CONFLICTING_FIELDS, message));
    }
    l.max_lifetime = l.max_lifetime.filter(|time| time.as_ms() > 0);
    if l.protocol == ListenerProtocol::Tcp {
        l.idle_timeout.get_or_insert(IDLE_TIMEOUT);
    }
    only_tcp(&l)?;
    if l.h2c_upgrade && (l.protocol == ListenerProtocol::Tcp || l.tls.is_some()) {
        let message = "is for HTTP in the clear; remove it, or tls and protocol: tcp".into();
        return Err(Contradiction("/h2c_upgrade", code::CONFLICTING_FIELDS, message));
    }
    if l.protocol == ListenerProtocol::Tcp && !l.jwt.is_empty() {
        let message = "is not for raw connections, which bring no token; remove it".into();
        return Err(Contradiction("/jwt", code::CONFLICTING_FIELDS, message));
    }
    let mut issuers = BTreeSet::new();
    if let Some(twice) = l.jwt.iter().find(|jwt| !issuers.insert(&jwt.issuer)) {
        let message = format!("has the issuer \"{}\" twice; keep one", clip(&twice.issuer));
        return Err(Contradiction("/jwt", code::CONFLICTING_FIELDS, message));
    }
    Ok(l)
}

/// What only raw connections have.
fn only_tcp(l: &Listener) -> Result<(), Contradiction> {
    let times = [("/idle_timeout", l.idle_timeout), ("/max_lifetime", l.max_lifetime)];
    let set = times.into_iter().find(|(_, time)| time.is_some());
    match set.filter(|_| l.protocol == ListenerProtocol::Auto) {
        Some((field, _)) => {
            let message = "is for raw connections; remove it, or set protocol: tcp".into();
            Err(Contradiction(field, code::CONFLICTING_FIELDS, message))
        }
        None => Ok(()),
    }
}
