//! Calls through a gateway with real sockets, to real engines and to ones that misbehave on purpose.

// clippy's `allow-unwrap-in-tests` does not reach what tests share.
#![allow(clippy::unwrap_used, missing_docs)]

/// Each test once over the frame relay and once over hyper: what a caller sees is the same.
macro_rules! on_both_paths {
    ($($test:ident),+ $(,)?) => {
        mod relay {
            $(#[tokio::test] async fn $test() { super::$test(super::Path::Relay).await; })+
        }
        mod hyper {
            $(#[tokio::test] async fn $test() { super::$test(super::Path::Hyper).await; })+
        }
    };
}

#[path = "calls/support.rs"]
mod support;
#[path = "calls/told.rs"]
mod told;
#[path = "calls/wire.rs"]
mod wire;

#[path = "calls/bodies.rs"]
mod bodies;
#[path = "calls/changes.rs"]
mod changes;
#[path = "calls/edits.rs"]
mod edits;
#[path = "calls/faults.rs"]
mod faults;
#[path = "calls/grpc.rs"]
mod grpc;
#[path = "calls/h2c.rs"]
mod h2c;
#[path = "calls/health.rs"]
mod health;
#[path = "calls/identity.rs"]
mod identity;
#[path = "calls/json.rs"]
mod json;
#[path = "calls/limits.rs"]
mod limits;
#[path = "calls/own.rs"]
mod own;
#[path = "calls/plain_http.rs"]
mod plain_http;
#[path = "calls/pools.rs"]
mod pools;
#[path = "calls/retries.rs"]
mod retries;
#[path = "calls/seeing.rs"]
mod seeing;
#[path = "calls/shadow.rs"]
mod shadow;
#[path = "calls/shortage.rs"]
mod shortage;
#[path = "calls/slots.rs"]
mod slots;
#[path = "calls/smuggling.rs"]
mod smuggling;
#[path = "calls/tcp.rs"]
mod tcp;
#[path = "calls/tls.rs"]
mod tls;
#[cfg(feature = "otlp")]
#[path = "calls/tokens.rs"]
mod tokens;
#[path = "calls/traces.rs"]
mod traces;
#[path = "calls/unreachable.rs"]
mod unreachable;
#[path = "calls/upgrades.rs"]
mod upgrades;
#[path = "calls/web.rs"]
mod web;
