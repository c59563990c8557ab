//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::compare;
use crate::compare::certificates::NAME;
use crate::compare::peer::{PEERS, Peer};
use crate::compare::scale::{self, CURVES, Curve};
use crate::compare::scenario::{SCENARIOS, Scenario};
use crate::engine::{Delay, Settings};
use crate::load::{Extent, Kind, Plan, Tls};

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
    /// Measure Pigeon beside HAProxy, nginx, Envoy, Caddy, a splicer and no proxy at all
    Compare(CompareArgs),
    /// Measure how cost grows with connections, streams, message size, routes, endpoints, workers, subscribers
    Scale(ScaleArgs),
    /// Change routes of an admin many times a second, and see that every subscriber ends with the same state
    Churn(ChurnArgs),
    /// Pass bytes on to an engine without reading them, as the floor of what a proxy can cost
    Splice(SpliceArgs),
}

/// Of `engine`.
#[derive(Args, Debug)]
pub struct EngineArgs {
    /// Address to listen on; port 0 takes a free one, which the first line of the output tells
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Listen on so many addresses: this one and those that follow it, with the same port
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub addresses: u32,
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
    /// Speak TLS 1.3 with this certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
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
            tls: self.tls_certificate.clone().zip(self.tls_key.clone()),
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
    /// A connection of its own for every call, the time of which counts from when it is opened
    #[arg(long, conflicts_with_all = ["rate", "idle"])]
    pub fresh: bool,
    /// Speak TLS 1.3, and trust who is signed by this (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// The name that the target's certificate is for
    #[arg(long, value_name = "NAME", default_value = NAME, requires = "tls_ca")]
    pub tls_name: String,
    /// Come back with the session of the connection before
    #[arg(long, requires = "tls_ca")]
    pub tls_resume: bool,
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
            fresh: self.fresh,
            tls: self.tls_ca.clone().map(|ca| Tls {
                ca,
                name: self.tls_name.clone(),
                resume: self.tls_resume,
            }),
            watch: self.watch,
        }
    }
}

/// Of `compare`.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// Which work [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = Scenario::find)]
    pub scenario: Vec<&'static Scenario>,
    /// Beside whom [default: all]
    #[arg(long, value_delimiter = ',')]
    pub peers: Vec<Peer>,
    /// How often each is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..1000))]
    pub rounds: u32,
    /// How long each time
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Calls per second of the latency scenario [default: half of what HAProxy manages]
    #[arg(long)]
    pub rate: Option<f64>,
    /// The proxy under test
    #[arg(long, default_value = "target/release/pigeon-proxy")]
    pub pigeon: PathBuf,
    /// Core of the proxy, and core of load and engine
    #[arg(long, value_name = "PROXY,LOAD", default_value = "0,1", value_parser = cores)]
    pub cores: (usize, usize),
    /// Write every measurement to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a bar chart per scenario into this folder
    #[arg(long, value_name = "FOLDER")]
    pub svg: Option<PathBuf>,
    /// With an access log of every call, written to /dev/null
    #[arg(long)]
    pub logs: bool,
    /// Also show how the ratios have changed since this file was written
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Only the work by TLS, and beside each the same in the clear
    #[arg(long, conflicts_with = "scenario")]
    pub tls: bool,
    /// First install the peers that are missing (Debian, as root)
    #[arg(long)]
    pub install: bool,
}

impl CompareArgs {
    /// What to compare.
    pub fn settings(self) -> compare::Settings {
        let several = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        let all = |chosen: Vec<Peer>| {
            if chosen.is_empty() { PEERS.to_vec() } else { chosen }
        };
        compare::Settings {
            scenarios: match self.scenario {
                chosen if !chosen.is_empty() => chosen,
                _ if self.tls => Scenario::with_tls(),
                _ => SCENARIOS.iter().collect(),
            },
            peers: all(self.peers),
            rounds: self.rounds,
            seconds: self.seconds.clamp(0.1, 3600.0),
            rate: self.rate.filter(|rate| *rate > 0.0),
            pigeon: self.pigeon,
            cores: several.then_some(self.cores),
            json: self.json,
            svg: self.svg,
            against: self.against,
            install: self.install,
            logs: self.logs,
        }
    }
}

/// Of `churn`.
#[derive(Args, Debug)]
pub struct ChurnArgs {
    /// Simulated proxies
    #[arg(long, default_value_t = 1_000)]
    pub subscribers: u32,
    /// Routes of the admin
    #[arg(long, default_value_t = 10_000)]
    pub routes: u32,
    /// Changes a second
    #[arg(long, default_value_t = 100)]
    pub rate: u32,
    /// For how long
    #[arg(long, default_value_t = 60)]
    pub seconds: u32,
    /// The admin under test
    #[arg(long, default_value = "target/release/pigeon-admin")]
    pub admin: PathBuf,
}

/// Of `scale`.
#[derive(Args, Debug)]
pub struct ScaleArgs {
    /// Which curves [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = Curve::find)]
    pub curve: Vec<&'static Curve>,
    /// Leave out points above this
    #[arg(long, value_name = "N")]
    pub most: Option<u64>,
    /// How long each time
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// The proxy under test
    #[arg(long, default_value = "target/release/pigeon-proxy")]
    pub pigeon: PathBuf,
    /// The admin under test
    #[arg(long, default_value = "target/release/pigeon-admin")]
    pub admin: PathBuf,
    /// Routes of the admin that has subscribers
    #[arg(long, default_value_t = 10_000)]
    pub routes: u32,
    /// Changes that its subscribers are told of
    #[arg(long, default_value_t = 100)]
    pub changes: u32,
    /// Core of the proxy, and core of load and engine
    #[arg(long, value_name = "PROXY,LOAD", default_value = "0,1", value_parser = cores)]
    pub cores: (usize, usize),
    /// Write every measurement to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a plot per curve into this folder
    #[arg(long, value_name = "FOLDER")]
    pub svg: Option<PathBuf>,
}

impl ScaleArgs {
    /// What to measure.
    pub fn settings(self) -> scale::Settings {
        let several = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        scale::Settings {
            curves: if self.curve.is_empty() { CURVES.iter().collect() } else { self.curve },
            most: self.most.unwrap_or(u64::MAX),
            seconds: self.seconds.clamp(0.1, 3600.0),
            pigeon: self.pigeon,
            admin: self.admin,
            routes: self.routes,
            changes: self.changes,
            cores: several.then_some(self.cores),
            json: self.json,
            svg: self.svg,
        }
    }
}

fn cores(text: &str) -> Result<(usize, usize), String> {
    let pair = text.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    pair.ok_or("write it like 0,1".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it like x-tenant=acme")?;
    if name.is_empty() || name.bytes().any(|b| b.is_ascii_uppercase() || b <= b' ') {
        return Err(format!("\"{}\" is no lower-case header name", name.escape_debug()));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The comparison starts the load generator by its command line.
    #[test]
    fn a_plan_comes_back_from_its_arguments() {
        let tls = |resume| Tls { ca: "/a b/ca.pem".into(), name: "x".to_owned(), resume };
        let base = Plan::new("127.0.0.1:1".parse().expect("address"), Kind::Bidi);
        let plans = [
            Plan { extent: Extent::Idle, watch: Some(7), messages: 0, ..base.clone() },
            Plan { extent: Extent::Calls(9), timeout: true, flush_each: true, ..base.clone() },
            Plan { rate: Some(1234.5), metadata: vec![("a".into(), "b=c".into())], ..base.clone() },
            Plan { tls: Some(tls(true)), fresh: true, ..base.clone() },
            Plan { tls: Some(tls(false)), ..base.clone() },
            Plan { kind: Kind::Http1, size: 0, messages: 3, connections: 4, streams: 5, ..base },
        ];
        for plan in plans {
            let args =
                ["pigeon-bench", "load"].map(str::to_owned).into_iter().chain(plan.to_args());
            let Command::Load(args) = Cli::parse_from(args).command else { panic!("not load") };
            assert_eq!(args.plan(), plan);
        }
    }

    #[test]
    fn scenarios_are_found_or_named() {
        let parse = |name| Cli::try_parse_from(["pigeon-bench", "compare", "--scenario", name]);
        assert!(parse("8x16,http1").is_ok());
        assert!(parse("9x9").expect_err("none").to_string().contains("100x10"));
    }
}
