//! Prometheus metrics; the only place that knows the library. Others hold [`Metrics`].

use std::sync::Arc;

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Cheap handle; clones share everything.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    revision: IntGauge,
    objects: IntGaugeVec,
    store_writable: IntGauge,
    writes: IntCounterVec,
    publish: Histogram,
    snapshots: IntCounter,
    stream_ends: IntCounterVec,
    proxies: IntGaugeVec,
    http: HistogramVec,
    http_calls: IntCounterVec,
}

/// What is read at the moment of a scrape rather than counted as it happens.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// The committed revision.
    pub revision: u64,
    /// Objects by kind.
    pub objects: Vec<(&'static str, usize)>,
    /// Proxies by state.
    pub proxies: Vec<(&'static str, usize)>,
    /// Whether the last write could be stored.
    pub store_writable: bool,
}

impl Metrics {
    /// A registry of its own, so that several admins can live in one process.
    ///
    /// # Errors
    /// Never with the metrics of this file; the library cannot say so.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| IntGauge::new(name, help);
        let gauges = |n: &str, h: &str, l: &[&str]| IntGaugeVec::new(Opts::new(n, h), l);
        let counters = |n: &str, h: &str, l: &[&str]| IntCounterVec::new(Opts::new(n, h), l);
        let shared = Shared {
            revision: gauge("pigeon_admin_revision", "The committed revision.")?,
            objects: gauges("pigeon_admin_objects", "Objects by kind.", &["kind"])?,
            store_writable: gauge("pigeon_admin_store_writable", "1 if writes can be stored.")?,
            writes: counters("pigeon_admin_writes_total", "Writes by outcome.", &["outcome"])?,
            publish: Histogram::with_opts(
                HistogramOpts::new(
                    "pigeon_admin_publish_seconds",
                    "From the first commit of a publication until proxies can be sent it.",
                )
                .buckets(vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0]),
            )?,
            snapshots: IntCounter::new("pigeon_admin_snapshots_total", "Snapshots begun.")?,
            stream_ends: counters(
                "pigeon_admin_stream_ends_total",
                "Config streams ended or refused, by reason.",
                &["reason"],
            )?,
            proxies: gauges("pigeon_admin_proxies", "Proxies by state.", &["state"])?,
            http: HistogramVec::new(
                HistogramOpts::new("pigeon_admin_http_seconds", "Time to answer REST requests."),
                &["method", "route"],
            )?,
            http_calls: counters(
                "pigeon_admin_http_requests_total",
                "REST requests.",
                &["method", "route", "status"],
            )?,
            registry,
        };
        shared.register()?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Counts one REST request; `route` is the pattern, never the path.
    pub fn http(&self, method: &str, route: &str, status: u16, seconds: f64) {
        let s = &self.shared;
        s.http.with_label_values(&[method, route]).observe(seconds);
        s.http_calls.with_label_values(&[method, route, &status.to_string()]).inc();
    }

    /// Counts one write by its outcome.
    pub fn write(&self, outcome: &str) {
        self.shared.writes.with_label_values(&[outcome]).inc();
    }

    /// Records one publication, in seconds since the first commit it holds.
    pub fn publish(&self, seconds: f64) {
        self.shared.publish.observe(seconds);
    }

    /// Counts one snapshot.
    pub fn snapshot(&self) {
        self.shared.snapshots.inc();
    }

    /// Counts one config stream that ended or was refused.
    pub fn stream_end(&self, reason: &str) {
        self.shared.stream_ends.with_label_values(&[reason]).inc();
    }

    /// Sets what [`Metrics::render`] shows of the present.
    pub fn set(&self, gauges: &Gauges) {
        let s = &self.shared;
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        s.revision.set(i64::try_from(gauges.revision).unwrap_or(i64::MAX));
        s.store_writable.set(i64::from(gauges.store_writable));
        for (kind, n) in &gauges.objects {
            s.objects.with_label_values(&[kind]).set(number(*n));
        }
        for (state, n) in &gauges.proxies {
            s.proxies.with_label_values(&[state]).set(number(*n));
        }
    }

    /// Everything in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Encoding fails only for metrics without values, which a registry does not gather.
        if let Err(e) = TextEncoder::new().encode(&self.shared.registry.gather(), &mut text) {
            tracing::error!(error = %e, "cannot write the metrics");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

impl Shared {
    fn register(&self) -> Result<(), prometheus::Error> {
        let r = &self.registry;
        r.register(Box::new(self.revision.clone()))?;
        r.register(Box::new(self.objects.clone()))?;
        r.register(Box::new(self.store_writable.clone()))?;
        r.register(Box::new(self.writes.clone()))?;
        r.register(Box::new(self.publish.clone()))?;
        r.register(Box::new(self.snapshots.clone()))?;
        r.register(Box::new(self.stream_ends.clone()))?;
        r.register(Box::new(self.proxies.clone()))?;
        r.register(Box::new(self.http.clone()))?;
        r.register(Box::new(self.http_calls.clone()))
    }
}
