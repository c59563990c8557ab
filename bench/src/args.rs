//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::engine::{Delay, Settings};
use crate::load::{Extent, Kind, Plan};

/// Measures Pigeon beside its peers.
#[derive(Debug, Parser)]
#[command(name = "pigeon-bench", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an echo engine until the end of standard input or a signal
    Engine(EngineArgs),
    /// Send calls, check their answers, and print what was found as JSON
    Load(LoadArgs),
    /// Pass bytes on to an engine without reading them, as the floor of what a proxy can cost
    Splice(SpliceArgs),
}

/// Of `engine`.
#[derive(Args, Debug)]
pub struct EngineArgs {
    /// Address to listen on; port 0 takes a free one, which the first line of the output tells
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// How long an answer takes: none, 10ms, 5ms-20ms or exp:10ms
    #[arg(long, default_value = "none")]
    pub delay: Delay,
    /// Answers of a Server call
    #[arg(long, default_value_t = 10)]
    pub messages: u32,
    /// Calls at once; more are refused with RESOURCE_EXHAUSTED, and counted [default: any number]
    #[arg(long)]
    pub slots: Option<u32>,
    /// SETTINGS_MAX_CONCURRENT_STREAMS to announce [default: none]
    #[arg(long)]
    pub max_streams: Option<u32>,
    /// Bytes of the answer to a request without body
    #[arg(long, default_value_t = 128)]
    pub body: usize,
    /// Write each message at once
    #[arg(long)]
    pub flush_each: bool,
    /// For the delays
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// End when standard input does, so that no engine outlives who started it
    #[arg(long)]
    pub until_stdin_ends: bool,
}

impl EngineArgs {
    /// The settings of the engine.
    pub fn settings(&self) -> Settings {
        Settings {
            delay: self.delay,
            messages: self.messages,
            slots: self.slots,
            max_streams: self.max_streams,
            body: self.body,
            flush_each: self.flush_each,
            seed: self.seed,
        }
    }
}

/// Of `splice`.
#[derive(Args, Debug)]
pub struct SpliceArgs {
    /// Address to listen on; port 0 takes a free one, which the first line of the output tells
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Where the bytes go
    #[arg(long)]
    pub engine: SocketAddr,
    /// End when standard input does
    #[arg(long)]
    pub until_stdin_ends: bool,
}

/// Kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// gRPC, one message each way
    Unary,
    /// gRPC, many answers
    Server,
    /// gRPC, many messages, one answer
    Client,
    /// gRPC, each message is answered
    Bidi,
    /// HTTP/2 without gRPC
    H2,
    /// HTTP/1.1 with keep-alive
    Http1,
}

/// Of `load`.
#[derive(Args, Debug)]
pub struct LoadArgs {
    /// Where the calls go
    #[arg(long)]
    pub target: SocketAddr,
    /// What kind of calls
    #[arg(long, default_value = "unary")]
    pub kind: KindArg,
    /// Connections
    #[arg(long, short = 'c', default_value_t = 8)]
    pub connections: usize,
    /// Calls at once on each connection
    #[arg(long, short = 's', default_value_t = 16)]
    pub streams: usize,
    /// Bytes of a message; 0 with http1: GET
    #[arg(long, default_value_t = 16)]
    pub size: usize,
    /// Messages of a streaming call; for server calls as the engine is set; 0 with bidi: until the end
    #[arg(long, default_value_t = 10)]
    pub messages: u64,
    /// Messages under way at once on a bidi stream
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    pub in_flight: u64,
    /// Calls per second (open loop: latency counts from when a call was due) [default: closed loop]
    #[arg(long)]
    pub rate: Option<f64>,
    /// Time before measuring
    #[arg(long, default_value = "500ms", value_parser = humantime::parse_duration)]
    pub warm: Duration,
    /// Time measured
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// So many calls instead of a time
    #[arg(long, conflicts_with = "rate")]
    pub calls: Option<u64>,
    /// Only open connections (and streams with --kind bidi), and see what memory they take
    #[arg(long, conflicts_with_all = ["rate", "calls"])]
    pub idle: bool,
    /// Another header field; repeat for more
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub metadata: Vec<(String, String)>,
    /// A grpc-timeout of its own for each call
    #[arg(long)]
    pub timeout: bool,
    /// Write each message at once
    #[arg(long)]
    pub flush_each: bool,
    /// Process whose CPU time and memory are read, with all below it
    #[arg(long, value_name = "PID")]
    pub watch: Option<u32>,
}

impl LoadArgs {
    /// What the run is to do.
    pub fn plan(&self) -> Plan {
        let kind = match self.kind {
            KindArg::Unary => Kind::Unary,
            KindArg::Server => Kind::Server,
            KindArg::Client => Kind::Client,
            KindArg::Bidi => Kind::Bidi,
            KindArg::H2 => Kind::H2,
            KindArg::Http1 => Kind::Http1,
        };
        let extent = match self.calls {
            _ if self.idle => Extent::Idle,
            Some(calls) => Extent::Calls(calls),
            None => Extent::Time { warm: self.warm, measured: self.duration },
        };
        Plan {
            target: self.target,
            kind,
            connections: self.connections.max(1),
            streams: self.streams.max(1),
            size: self.size,
            messages: if kind == Kind::Bidi { self.messages } else { self.messages.max(1) },
            in_flight: self.in_flight,
            rate: self.rate.filter(|rate| *rate > 0.0),
            extent,
            metadata: self.metadata.clone(),
            timeout: self.timeout,
            flush_each: self.flush_each,
            watch: self.watch,
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it like x-tenant=acme")?;
    if name.is_empty() || name.bytes().any(|b| b.is_ascii_uppercase() || b <= b' ') {
        return Err(format!("\"{}\" is no lower-case header name", name.escape_debug()));
    }
    Ok((name.to_owned(), value.to_owned()))
}
