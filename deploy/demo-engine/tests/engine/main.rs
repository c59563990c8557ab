//! The demo engine over real sockets: what it answers, its faults, its counts, and how it stops.

// clippy's `allow-unwrap-in-tests` does not reach what tests share.
#![allow(clippy::unwrap_used)]

mod calls;
mod counts;
mod faults;
mod plain_http;
mod program;
mod stop;
mod support;
