//! The scenarios: real programs, one file per story.
//!
//! `cargo test -p pigeon-e2e --test scenarios crash` runs one. Every test starts its own programs on its
//! own ports, so they run beside each other.

// Helpers of tests may panic like the tests themselves.
#![allow(clippy::unwrap_used)]

/// Makes two tests of each story, `relay::story` and `hyper::story`, which get their transport.
macro_rules! over_both_transports {
    ($($story:ident),+ $(,)?) => {
        mod relay {
            $(#[test] fn $story() { super::$story(pigeon_e2e::Transport::Relay); })+
        }
        mod hyper {
            $(#[test] fn $story() { super::$story(pigeon_e2e::Transport::Hyper); })+
        }
    };
}

mod admin_away;
mod admin_tls;
mod attacks;
mod backpressure;
mod bad_config;
mod bad_input;
mod browser;
mod changes;
mod cli;
mod crash;
mod curl;
mod dev;
mod drain;
mod endpoints;
mod engine_killed;
mod examples;
mod grpcurl;
mod h2c;
mod h2spec;
mod health;
mod interop;
mod json;
mod kinds;
mod latency;
mod limits;
mod live;
mod logs;
mod moved_calls;
mod openapi;
mod passing;
mod proxy_killed;
mod raw;
mod retries;
mod route_added;
mod saturation;
mod seeing;
mod several_admins;
mod shares;
mod shortage;
mod silent;
mod status_page;
mod storm;
mod streams;
mod systemd;
mod takeover;
mod tenants;
mod tls;
mod tokens;
mod web;
mod websocket;
mod wrong_engine;
