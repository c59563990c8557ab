//! The kinds of work that are compared: the rows of the speed targets.

use std::net::SocketAddr;
use std::time::Duration;

use super::certificates::{Certificates, NAME};
use crate::load::{self, Extent, Kind, Plan};

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

/// Who speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Nobody.
    None,
    /// The callers.
    Callers,
    /// The callers and the engine.
    Both,
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
    /// The same work in the clear, of what is by TLS.
    pub beside: Option<&'static str>,
    /// Who speaks TLS.
    pub tls: Tls,
    pub(super) kind: Kind,
    pub(super) connections: usize,
    pub(super) streams: usize,
    pub(super) size: usize,
    pub(super) in_flight: u64,
    /// A connection for each call.
    fresh: bool,
    /// Of TLS: the session of the connection before.
    resume: bool,
}

pub(super) const fn unary(
    name: &'static str,
    about: &'static str,
    connections: usize,
    streams: usize,
) -> Scenario {
    Scenario {
        name,
        about,
        measure: Measure::Cpu,
        beside: None,
        tls: Tls::None,
        kind: Kind::Unary,
        connections,
        streams,
        size: 16,
        in_flight: 1,
        fresh: false,
        resume: false,
    }
}

const fn stream(
    name: &'static str,
    about: &'static str,
    n: usize,
    size: usize,
    in_flight: u64,
) -> Scenario {
    Scenario { kind: Kind::Bidi, size, in_flight, ..unary(name, about, n, n) }
}

/// The same, with TLS.
const fn by_tls(clear: Scenario, tls: Tls, name: &'static str, about: &'static str) -> Scenario {
    Scenario { name, about, tls, beside: Some(clear.name), ..clear }
}

const UNARY_8X16: Scenario = unary("8x16", "gRPC unary, 16 B, 8 connections x 16 streams", 8, 16);
const UNARY_50X1: Scenario = unary("50x1", "gRPC unary, 16 B, 50 connections x 1 stream", 50, 1);
const STREAM_64K: Scenario = stream(
    "stream-64k",
    "gRPC bidi, 64 KiB messages, 4 x 4 streams, 4 under way each",
    4,
    65_536,
    4,
);
const IDLE: Scenario = Scenario {
    measure: Measure::Memory,
    ..unary("idle-connections", "memory of an idle HTTP/2 connection (2000 of them)", 2000, 1)
};
const HTTP1: Scenario = Scenario {
    kind: Kind::Http1,
    size: 0,
    ..unary("http1", "HTTP/1.1 GET, keep-alive, 128 B answer, 64 connections", 64, 1)
};
const CONNECT: Scenario = Scenario {
    fresh: true,
    ..unary("connect", "gRPC unary, 16 B, 16 clients, a new connection for every call", 16, 1)
};

/// All of them.
pub const SCENARIOS: [Scenario; 21] = [
    UNARY_8X16,
    unary("100x10", "gRPC unary, 16 B, 100 connections x 10 streams", 100, 10),
    unary("1x100", "gRPC unary, 16 B, 1 connection x 100 streams", 1, 100),
    UNARY_50X1,
    stream("stream-1k", "gRPC bidi, 1 KiB messages, 8 x 8 streams, 8 under way each", 8, 1024, 8),
    stream("stream-3k", "gRPC bidi, 3.2 KiB messages, 8 x 8 streams, 8 under way each", 8, 3277, 8),
    STREAM_64K,
    IDLE,
    Scenario {
        measure: Measure::Memory,
        ..stream(
            "idle-streams",
            "memory of an open idle stream after 1 KiB each way (100 x 100 of them)",
            100,
            1024,
            1,
        )
    },
    HTTP1,
    Scenario {
        measure: Measure::Latency,
        ..unary(
            "latency",
            "gRPC unary, 16 B, 8 x 16, open loop at half of what HAProxy manages",
            8,
            16,
        )
    },
    Scenario {
        kind: Kind::H2,
        size: 1024,
        ..unary("h2", "HTTP/2 without gRPC, 1 KiB body each way, 8 x 16", 8, 16)
    },
    CONNECT,
    by_tls(UNARY_8X16, Tls::Callers, "8x16-tls", "8x16, callers by TLS"),
    by_tls(UNARY_8X16, Tls::Both, "8x16-tls-both", "8x16, callers and engine by TLS"),
    by_tls(UNARY_50X1, Tls::Callers, "50x1-tls", "50x1, callers by TLS"),
    by_tls(STREAM_64K, Tls::Callers, "stream-64k-tls", "stream-64k, callers by TLS"),
    by_tls(HTTP1, Tls::Callers, "http1-tls", "http1, callers by TLS"),
    by_tls(CONNECT, Tls::Callers, "connect-tls", "connect, a full TLS handshake for every call"),
    Scenario {
        resume: true,
        ..by_tls(CONNECT, Tls::Callers, "connect-resumed", "connect, a resumed TLS session each")
    },
    by_tls(IDLE, Tls::Callers, "idle-connections-tls", "memory of an idle connection by TLS"),
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

    /// All by TLS, and what they are beside.
    pub fn with_tls() -> Vec<&'static Self> {
        let beside = |s: &Self| SCENARIOS.iter().any(|other| other.beside == Some(s.name));
        SCENARIOS.iter().filter(|s| s.beside.is_some() || beside(s)).collect()
    }

    /// In groups whose turns alternate, so that what the machine does to one it does to all: each in the clear, and
    /// what is beside it.
    pub fn groups(chosen: &[&'static Self]) -> Vec<Vec<&'static Self>> {
        let mut groups: Vec<Vec<&'static Self>> = Vec::new();
        let (clear, tls): (Vec<_>, Vec<_>) = chosen.iter().partition(|s| s.beside.is_none());
        groups.extend(clear.into_iter().map(|scenario| vec![scenario]));
        for scenario in tls {
            let same = |group: &&mut Vec<&'static Self>| Some(group[0].name) == scenario.beside;
            match groups.iter_mut().find(same) {
                Some(group) => group.push(scenario),
                None => groups.push(vec![scenario]),
            }
        }
        groups
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

    /// What callers do about TLS.
    pub fn caller(&self, files: &Certificates) -> Option<load::Tls> {
        let (ca, name) = (files.ca.clone(), NAME.to_owned());
        (self.tls != Tls::None).then_some(load::Tls { ca, name, resume: self.resume })
    }

    /// The run: `seconds` of it, after half a second that is not measured.
    pub fn plan(&self, target: SocketAddr, files: &Certificates, seconds: f64) -> Plan {
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
            fresh: self.fresh,
            tls: self.caller(files),
            ..Plan::new(target, self.kind)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(scenarios: &[&Scenario]) -> Vec<&'static str> {
        scenarios.iter().map(|scenario| scenario.name).collect()
    }

    #[test]
    fn what_is_by_tls_is_the_same_work_as_in_the_clear() {
        for scenario in SCENARIOS.iter().filter(|s| s.tls != Tls::None) {
            let clear = scenario.beside.and_then(|name| Scenario::find(name).ok()).expect("one");
            let work =
                |s: &Scenario| (s.measure, s.kind, s.connections, s.streams, s.size, s.fresh);
            assert_eq!(work(scenario), work(clear), "{}", scenario.name);
            assert_eq!((clear.tls, clear.beside), (Tls::None, None), "{}", clear.name);
        }
    }

    #[test]
    fn turns_alternate_between_what_is_compared() {
        let find = |name| Scenario::find(name).expect("one");
        let chosen = ["http1-tls", "8x16-tls", "h2", "8x16", "8x16-tls-both"].map(find);
        let groups: Vec<_> = Scenario::groups(&chosen).iter().map(|g| names(g)).collect();
        let wanted = [&["h2"][..], &["8x16", "8x16-tls", "8x16-tls-both"], &["http1-tls"]];
        assert_eq!(groups, wanted);
    }

    #[test]
    fn nothing_by_tls_lacks_what_it_is_beside() {
        let all = Scenario::with_tls();
        for group in Scenario::groups(&all) {
            assert!(group.len() > 1 && group[0].tls == Tls::None, "{:?}", names(&group));
        }
        assert!(!names(&all).contains(&"h2"));
    }
}
