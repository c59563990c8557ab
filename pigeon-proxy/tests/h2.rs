//! The HTTP/2 core against the rules of RFC 9113, against an implementation nobody here wrote, and against itself.

// clippy's `allow-unwrap-in-tests` does not reach what tests share.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "h2/support.rs"]
mod support;

#[path = "h2/flow.rs"]
mod flow;
#[path = "h2/guards.rs"]
mod guards;
#[path = "h2/interop.rs"]
mod interop;
#[path = "h2/memory.rs"]
mod memory;
#[path = "h2/rules.rs"]
mod rules;
#[path = "h2/simulation.rs"]
mod simulation;
#[path = "h2/streams.rs"]
mod streams;
