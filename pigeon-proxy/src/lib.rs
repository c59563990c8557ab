//! The data plane: takes calls on its listeners, gives each a slot on an endpoint, and carries it there.
//!
//! A call: `listen → gateway → table → admit → engine → relay | http | tcp → record`. A change of the configuration:
//! `config (stream | file | last known good) → apply → gateway and listeners → ack`. Start at [`app`].

pub mod admit;
pub mod app;
pub mod args;
pub mod config;
pub mod engine;
pub mod filter;
pub mod gateway;
pub mod grpc;
pub mod guard;
pub mod h2;
pub mod health;
pub mod http;
pub mod http1;
pub mod jwks;
pub mod limit;
pub mod listen;
pub mod logs;
mod memory;
pub mod metrics;
pub mod record;
pub mod reflection;
pub mod reject;
pub(crate) mod relay;
pub mod reload;
pub mod retry;
pub mod service;
pub mod status;
pub mod table;
pub mod takeover;
mod tcp;
pub mod tls;
pub mod traces;
pub mod transcode;
pub mod worker;
