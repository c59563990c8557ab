//! The series of calls: handles resolved once per route, so that a call looks nothing up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pigeon_proto::model::Name;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry,
};

use super::{counters, gauges, registered};
use crate::record::GRPC_NAMES;
use crate::reject::Reason;

/// How a call ended, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A gRPC status; what gRPC does not know counts as UNKNOWN.
    Grpc(u8),
    /// An HTTP status, by class.
    Http(u16),
    /// A raw connection that both sides have closed.
    TcpClosed,
    /// A raw connection that the engine or the gateway broke off, or did not take.
    TcpFailed,
    /// The caller went away before an HTTP answer was complete, or broke a raw connection off.
    Cancelled,
}

/// What there is beside the gRPC statuses: classes of HTTP statuses, and ends of raw connections.
const OTHERS: [&str; 8] = ["1xx", "2xx", "3xx", "4xx", "5xx", "closed", "failed", "cancelled"];
const CODES: usize = GRPC_NAMES.len() + OTHERS.len();

const DIRECTIONS: [&str; 2] = ["in", "out"];

impl Code {
    fn index(self) -> usize {
        match self {
            Self::Grpc(code) if usize::from(code) < GRPC_NAMES.len() => usize::from(code),
            Self::Grpc(_) => 2,
            Self::Http(status) => GRPC_NAMES.len() + usize::from((status / 100).clamp(1, 5)) - 1,
            Self::TcpClosed => CODES - 3,
            Self::TcpFailed => CODES - 2,
            Self::Cancelled => CODES - 1,
        }
    }

    fn label(index: usize) -> &'static str {
        if index < GRPC_NAMES.len() { GRPC_NAMES[index] } else { OTHERS[index - GRPC_NAMES.len()] }
    }
}

/// A route, and its engine if it has one.
type OfRoute = (Name, Option<Name>);

/// The series of all calls.
pub(super) struct CallVecs {
    vecs: Vecs,
    known: Mutex<HashMap<OfRoute, Arc<CallSeries>>>,
    unmatched: Arc<CallSeries>,
}

#[derive(Clone)]
struct Vecs {
    calls: IntCounterVec,
    rejections: IntCounterVec,
    first: HistogramVec,
    duration: HistogramVec,
    wait: HistogramVec,
    retries: IntCounterVec,
    raw_bytes: IntCounterVec,
    messages: IntCounterVec,
    open: IntGaugeVec,
}

/// The series of one route. A series appears with its first call.
pub struct CallSeries {
    vecs: Vecs,
    route: String,
    engine: String,
    codes: [OnceLock<IntCounter>; CODES],
    reasons: [OnceLock<IntCounter>; Reason::ALL.len()],
    first: OnceLock<Histogram>,
    duration: OnceLock<Histogram>,
    wait: OnceLock<Histogram>,
    retries: OnceLock<IntCounter>,
    /// From clients, and from engines.
    raw_bytes: [OnceLock<IntCounter>; 2],
    received: OnceLock<IntCounter>,
    sent: OnceLock<IntCounter>,
    open: OnceLock<IntGauge>,
}

/// Values of the label `direction`.
const IN: &str = "in";
const OUT: &str = "out";

/// What the calls of a route to one of its engines did since the proxy started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTotals {
    /// The route.
    pub route: String,
    /// The engine.
    pub engine: String,
    /// Calls that are open now.
    pub open: i64,
    /// Calls that have ended.
    pub calls: u64,
    /// Of these, the ones that the gateway itself answered or broke off.
    pub rejected: u64,
    /// Attempts beyond the first of a call.
    pub retries: u64,
}

impl CallVecs {
    pub(super) fn new(registry: &Registry) -> Self {
        let histogram = |name: &str, help: &str| {
            let opts = HistogramOpts::new(name, help).buckets(buckets());
            registered(registry, HistogramVec::new(opts, &["route", "engine"]))
        };
        let vecs = Vecs {
            calls: counters(
                registry,
                "pigeon_calls_total",
                "Calls ended, by gRPC status or class of the HTTP status; raw connections by how they ended.",
                &["route", "engine", "code"],
            ),
            rejections: counters(
                registry,
                "pigeon_rejections_total",
                "Calls the gateway itself answered or broke off, by reason.",
                &["route", "engine", "reason"],
            ),
            first: histogram(
                "pigeon_first_response_seconds",
                "From the call's head to the first byte or message of the answer's body.",
            ),
            duration: histogram(
                "pigeon_call_duration_seconds",
                "From the call's head to its end, of calls with at most one message each way.",
            ),
            retries: counters(
                registry,
                "pigeon_retries_total",
                "Attempts beyond the first of a call, whether the engine saw the one before or not.",
                &["route", "engine"],
            ),
            raw_bytes: counters(
                registry,
                "pigeon_tcp_bytes_total",
                "Bytes of raw connections passed on: in, from clients; out, to clients.",
                &["route", "engine", "direction"],
            ),
            messages: counters(
                registry,
                "pigeon_messages_total",
                "gRPC messages begun, from callers (in) and to them (out).",
                &["route", "engine", "direction"],
            ),
            open: gauges(
                registry,
                "pigeon_route_calls_open",
                "Calls and streams open on a route.",
                &["route", "engine"],
            ),
            wait: histogram(
                "pigeon_queue_wait_seconds",
                "Waiting for a slot, of calls that waited.",
            ),
        };
        let unmatched = Arc::new(CallSeries::new(vecs.clone(), String::new(), String::new()));
        Self { vecs, known: Mutex::default(), unmatched }
    }

    pub(super) fn unmatched(&self) -> Arc<CallSeries> {
        Arc::clone(&self.unmatched)
    }

    pub(super) fn totals(&self) -> Vec<RouteTotals> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = known.values().map(|series| series.totals()).collect();
        all.sort_by(|a, b| (&a.route, &a.engine).cmp(&(&b.route, &b.engine)));
        all
    }

    pub(super) fn of_routes<'n>(
        &self,
        routes: impl Iterator<Item = (&'n Name, Option<&'n Name>)>,
    ) -> Vec<Arc<CallSeries>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = HashMap::new();
        let mut series = Vec::new();
        for (route, engine) in routes {
            let key = (route.clone(), engine.cloned());
            let one = known.remove(&key).unwrap_or_else(|| {
                let engine = engine.map(ToString::to_string).unwrap_or_default();
                let route = route.to_string();
                Arc::new(CallSeries::new(self.vecs.clone(), route, engine))
            });
            next.insert(key, Arc::clone(&one));
            series.push(one);
        }
        for gone in known.values() {
            gone.forget();
        }
        *known = next;
        series
    }
}

impl CallSeries {
    fn new(vecs: Vecs, route: String, engine: String) -> Self {
        Self {
            vecs,
            route,
            engine,
            codes: [const { OnceLock::new() }; CODES],
            reasons: [const { OnceLock::new() }; Reason::ALL.len()],
            first: OnceLock::new(),
            duration: OnceLock::new(),
            wait: OnceLock::new(),
            retries: OnceLock::new(),
            raw_bytes: [const { OnceLock::new() }; 2],
            received: OnceLock::new(),
            sent: OnceLock::new(),
            open: OnceLock::new(),
        }
    }

    fn totals(&self) -> RouteTotals {
        let sum = |all: &[OnceLock<IntCounter>]| {
            all.iter().filter_map(OnceLock::get).map(IntCounter::get).sum()
        };
        RouteTotals {
            route: self.route.clone(),
            engine: self.engine.clone(),
            open: self.open.get().map_or(0, IntGauge::get),
            calls: sum(&self.codes),
            rejected: sum(&self.reasons),
            retries: self.retries.get().map_or(0, IntCounter::get),
        }
    }

    /// Counts a call that has taken this route.
    pub fn began(&self) {
        self.open_calls().inc();
    }

    /// And that it is over.
    pub fn left(&self) {
        self.open_calls().dec();
    }

    fn open_calls(&self) -> &IntGauge {
        self.open.get_or_init(|| self.vecs.open.with_label_values(&[&self.route, &self.engine]))
    }

    /// Counts messages from callers.
    pub fn messages_received(&self, count: u32) {
        self.received.get_or_init(|| self.messages(IN)).inc_by(count.into());
    }

    /// Counts messages to callers.
    pub fn messages_sent(&self, count: u32) {
        self.sent.get_or_init(|| self.messages(OUT)).inc_by(count.into());
    }

    fn messages(&self, direction: &str) -> IntCounter {
        self.vecs.messages.with_label_values(&[
            self.route.as_str(),
            self.engine.as_str(),
            direction,
        ])
    }

    /// Counts a call that has ended; `duration` if that says something about its latency.
    pub fn ended(&self, code: Code, reason: Option<Reason>, duration: Option<Duration>) {
        let index = code.index();
        let counter = |vec: &IntCounterVec, label: &str| {
            vec.with_label_values(&[self.route.as_str(), self.engine.as_str(), label])
        };
        self.codes[index].get_or_init(|| counter(&self.vecs.calls, Code::label(index))).inc();
        if let Some(reason) = reason {
            let series = &self.reasons[reason as usize];
            series.get_or_init(|| counter(&self.vecs.rejections, reason.as_str())).inc();
        }
        if let Some(duration) = duration {
            let histogram = self.duration.get_or_init(|| self.histogram(&self.vecs.duration));
            histogram.observe(duration.as_secs_f64());
        }
    }

    /// Notes when the first byte of an answer's body came.
    pub fn first_response(&self, after: Duration) {
        self.first.get_or_init(|| self.histogram(&self.vecs.first)).observe(after.as_secs_f64());
    }

    /// Counts that a call is tried again.
    pub fn tried_again(&self) {
        let counter = || self.vecs.retries.with_label_values(&[&self.route, &self.engine]);
        self.retries.get_or_init(counter).inc();
    }

    /// Counts bytes of a raw connection, `out` those for the client.
    pub fn raw_bytes(&self, out: bool, bytes: usize) {
        let labels = [self.route.as_str(), self.engine.as_str(), DIRECTIONS[usize::from(out)]];
        let counter = || self.vecs.raw_bytes.with_label_values(&labels);
        self.raw_bytes[usize::from(out)].get_or_init(counter).inc_by(bytes as u64);
    }

    /// Notes how long a call waited for its slot.
    pub fn waited(&self, time: Duration) {
        self.wait.get_or_init(|| self.histogram(&self.vecs.wait)).observe(time.as_secs_f64());
    }

    fn histogram(&self, vec: &HistogramVec) -> Histogram {
        vec.with_label_values(&[&self.route, &self.engine])
    }

    /// Removes the series; calls that still run count into handles nobody reads.
    fn forget(&self) {
        let remove = |vec: &IntCounterVec, label: &str| {
            let _ = vec.remove_label_values(&[self.route.as_str(), self.engine.as_str(), label]);
        };
        for (index, _) in self.codes.iter().enumerate().filter(|(_, c)| c.get().is_some()) {
            remove(&self.vecs.calls, Code::label(index));
        }
        for (reason, _) in Reason::ALL.iter().zip(&self.reasons).filter(|(_, c)| c.get().is_some())
        {
            remove(&self.vecs.rejections, reason.as_str());
        }
        for (direction, _) in
            DIRECTIONS.iter().zip(&self.raw_bytes).filter(|(_, c)| c.get().is_some())
        {
            remove(&self.vecs.raw_bytes, direction);
        }
        if self.retries.get().is_some() {
            let _ = self.vecs.retries.remove_label_values(&[&self.route, &self.engine]);
        }
        for (series, direction) in [(&self.received, IN), (&self.sent, OUT)] {
            if series.get().is_some() {
                remove(&self.vecs.messages, direction);
            }
        }
        if self.open.get().is_some() {
            let _ = self.vecs.open.remove_label_values(&[&self.route, &self.engine]);
        }
        for vec in [&self.vecs.first, &self.vecs.duration, &self.vecs.wait] {
            let _ = vec.remove_label_values(&[&self.route, &self.engine]);
        }
    }
}

/// From 0.5 ms to 5 minutes.
fn buckets() -> Vec<f64> {
    vec![
        0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        30.0, 60.0, 300.0,
    ]
}
