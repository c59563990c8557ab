//! What a run is to do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::SERVICE;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// gRPC: one message, one answer.
    Unary,
    /// gRPC: one message, many answers.
    Server,
    /// gRPC: many messages, one answer.
    Client,
    /// gRPC: every message is answered.
    Bidi,
    /// HTTP/2 without gRPC.
    H2,
    /// HTTP/1.1 with keep-alive.
    Http1,
}

impl Kind {
    /// The path of its requests.
    pub fn path(self) -> String {
        let method = match self {
            Self::Unary => "Unary",
            Self::Server => "Server",
            Self::Client => "Client",
            Self::Bidi => "Bidi",
            Self::H2 | Self::Http1 => return "/echo".to_owned(),
        };
        format!("{SERVICE}{method}")
    }

    /// Whether messages are counted rather than calls.
    pub fn counts_messages(self) -> bool {
        matches!(self, Self::Server | Self::Client | Self::Bidi)
    }
}

/// How long a run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// `warm` without measuring, then `measured`.
    Time {
        /// Before measuring.
        warm: Duration,
        /// Measured.
        measured: Duration,
    },
    /// So many calls, all measured.
    Calls(u64),
    /// Opens everything (one message each on the streams of `Bidi` calls, nothing else for other kinds),
    /// and looks at the memory of the watched process.
    Idle,
}

/// TLS with the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Who signs its certificate, PEM.
    pub ca: PathBuf,
    /// The name that its certificate is for.
    pub name: String,
    /// Whether connections after the first resume its session.
    pub resume: bool,
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Where the calls go.
    pub target: SocketAddr,
    /// Their kind.
    pub kind: Kind,
    /// Connections.
    pub connections: usize,
    /// Calls at once on each; 1 in HTTP/1.1.
    pub streams: usize,
    /// Bytes of a message or body.
    pub size: usize,
    /// Messages of a streaming call (of `Server` calls: what the engine is set to); 0: until the end.
    pub messages: u64,
    /// Messages under way at once on a bidirectional stream.
    pub in_flight: u64,
    /// Calls per second over all connections (open loop); None: the next begins when one ends.
    pub rate: Option<f64>,
    /// How long.
    pub extent: Extent,
    /// More header fields.
    pub metadata: Vec<(String, String)>,
    /// Whether each call has a deadline of its own in its head.
    pub timeout: bool,
    /// Whether each message is written at once; else with everything of the same turn.
    pub flush_each: bool,
    /// Whether every call has a connection of its own.
    pub fresh: bool,
    /// None: in the clear.
    pub tls: Option<Tls>,
    /// The process whose CPU time and memory are read at the beginning and the end.
    pub watch: Option<u32>,
}

impl Plan {
    /// A closed loop of unary calls for one second.
    pub fn new(target: SocketAddr, kind: Kind) -> Self {
        Self {
            target,
            kind,
            connections: 1,
            streams: 1,
            size: 16,
            messages: if kind == Kind::Bidi { 0 } else { 10 },
            in_flight: 1,
            rate: None,
            extent: Extent::Time { warm: Duration::ZERO, measured: Duration::from_secs(1) },
            metadata: Vec::new(),
            timeout: false,
            flush_each: false,
            fresh: false,
            tls: None,
            watch: None,
        }
    }

    /// The same as arguments of `pigeon-bench load`.
    pub fn to_args(&self) -> Vec<String> {
        let kind = match self.kind {
            Kind::Unary => "unary",
            Kind::Server => "server",
            Kind::Client => "client",
            Kind::Bidi => "bidi",
            Kind::H2 => "h2",
            Kind::Http1 => "http1",
        };
        let mut args = vec![
            format!("--target={}", self.target),
            format!("--kind={kind}"),
            format!("--connections={}", self.connections),
            format!("--streams={}", self.streams),
            format!("--size={}", self.size),
            format!("--messages={}", self.messages),
            format!("--in-flight={}", self.in_flight),
        ];
        match self.extent {
            Extent::Idle => args.push("--idle".to_owned()),
            Extent::Calls(calls) => args.push(format!("--calls={calls}")),
            Extent::Time { warm, measured } => {
                args.push(format!("--warm={}us", warm.as_micros()));
                args.push(format!("--duration={}us", measured.as_micros()));
            }
        }
        args.extend(self.rate.map(|rate| format!("--rate={rate}")));
        args.extend(self.watch.map(|pid| format!("--watch={pid}")));
        args.extend(self.metadata.iter().map(|(name, value)| format!("--metadata={name}={value}")));
        args.extend(self.timeout.then(|| "--timeout".to_owned()));
        args.extend(self.flush_each.then(|| "--flush-each".to_owned()));
        args.extend(self.fresh.then(|| "--fresh".to_owned()));
        if let Some(tls) = &self.tls {
            args.push(format!("--tls-ca={}", tls.ca.display()));
            args.push(format!("--tls-name={}", tls.name));
            args.extend(tls.resume.then(|| "--tls-resume".to_owned()));
        }
        args
    }

    /// The header fields of every request, as a gRPC client in Go has them.
    pub fn fields(&self) -> Vec<(String, String)> {
        let grpc = !matches!(self.kind, Kind::H2 | Kind::Http1);
        let path = self.kind.path();
        let authority = self.target.to_string();
        let length = self.size.to_string();
        let mut fields = vec![
            (":method", "POST"),
            (":scheme", if self.tls.is_some() { "https" } else { "http" }),
            (":path", path.as_str()),
            (":authority", authority.as_str()),
        ];
        if grpc {
            fields.push(("content-type", "application/grpc"));
            fields.push(("user-agent", "grpc-go/1.78.0"));
            fields.push(("te", "trailers"));
        } else {
            fields.push(("user-agent", "pigeon-bench"));
            fields.push(("content-length", length.as_str()));
        }
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let more = self.metadata.iter().cloned();
        fields.into_iter().map(own).chain(more).collect()
    }
}
