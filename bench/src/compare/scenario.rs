//! The kinds of work that are compared: the rows of the speed targets.

use std::time::Duration;

use crate::load::{Extent, Kind, Plan};

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// CPU time of the proxy per call or message, microseconds.
    Cpu,
    /// Memory of the proxy per connection or stream, KiB.
    Memory,
    /// The 99th percentile at a fixed rate, microseconds.
    Latency,
}

impl Measure {
    /// Its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "CPU us",
            Self::Memory => "KiB",
            Self::Latency => "p99 us",
        }
    }
}

/// A kind of work.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// As given on the command line.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// What counts.
    pub measure: Measure,
    pub(super) kind: Kind,
    pub(super) connections: usize,
    pub(super) streams: usize,
    pub(super) size: usize,
    pub(super) in_flight: u64,
}

const fn unary(
    name: &'static str,
    about: &'static str,
    connections: usize,
    streams: usize,
) -> Scenario {
    let (measure, kind) = (Measure::Cpu, Kind::Unary);
    Scenario { name, about, measure, kind, connections, streams, size: 16, in_flight: 1 }
}

const fn stream(
    name: &'static str,
    about: &'static str,
    n: usize,
    size: usize,
    f: u64,
) -> Scenario {
    let (measure, kind, connections, streams) = (Measure::Cpu, Kind::Bidi, n, n);
    Scenario { name, about, measure, kind, connections, streams, size, in_flight: f }
}

/// All of them.
pub const SCENARIOS: [Scenario; 12] = [
    unary("8x16", "gRPC unary, 16 B, 8 connections x 16 streams", 8, 16),
    unary("100x10", "gRPC unary, 16 B, 100 connections x 10 streams", 100, 10),
    unary("1x100", "gRPC unary, 16 B, 1 connection x 100 streams", 1, 100),
    unary("50x1", "gRPC unary, 16 B, 50 connections x 1 stream", 50, 1),
    stream("stream-1k", "gRPC bidi, 1 KiB messages, 8 x 8 streams, 8 under way each", 8, 1024, 8),
    stream("stream-3k", "gRPC bidi, 3.2 KiB messages, 8 x 8 streams, 8 under way each", 8, 3277, 8),
    stream(
        "stream-64k",
        "gRPC bidi, 64 KiB messages, 4 x 4 streams, 4 under way each",
        4,
        65_536,
        4,
    ),
    Scenario {
        name: "idle-connections",
        about: "memory of an idle HTTP/2 connection (2000 of them)",
        measure: Measure::Memory,
        kind: Kind::Unary,
        connections: 2000,
        streams: 1,
        size: 16,
        in_flight: 1,
    },
    Scenario {
        name: "idle-streams",
        about: "memory of an open idle stream after 1 KiB each way (100 x 100 of them)",
        measure: Measure::Memory,
        kind: Kind::Bidi,
        connections: 100,
        streams: 100,
        size: 1024,
        in_flight: 1,
    },
    Scenario {
        name: "http1",
        about: "HTTP/1.1 GET, keep-alive, 128 B answer, 64 connections",
        measure: Measure::Cpu,
        kind: Kind::Http1,
        connections: 64,
        streams: 1,
        size: 0,
        in_flight: 1,
    },
    Scenario {
        name: "latency",
        about: "gRPC unary, 16 B, 8 x 16, open loop at half of what HAProxy manages",
        measure: Measure::Latency,
        kind: Kind::Unary,
        connections: 8,
        streams: 16,
        size: 16,
        in_flight: 1,
    },
    Scenario {
        name: "h2",
        about: "HTTP/2 without gRPC, 1 KiB body each way, 8 x 16",
        measure: Measure::Cpu,
        kind: Kind::H2,
        connections: 8,
        streams: 16,
        size: 1024,
        in_flight: 1,
    },
];

impl Scenario {
    /// The one of that name.
    ///
    /// # Errors
    /// When there is none; says which there are.
    pub fn find(name: &str) -> Result<&'static Self, String> {
        SCENARIOS.iter().find(|s| s.name == name).ok_or_else(|| {
            let names: Vec<_> = SCENARIOS.iter().map(|s| s.name).collect();
            format!("\"{name}\" is no scenario; there are {}", names.join(", "))
        })
    }

    /// Whether it is HTTP/1.1.
    pub fn is_http1(&self) -> bool {
        self.kind == Kind::Http1
    }

    /// Whether it is gRPC.
    pub fn is_grpc(&self) -> bool {
        !matches!(self.kind, Kind::H2 | Kind::Http1)
    }

    /// Its kind of calls.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether engine and load write each message at once, as those do whose messages come one by one.
    pub fn flush_each(&self) -> bool {
        self.kind == Kind::Bidi && self.measure == Measure::Cpu
    }

    /// What memory is divided by.
    pub fn things(&self) -> usize {
        if self.kind == Kind::Bidi { self.connections * self.streams } else { self.connections }
    }

    /// The run: `seconds` of it, after half a second that is not measured.
    pub fn plan(&self, target: std::net::SocketAddr, seconds: f64) -> Plan {
        let measured = Duration::from_secs_f64(seconds);
        let extent = match self.measure {
            Measure::Memory => Extent::Idle,
            _ => Extent::Time { warm: Duration::from_millis(500), measured },
        };
        Plan {
            connections: self.connections,
            streams: self.streams,
            size: self.size,
            in_flight: self.in_flight,
            flush_each: self.flush_each(),
            messages: 0,
            extent,
            ..Plan::new(target, self.kind)
        }
    }
}
