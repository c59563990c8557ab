//! The wire, as cheap as can be: readiness, sockets, HTTP/2 frames and HPACK of the bench's own.
//!
//! Nothing here is shared with the proxy under test, so that a fault of one cannot hide in the other; but for
//! rustls, of which the peers on OpenSSL know nothing. Load and engine trust each other: what does not fit ends
//! the connection, without the care that a proxy needs.

pub mod frame;
pub mod hpack;
pub mod huffman;
pub mod link;
pub mod messages;
pub mod poll;
pub mod request;
pub mod socket;
pub mod static_table;
pub mod tls;
pub mod waiting;
