//! Prometheus metrics: every series there is, and how it is set. Only this file and `metrics/` know the
//! library; others hold handles.

mod budget;
mod call;
pub mod config;
mod jwks;
mod shadow;

use std::sync::{Arc, Mutex, PoisonError};

use pigeon_proto::model::Name;
use prometheus::{Encoder as _, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use self::budget::BudgetSeries;
use self::call::CallVecs;
pub use self::call::{CallSeries, Code, RouteTotals};
use self::jwks::JwksGauges;
use self::shadow::ShadowVecs;
pub use self::shadow::{Copied, OpenCopy, ShadowSeries};
use crate::filter::identity::ShownKeys;
use crate::gateway::EngineUsage;
use crate::guard::Level;
use crate::retry::Spent;
use crate::tls::Shown;

/// All metrics of this proxy. Clones are the same metrics.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    calls: CallVecs,
    shadows: ShadowVecs,
    gauges: Gauges,
    /// Brings gauges up to date just before they are read.
    before_render: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

struct Gauges {
    slots_in_use: IntGaugeVec,
    slots: IntGaugeVec,
    waiting: IntGaugeVec,
    state: IntGaugeVec,
    budgets: BudgetSeries,
    calls_open: IntGauge,
    connections: IntGaugeVec,
    connections_total: IntCounterVec,
    refused: IntCounterVec,
    accept_errors: IntCounter,
    fds_open: IntGauge,
    fds_limit: IntGauge,
    overload: IntGaugeVec,
    tls: TlsGauges,
    jwks: JwksGauges,
    log_lost: IntCounter,
    spans_lost: IntCounter,
}

/// The handles of one listener.
#[derive(Clone, Debug)]
pub struct ListenerSeries {
    /// Connections open now.
    pub open: IntGauge,
    /// Connections accepted.
    pub accepted: IntCounter,
    /// Connections closed at once.
    pub refused: RefusedSeries,
    /// Times the system handed out no connection.
    pub accept_errors: IntCounter,
    /// TLS handshakes.
    pub handshakes: HandshakeSeries,
}

/// The connections of one listener that were closed at once, by why.
#[derive(Clone, Debug)]
pub struct RefusedSeries {
    /// The listener had `max_connections`.
    pub limit: IntCounter,
    /// The source had `max_connections_per_source`.
    pub source: IntCounter,
    /// Memory or descriptors were short.
    pub overloaded: IntCounter,
}

impl RefusedSeries {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.limit.get() + self.source.get() + self.overloaded.get()
    }
}

/// Why a connection was closed at once.
const REFUSED: [&str; 3] = ["limit", "source", "overloaded"];

/// The TLS handshakes of one listener, by how they went.
#[derive(Clone, Debug)]
pub struct HandshakeSeries {
    /// With certificates.
    pub full: IntCounter,
    /// By a ticket of an earlier one.
    pub resumed: IntCounter,
    /// Not to their end.
    pub failed: IntCounter,
}

/// How a TLS handshake went.
const HANDSHAKES: [&str; 3] = ["full", "resumed", "failed"];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let calls = CallVecs::new(&registry);
        let shadows = ShadowVecs::new(&registry);
        let gauges = Gauges::new(&registry);
        Self(Arc::new(Inner { registry, calls, shadows, gauges, before_render: Mutex::default() }))
    }

    /// For metrics of other parts of the proxy.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// A way back to these metrics that does not keep them alive.
    pub fn downgrade(&self) -> impl Fn() -> Option<Metrics> + Send + Sync + 'static {
        let weak = Arc::downgrade(&self.0);
        move || weak.upgrade().map(Metrics)
    }

    /// Has `update` called before every rendering.
    pub fn before_render(&self, update: impl Fn() + Send + Sync + 'static) {
        let mut all = self.0.before_render.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Box::new(update));
    }

    /// The text form (Prometheus text format 0.0.4).
    pub fn render(&self) -> String {
        for update in self.0.before_render.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            update();
        }
        let mut text = Vec::new();
        // Only a broken writer or a family without series fails; what was written before stands.
        if let Err(error) =
            prometheus::TextEncoder::new().encode(&self.registry().gather(), &mut text)
        {
            tracing::warn!(%error, "the metrics are incomplete");
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// The series of each of these routes with its engine, if it has one, in this order. Those of other routes
    /// are forgotten.
    pub fn call_series<'n>(
        &self,
        routes: impl Iterator<Item = (&'n Name, Option<&'n Name>)>,
    ) -> Vec<Arc<CallSeries>> {
        self.0.calls.of_routes(routes)
    }

    /// The series of each route with copies and their engine, in this order. Those of others are forgotten.
    pub fn shadow_series<'n>(
        &self,
        routes: impl Iterator<Item = (&'n Name, &'n Name)>,
    ) -> Vec<Arc<ShadowSeries>> {
        self.0.shadows.of_routes(routes)
    }

    /// The series of calls that match no route.
    pub fn unmatched(&self) -> Arc<CallSeries> {
        self.0.calls.unmatched()
    }

    /// What the calls of each route and engine did.
    pub fn routes(&self) -> Vec<RouteTotals> {
        self.0.calls.totals()
    }

    /// The series of a listener.
    pub fn listener(&self, name: &Name) -> ListenerSeries {
        let g = &self.0.gauges;
        let handshakes = |how: &str| g.tls.handshakes.with_label_values(&[name.as_str(), how]);
        let [full, resumed, failed] = HANDSHAKES.map(handshakes);
        let refused = |why: &str| g.refused.with_label_values(&[name.as_str(), why]);
        let [limit, source, overloaded] = REFUSED.map(refused);
        let name = [name.as_str()];
        ListenerSeries {
            handshakes: HandshakeSeries { full, resumed, failed },
            open: g.connections.with_label_values(&name),
            accepted: g.connections_total.with_label_values(&name),
            refused: RefusedSeries { limit, source, overloaded },
            accept_errors: g.accept_errors.clone(),
        }
    }

    /// Forgets the series of a listener that is gone.
    pub fn forget_listener(&self, name: &Name) {
        let g = &self.0.gauges;
        let name = [name.as_str()];
        // An error says that it was never there.
        let _ = g.connections.remove_label_values(&name);
        let _ = g.connections_total.remove_label_values(&name);
        for why in REFUSED {
            let _ = g.refused.remove_label_values(&[name[0], why]);
        }
        for how in HANDSHAKES {
            let _ = g.tls.handshakes.remove_label_values(&[name[0], how]);
        }
    }

    /// Sets when the certificates of each object (`kind/name`) expire.
    pub fn set_certificates(&self, shown: &[(String, Shown)]) {
        let g = &self.0.gauges;
        g.tls.certificates.reset();
        for (object, shown) in shown {
            for certificate in &shown.certificates {
                let labels = [object.as_str(), certificate.path.as_str()];
                g.tls.certificates.with_label_values(&labels).set(certificate.not_after);
            }
        }
    }

    /// The changed TLS files of an object (`kind/name`) are no good.
    pub fn tls_reload_failed(&self, object: &str) {
        self.0.gauges.tls.reload_errors.with_label_values(&[object]).inc();
    }

    /// Sets what is known of the keys of tokens.
    pub fn set_jwks(&self, shown: impl Iterator<Item = ShownKeys>) {
        self.0.gauges.jwks.set(shown);
    }

    /// Sets what of the system is in use, and what is short.
    pub fn set_guard(&self, open: Option<u32>, limit: Option<u32>, short: bool, memory: Level) {
        let g = &self.0.gauges;
        g.fds_open.set(open.unwrap_or(0).into());
        g.fds_limit.set(limit.unwrap_or(0).into());
        g.overload.with_label_values(&["descriptors"]).set(short.into());
        g.overload.with_label_values(&["memory"]).set(memory as i64);
    }

    /// Sets how many lines of the access log and spans of traces were lost so far.
    pub fn set_lost(&self, lines: u64, spans: u64) {
        let g = &self.0.gauges;
        for (counter, total) in [(&g.log_lost, lines), (&g.spans_lost, spans)] {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    /// Sets how the retry budgets of the routes that have any retries stand.
    pub fn set_budgets<'b>(&self, budgets: impl Iterator<Item = (&'b Name, Spent)>) {
        self.0.gauges.budgets.set(budgets);
    }

    /// Sets what is in use now.
    pub fn set_usage(&self, usage: &[EngineUsage], calls_open: usize) {
        let g = &self.0.gauges;
        for gauge in [&g.slots_in_use, &g.slots, &g.waiting, &g.state] {
            gauge.reset();
        }
        for engine in usage {
            let name = engine.engine.as_str();
            g.waiting.with_label_values(&[name]).set(engine.waiting.into());
            for endpoint in &engine.endpoints {
                let labels = [name, endpoint.address.as_str()];
                g.slots_in_use.with_label_values(&labels).set(endpoint.in_use.into());
                let (state, cause) = (endpoint.state.as_str(), endpoint.cause.as_str());
                g.state.with_label_values(&[labels[0], labels[1], state, cause]).set(1);
                if let Some(slots) = endpoint.slots {
                    g.slots.with_label_values(&labels).set(slots.into());
                }
            }
        }
        g.calls_open.set(i64::try_from(calls_open).unwrap_or(i64::MAX));
    }
}

impl Gauges {
    fn new(r: &Registry) -> Self {
        let endpoint = ["engine", "endpoint"];
        let listener = ["listener"];
        Self {
            slots_in_use: gauges(r, "pigeon_slots_in_use", "Slots held by calls.", &endpoint),
            slots: gauges(
                r,
                "pigeon_slots",
                "Slots of an endpoint; absent if unlimited.",
                &endpoint,
            ),
            waiting: gauges(r, "pigeon_waiting", "Calls waiting for a slot.", &["engine"]),
            state: gauges(
                r,
                "pigeon_endpoint_state",
                "1 for the state an endpoint is in: healthy, starting (slow_start), draining (drain), ejected (failures, outlier) or unhealthy (check, unreachable).",
                &["engine", "endpoint", "state", "cause"],
            ),
            budgets: BudgetSeries::new(r),
            calls_open: gauge(r, "pigeon_calls_open", "Calls running or waiting."),
            connections: gauges(r, "pigeon_connections", "Client connections open.", &listener),
            connections_total: counters(
                r,
                "pigeon_connections_total",
                "Client connections accepted.",
                &listener,
            ),
            refused: counters(
                r,
                "pigeon_connections_refused_total",
                "Client connections closed at once: the listener's limit, its limit for one source, or memory or descriptors are short (overloaded).",
                &["listener", "reason"],
            ),
            fds_open: gauge(r, "pigeon_fds_open", "File descriptors open."),
            fds_limit: gauge(r, "pigeon_fds_limit", "File descriptors the process may have."),
            overload: gauges(
                r,
                "pigeon_overload",
                "1 while a resource is so short that new connections and calls are shed; memory: 2 while idle connections are closed, too.",
                &["resource"],
            ),
            tls: TlsGauges::new(r),
            jwks: JwksGauges::new(r),
            spans_lost: counter(
                r,
                "pigeon_trace_spans_dropped_total",
                "Spans of traces that could not be exported in time, or at all.",
            ),
            log_lost: counter(
                r,
                "pigeon_access_log_dropped_total",
                "Lines of the access log that could not be written in time, or at all.",
            ),
            accept_errors: counter(
                r,
                "pigeon_accept_errors_total",
                "Times the system gave no connection.",
            ),
        }
    }
}

/// What there is to say of TLS.
struct TlsGauges {
    handshakes: IntCounterVec,
    certificates: IntGaugeVec,
    reload_errors: IntCounterVec,
}

impl TlsGauges {
    fn new(r: &Registry) -> Self {
        Self {
            handshakes: counters(
                r,
                "pigeon_tls_handshakes_total",
                "TLS handshakes of clients: full, resumed or failed.",
                &["listener", "result"],
            ),
            certificates: gauges(
                r,
                "pigeon_tls_certificate_expiry_seconds",
                "When a certificate that serves expires, in seconds since 1970.",
                &["object", "certificate"],
            ),
            reload_errors: counters(
                r,
                "pigeon_tls_reload_errors_total",
                "Times that changed TLS files were no good and the ones before went on.",
                &["object"],
            ),
        }
    }
}

/// Registers what was made. Names are literals of this file, so only a slip here can fail, and the first
/// test that makes `Metrics` finds it.
fn registered<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> C {
    let registered = made.and_then(|c| registry.register(Box::new(c.clone())).map(|()| c));
    match registered {
        Ok(collector) => collector,
        Err(error) => panic!("a metric is declared wrongly: {error}"),
    }
}

fn gauge(r: &Registry, name: &str, help: &str) -> IntGauge {
    registered(r, IntGauge::new(name, help))
}

fn counter(r: &Registry, name: &str, help: &str) -> IntCounter {
    registered(r, IntCounter::new(name, help))
}

fn gauges(r: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(r, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn counters(r: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(r, IntCounterVec::new(Opts::new(name, help), labels))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::reject::Reason;

    #[test]
    fn series_of_removed_routes_disappear() {
        let metrics = Metrics::new();
        let name = |s: &str| s.parse::<Name>().expect("a name");
        let (a, b, e) = (name("a"), name("b"), name("e"));
        let series = metrics.call_series([(&a, Some(&e)), (&b, Some(&e))].into_iter());
        for series in &series {
            series.ended(Code::Grpc(0), Some(Reason::Saturated), Some(Duration::from_secs(1)));
            series.first_response(Duration::from_millis(3));
            series.waited(Duration::from_millis(3));
        }
        let text = metrics.render();
        assert!(text.contains(r#"pigeon_calls_total{code="OK",engine="e",route="a"} 1"#), "{text}");
        assert!(
            text.contains(r#"pigeon_rejections_total{engine="e",reason="saturated",route="b"} 1"#),
            "{text}"
        );
        let kept = metrics.call_series([(&b, Some(&e))].into_iter());
        assert!(Arc::ptr_eq(&kept[0], &series[1]), "a route that stays keeps its series");
        let text = metrics.render();
        assert!(!text.contains(r#"route="a""#), "{text}");
        assert!(text.contains(r#"route="b""#));
    }
}
