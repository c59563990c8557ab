//! Calls through a gateway with real sockets, to real engines and to ones that misbehave on purpose.

// clippy's `allow-unwrap-in-tests` does not reach what tests share.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "calls/support.rs"]
mod support;

#[path = "calls/changes.rs"]
mod changes;
#[path = "calls/faults.rs"]
mod faults;
#[path = "calls/grpc.rs"]
mod grpc;
#[path = "calls/health.rs"]
mod health;
#[path = "calls/plain_http.rs"]
mod plain_http;
#[path = "calls/slots.rs"]
mod slots;
#[path = "calls/unreachable.rs"]
mod unreachable;
