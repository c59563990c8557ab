//! Listeners: where the proxies accept calls.

use deserr::Deserr;
use serde::Serialize;

use super::code;
use super::error::{Contradiction, Errors};
use super::text::{BindAddress, Millis};

/// An address the proxies listen on: HTTP/1.1 and cleartext HTTP/2 on one port.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Listener {
    /// IP:port; `pigeon-proxy --bind NAME=ADDR` moves it for one proxy.
    pub address: BindAddress,
    /// Connections at once, per proxy; more are closed at once (default 10000).
    #[deserr(default = 10_000)]
    pub max_connections: u32,
    /// Calls at once on one HTTP/2 connection (default 1000).
    #[deserr(default = 1_000)]
    pub max_concurrent_streams: u32,
    /// All header fields of one request together, in bytes (default 65536).
    #[deserr(default = 65_536)]
    pub max_header_bytes: u32,
    /// Longest time from the start of a request to the end of its head (default 10s).
    #[deserr(default = Millis::new(10_000))]
    pub header_timeout: Millis,
}

impl Listener {
    /// The listener that exists from the first start.
    pub fn standard() -> Self {
        Self {
            address: BindAddress(([127, 0, 0, 1], 8080).into()),
            max_connections: 10_000,
            max_concurrent_streams: 1_000,
            max_header_bytes: 65_536,
            header_timeout: Millis::new(10_000),
        }
    }
}

pub(super) fn check(l: Listener, _: deserr::ValuePointerRef) -> Result<Listener, Contradiction> {
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
    Ok(l)
}
