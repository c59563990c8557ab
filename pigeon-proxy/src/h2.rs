//! HTTP/2 without I/O (RFC 9113): bytes in, events out; calls in, bytes out. It knows nothing of sockets, timers,
//! routes or gRPC.
//!
//! A caller reads bytes, calls [`Connection::next`] until it returns nothing, answers events by the sending
//! methods, and writes what [`Connection::out`] holds. Start at [`connection`].

pub mod connection;
pub mod encoded;
pub mod error;
pub mod fields;
pub mod flow;
pub mod frame;
pub mod guard;
pub mod head;
pub mod hpack;
pub mod output;
pub mod streams;

pub use connection::{Config, Connection, Event, Role};
pub use encoded::Encoded;
pub use error::Error;
pub use fields::{Fields, Indexing};
pub use hpack::{DecodeError, Decoder, Encoder};
pub use output::Output;
pub use streams::Key;
