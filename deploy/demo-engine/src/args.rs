//! The command line of `pigeon-demo-engine`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use pigeon_demo_engine::Config;

/// A demo engine for Pigeon: speech, chat and echo over gRPC, with faults on request.
#[derive(Debug, Parser)]
#[command(name = "pigeon-demo-engine", version)]
pub(crate) struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// What the engine calls itself in its answers.
    #[arg(long, default_value = "demo-1")]
    name: String,

    /// Wait this long before every answer.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "0s")]
    delay: Duration,

    /// Admit this many calls at a time and fail those above it [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    slots: Option<u32>,
}

impl From<Args> for Config {
    fn from(args: Args) -> Self {
        let Args { listen, name, delay, slots } = args;
        Self { name, listen, delay, slots }
    }
}
