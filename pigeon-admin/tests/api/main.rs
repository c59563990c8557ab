//! The REST API over real sockets: what docs/rest.md promises, call by call, and every bad input.

mod applied;
mod apply;
mod audit;
mod auth;
mod bad_input;
mod endpoints;
mod objects;
mod ops;
mod owners;
mod proxy;
mod reads;
mod server;
mod stream;
mod tenants;
mod tls;
mod tokens;
