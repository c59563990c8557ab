//! The data plane: takes calls on its listeners, gives each a slot on an endpoint, and carries it there.
//!
//! A call: `listen → gateway → table → admit → engine → http → record`. A change of the configuration:
//! `config (stream | file | last known good) → apply → gateway and listeners → ack`. Start at [`app`].

pub mod admit;
pub mod app;
pub mod args;
pub mod config;
pub mod engine;
pub mod gateway;
pub mod health;
pub mod http;
pub mod listen;
pub mod metrics;
pub mod record;
pub mod reject;
pub mod status;
pub mod table;
pub mod worker;
