//! Pigeon's control plane: keeps the configuration, answers REST, streams the configuration to the proxies.
//!
//! A change goes REST [`api`] → [`catalog`] → [`store`] → [`publisher`] → [`stream`]; what proxies answer is
//! kept in [`proxies`]. [`app`] wires it all and is where the program, `pigeon-ctl dev` and tests start it.

pub mod access;
pub mod api;
pub mod app;
pub mod args;
pub mod catalog;
pub mod data_dir;
pub mod metrics;
pub mod offline;
pub mod proxies;
pub mod publisher;
pub mod serve;
pub mod store;
pub mod stream;
pub mod tls;
pub mod token;
pub mod ui;
