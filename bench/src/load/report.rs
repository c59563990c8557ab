//! What a run found.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The outcome of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Time measured, seconds.
    pub seconds: f64,
    /// Calls that ended well within it.
    pub calls: u64,
    /// Of streaming calls: messages answered within it.
    pub messages: u64,
    /// Calls (or messages) per second.
    pub per_second: f64,
    /// From the time a call (or message) was to be sent to its answer.
    pub latency: Latency,
    /// Failures of the whole run, by kind.
    pub failures: BTreeMap<String, u64>,
    /// Calls that were due and never begun (open loop).
    pub unsent: u64,
    /// CPU time of the generator itself per call or message, microseconds.
    pub own_cpu_us: f64,
    /// What the watched process used.
    pub watched: Option<Watched>,
    /// Of TLS: those within the time measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshakes: Option<Handshakes>,
    /// What else one has to know.
    pub notes: Vec<String>,
}

/// Latencies, microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Mean.
    pub mean: f64,
    /// Half are below.
    pub p50: f64,
    /// 90 % are below.
    pub p90: f64,
    /// 99 % are below.
    pub p99: f64,
    /// 99.9 % are below.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// TLS handshakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshakes {
    /// With a certificate.
    pub full: u64,
    /// With a ticket.
    pub resumed: u64,
}

/// Of the watched process and all below it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Watched {
    /// CPU time within the time measured, seconds.
    pub cpu_seconds: f64,
    /// The same per call or message, microseconds.
    pub cpu_us: f64,
    /// Resident memory at the beginning, bytes.
    pub resident_before: u64,
    /// Resident memory at the end, bytes.
    pub resident_after: u64,
}

/// Counts while a run goes on.
pub(super) struct Tally {
    pub(super) calls: u64,
    pub(super) messages: u64,
    pub(super) failures: BTreeMap<String, u64>,
    pub(super) handshakes: Handshakes,
    pub(super) histogram: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        // 100 ns to 10 minutes, three digits.
        let histogram = Histogram::new_with_bounds(100, 600_000_000_000, 3)?;
        let (failures, handshakes) = (BTreeMap::new(), Handshakes::default());
        Ok(Self { calls: 0, messages: 0, failures, handshakes, histogram })
    }

    /// Forgets what was measured; failures stay.
    pub(super) fn restart(&mut self) {
        (self.calls, self.messages) = (0, 0);
        self.handshakes = Handshakes::default();
        self.histogram.reset();
    }

    pub(super) fn took(&mut self, time: Duration) {
        self.histogram.saturating_record(time.as_nanos() as u64);
    }

    pub(super) fn greeted(&mut self, resumed: bool) {
        let count = if resumed { &mut self.handshakes.resumed } else { &mut self.handshakes.full };
        *count += 1;
    }

    pub(super) fn fail(&mut self, kind: &str) {
        match self.failures.get_mut(kind) {
            Some(count) => *count += 1,
            None => {
                self.failures.insert(kind.to_owned(), 1);
            }
        }
    }

    pub(super) fn latency(&self) -> Latency {
        if self.histogram.is_empty() {
            return Latency::default();
        }
        let at = |q| self.histogram.value_at_quantile(q) as f64 / 1000.0;
        Latency {
            mean: self.histogram.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.histogram.max() as f64 / 1000.0,
        }
    }
}
