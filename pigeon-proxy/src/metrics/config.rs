//! Metrics of the configuration: which one serves, how old it is, how the connection to its source does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use prometheus::{Gauge, IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use crate::config::{Serving, Source};

/// Handles of the metrics of the configuration.
#[derive(Clone)]
pub struct ConfigMetrics {
    revision: IntGauge,
    effective: IntGauge,
    source: IntGaugeVec,
    age: Gauge,
    rejected: IntGauge,
    connected: IntGauge,
    attempts: IntCounter,
    deltas: IntCounter,
    snapshots: IntCounter,
    mismatches: IntCounter,
    protocol_errors: IntCounter,
    saves: IntCounter,
    /// Objects set aside, and reasons against the saved file; shown as one number.
    set_aside: Arc<AtomicU64>,
    file_reasons: Arc<AtomicU64>,
    /// When the configuration was last known to be current, in milliseconds since 1970; 0 = never.
    current_at: Arc<AtomicU64>,
}

impl ConfigMetrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Self {
        let gauge = |name, help| registered(registry, IntGauge::new(name, help));
        let counter = |name, help| registered(registry, IntCounter::new(name, help));
        Self {
            revision: gauge("pigeon_config_revision", "Revision received last"),
            effective: gauge(
                "pigeon_config_effective_revision",
                "Newest revision that served with nothing refused",
            ),
            source: source(registry),
            age: registered(
                registry,
                Gauge::new(
                    "pigeon_config_age_seconds",
                    "Since the configuration was last known to be current",
                ),
            ),
            rejected: gauge(
                "pigeon_config_rejected",
                "Objects, or reasons against the saved file, that are not served as they are",
            ),
            connected: gauge("pigeon_config_connected", "1 while a stream to the admin is open"),
            attempts: counter(
                "pigeon_config_connects_total",
                "Attempts to open a stream to the admin",
            ),
            deltas: counter("pigeon_config_deltas_total", "Deltas taken from the stream"),
            snapshots: counter("pigeon_config_snapshots_total", "Snapshots taken from the stream"),
            mismatches: counter(
                "pigeon_config_digest_mismatches_total",
                "Times that proxy and admin held different objects under one revision",
            ),
            protocol_errors: counter(
                "pigeon_config_protocol_errors_total",
                "Streams left because of what the admin sent",
            ),
            saves: counter("pigeon_config_saves_total", "Times last known good was written"),
            set_aside: Arc::default(),
            file_reasons: Arc::default(),
            current_at: Arc::default(),
        }
    }

    /// What serves now.
    pub fn serving(&self, serving: &Serving) {
        self.revision.set(as_gauge(serving.received));
        self.effective.set(as_gauge(serving.effective));
        for source in Source::ALL {
            let now = i64::from(source == serving.source);
            self.source.with_label_values(&[source.as_str()]).set(now);
        }
        self.set_aside.store(serving.rejected.len() as u64, Ordering::Relaxed);
        self.show_rejected();
        if let Some(at) = serving.at {
            self.current(at);
        }
    }

    /// So many reasons speak against the file that was saved last.
    pub fn file_refused(&self, reasons: usize) {
        self.file_reasons.store(reasons as u64, Ordering::Relaxed);
        self.show_rejected();
    }

    fn show_rejected(&self) {
        let reasons = self.file_reasons.load(Ordering::Relaxed);
        self.rejected.set(as_gauge(reasons + self.set_aside.load(Ordering::Relaxed)));
    }

    /// The stream is open and welcomed.
    pub fn connected(&self) {
        self.connected.set(1);
    }

    /// There is no stream.
    pub fn disconnected(&self) {
        self.connected.set(0);
    }

    /// A stream is to be opened.
    pub fn attempt(&self) {
        self.attempts.inc();
    }

    /// A delta was taken.
    pub fn delta(&self) {
        self.deltas.inc();
    }

    /// A snapshot was taken.
    pub fn snapshot(&self) {
        self.snapshots.inc();
    }

    /// A stream was left because of what came; `mismatch` = of differing digests.
    pub fn protocol_error(&self, mismatch: bool) {
        self.protocol_errors.inc();
        if mismatch {
            self.mismatches.inc();
        }
    }

    /// Last known good was written.
    pub fn saved(&self) {
        self.saves.inc();
    }

    /// Brings the age up to date and gives it in seconds; 0 without a configuration. Call before rendering.
    pub fn refresh_age(&self, now: SystemTime) -> f64 {
        let age = match self.current_at.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            at => {
                let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at);
                now.duration_since(at).unwrap_or_default()
            }
        };
        self.age.set(age.as_secs_f64());
        age.as_secs_f64()
    }

    /// The configuration was known to be current then.
    pub fn current(&self, at: SystemTime) {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(since.as_millis()).unwrap_or(0);
        self.current_at.fetch_max(at, Ordering::Relaxed);
    }
}

fn source(registry: &Registry) -> IntGaugeVec {
    let options = Opts::new("pigeon_config_source", "1 for where the configuration came from");
    registered(registry, IntGaugeVec::new(options, &["source"]))
}

fn registered<M: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<M>,
) -> M {
    // Names are constants; a test makes all of them.
    let metric = metric.unwrap_or_else(|e| unreachable!("{e}"));
    if let Err(e) = registry.register(Box::new(metric.clone())) {
        debug_assert!(false, "{e}");
    }
    metric
}

fn as_gauge(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_file_is_not_forgotten_by_a_change_elsewhere() {
        let metrics = ConfigMetrics::new(&Registry::new());
        metrics.file_refused(2);
        metrics.serving(&Serving::default());
        assert_eq!(metrics.rejected.get(), 2);
        metrics.file_refused(0);
        assert_eq!(metrics.rejected.get(), 0);
    }

    #[test]
    fn the_age_counts_from_the_last_word_of_the_admin() {
        let metrics = ConfigMetrics::new(&Registry::new());
        let at = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        assert_eq!(metrics.refresh_age(at(50)), 0.0);
        metrics.serving(&Serving { at: Some(at(10)), ..Serving::default() });
        assert_eq!(metrics.refresh_age(at(50)), 40.0);
        metrics.current(at(45));
        metrics.serving(&Serving { at: Some(at(10)), ..Serving::default() });
        assert_eq!(metrics.refresh_age(at(50)), 5.0);
    }
}
