//! Pigeon beside its peers: an echo engine, a load generator, a TCP splicer as the floor, and the comparison.
//!
//! `cargo run --release -p pigeon-bench -- compare` is the whole of it; see bench/README.md. Linux only:
//! CPU times are read from /proc.

pub mod args;
pub mod compare;
pub mod engine;
pub mod files;
pub mod load;
pub mod process;
pub mod splice;
pub mod subscribers;
pub mod wire;
