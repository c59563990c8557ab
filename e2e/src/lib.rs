//! The harness of the end-to-end tests: real programs on free ports, and what is needed to drive and
//! watch them. The scenarios are in `tests/scenarios/`, one file each.
//!
//! Nothing here sleeps and hopes: [`until`] asks again and again for a condition, with a deadline.
//! Every process is ended by the handle that started it, at the latest when the handle is dropped;
//! if the test failed, what the process wrote is shown.

pub mod admin;
pub mod authority;
pub mod checks;
pub mod cluster;
pub mod ctl;
pub mod engine;
pub mod frames;
pub mod grpc;
pub mod http;
pub mod limits;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod scripted;
pub mod tools;
pub mod transport;
pub mod wire;

mod waiting;

pub use admin::Admin;
pub use authority::Authority;
pub use cluster::Cluster;
pub use ctl::{Ctl, Ran};
pub use engine::Engine;
pub use postgres::Postgres;
pub use process::Process;
pub use proxy::Proxy;
pub use scripted::Scripted;
pub use transport::Transport;
pub use waiting::{until, within};
pub use wire::Wire;
