//! TLS towards callers and engines, on rustls with one provider of cryptography.
//!
//! [`Inbound`] is a listener's side, [`Outbound`] an engine's. Both hold what is in their files, read these again
//! when they change ([`reload`]), and go on with what they have when the new ones are no good. A connection
//! of the general path is a `Stream`; one of the relay keeps its socket and has a `Session` beside it.

mod certificate;
mod files;
mod held;
mod inbound;
mod names;
mod outbound;
pub mod reload;
mod session;
mod stream;

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, ring};

pub use self::held::{Held, Shown, ShownCertificate};
pub use self::inbound::Inbound;
pub(crate) use self::inbound::identity;
pub use self::outbound::{Outbound, usable};
pub(crate) use self::outbound::{Speaks, dial, is_no_protocol};
pub(crate) use self::reload::Side;
pub(crate) use self::session::{Got, Session};
pub(crate) use self::stream::Stream;

/// What HTTP/2 and HTTP/1.1 are called in ALPN.
const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// The one provider of cryptography.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(ring::default_provider()));
    Arc::clone(&PROVIDER)
}
