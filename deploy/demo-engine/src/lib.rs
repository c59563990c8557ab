//! The demo engine: stands in for a real one in `pigeon-ctl dev` and in the end-to-end tests.
//!
//! What it serves and which faults a caller may ask of it is written in `pigeon/demo/v1/demo.proto`.
//! [`bind`] and [`Engine::run`] are apart, so that whoever starts it inside another process knows its
//! address, and can watch its [`Stats`], before it serves.
//!
//! It never enforces a deadline: it answers with the one it was given (`demo-seen-timeout`), and a
//! caller waiting longer than that has found a gateway that does not enforce it either.

mod body;
mod chat;
mod echo;
mod engine;
mod head;
mod routes;
mod script;
mod speech;
mod stats;

use std::net::SocketAddr;
use std::time::Duration;

pub use engine::{Engine, bind};
pub use stats::Stats;

/// How one engine runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it calls itself in its answers; visible ASCII, because it travels as a header.
    pub name: String,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Waited before every answer, on top of what the call asks for.
    pub delay: Duration,
    /// Calls it admits at a time; a call above that fails with `RESOURCE_EXHAUSTED`. No limit if none.
    pub slots: Option<u32>,
}
