//! The transport on hyper: HTTP/1.1 and HTTP/2, on both sides. It reads heads, waits, and
//! moves bytes; what happens to a call is decided by `table`, `admit`, `engine` and `reject`.
//!
//! A call: `call` → `head` → table → `attempts` (`admission` → `upstream` → `leg`) → `relay` → record.

mod admission;
mod answer;
mod attempts;
mod blame;
mod call;
mod caller;
mod connection;
mod dismiss;
mod forward;
mod gate;
mod h2c;
mod head;
mod leg;
mod preface;
mod relay;
mod shadow;
mod transcode;
mod tunnel;
mod upload;
mod upstream;
mod web;

use std::net::IpAddr;
use std::sync::Arc;

use pigeon_proto::model::Name;

pub(crate) use self::admission::Admitting;
pub(crate) use self::call::call;
pub(crate) use self::caller::{BrokenOff, CallerBody};
pub(crate) use self::connection::{Handshake, secured, serve};
pub(crate) use self::leg::rest;
pub(crate) use self::relay::CallBody;
pub(crate) use self::shadow::Chosen;
pub use self::upstream::Upstreams;
pub(crate) use self::upstream::{DialError, Dialled, dial, is_exhausted, keep_alive, unreachable};
pub(crate) use self::web::is_web;
use crate::filter::Certificate;
use crate::gateway::{Gateway, Tally};
use crate::relay::Relay;

/// One client connection, as its calls see it.
pub(crate) struct Client {
    pub(crate) gateway: Arc<Gateway>,
    /// The connections to engines of the worker that serves it.
    pub(crate) upstreams: Arc<Upstreams>,
    /// What carries its calls if it speaks HTTP/2; none if everything takes the general path.
    pub(crate) relay: Option<Arc<Relay>>,
    /// The listener it came in on.
    pub(crate) listener: Name,
    /// Who is at the other end.
    pub(crate) peer: IpAddr,
    /// What is counted of the connection.
    pub(crate) tally: Arc<Tally>,
    /// What it showed when the connection was opened.
    pub(crate) certificate: Option<Arc<Certificate>>,
    /// The connection is by TLS.
    pub(crate) secure: bool,
}

impl Client {
    /// What the caller's URL begins with.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}
