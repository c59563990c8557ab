//! All that the workers share: the table, the engines, the metrics and the access log.

mod connections;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use pigeon_proto::model::{Address, Name, Snapshot};
use tokio::sync::Notify;

use self::connections::Connections;
pub use self::connections::OpenConnection;
pub(crate) use self::connections::Tally;
use crate::engine::{CLASSES, Cause, Clock, Engine, Member, Registry, Standing, State};
use crate::filter::identity::KeySource;
use crate::guard::watch::descriptors_open;
use crate::guard::{Guard, Level};
use crate::limit::Presence;
use crate::metrics::Metrics;
use crate::record::AccessLog;
use crate::reflection::Descriptions;
use crate::reject::Rejection;
use crate::reload::Reload;
use crate::retry::Spent;
use crate::table::Table;
use crate::tls::{Inbound, Shown, Side};
use crate::traces::Tracer;

/// What the workers share.
pub struct Gateway {
    table: ArcSwapOption<Table>,
    /// Locked while a table is compiled, so that tables follow each other in order.
    registry: Mutex<Registry>,
    metrics: Metrics,
    access_log: AccessLog,
    tracer: OnceLock<Arc<Tracer>>,
    draining: AtomicBool,
    guard: Guard,
    relay: AtomicBool,
    calls_open: AtomicUsize,
    connections: Arc<Connections>,
    /// A table was installed.
    installed: Notify,
    tls: ListenerTls,
    /// Other sources of keys may be to be followed.
    keys: Notify,
    reload: Arc<Reload>,
    descriptions: Arc<Descriptions>,
}

/// The TLS of the listeners that are open.
#[derive(Default)]
pub(crate) struct ListenerTls {
    listeners: Mutex<BTreeMap<Name, Arc<Inbound>>>,
    /// Files are to be looked at.
    asked: Notify,
}

impl ListenerTls {
    /// A listener has this; none = it is gone, or in the clear.
    pub(crate) fn listens(&self, name: &Name, tls: Option<Arc<Inbound>>) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        match tls {
            Some(tls) => listeners.insert(name.clone(), tls),
            None => listeners.remove(name),
        };
        drop(listeners);
        self.asked.notify_one();
    }

    /// Resolves when files are to be looked at; for one listener.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }
}

/// How much of an engine is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineUsage {
    /// Its name.
    pub engine: Name,
    /// Calls waiting for a slot now.
    pub waiting: u32,
    /// Calls ended since the proxy started.
    pub calls: u64,
    /// Of these, the ones that failed in the gateway or in the transport to the engine.
    pub failures: u64,
    /// Its endpoints, in the order of the configuration.
    pub endpoints: Vec<EndpointUsage>,
    /// The calls of the last ten seconds by the time to the first message of their response, over all
    /// endpoints: see [`EndpointUsage::first_message`].
    pub first_message: [u32; CLASSES],
}

/// How much of an endpoint is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUsage {
    /// Where it is.
    pub address: Address,
    /// Slots held by calls now.
    pub in_use: u32,
    /// Slots it has; none without a limit (pool mode off).
    pub slots: Option<u32>,
    /// How it does.
    pub state: State,
    /// Why, in one word.
    pub cause: Cause,
    /// Why it is not healthy, for people; empty if it is.
    pub reason: String,
    /// Calls ended there since the proxy started.
    pub calls: u64,
    /// Of these, the ones that it failed: resets, answers that are not HTTP, gRPC UNAVAILABLE, HTTP 502 to
    /// 504. Not those whose caller went away or whose time was over.
    pub failures: u64,
    /// The calls of the last ten seconds by the time from being sent there to the first message of their
    /// response: entry `i` counts those below 2^i × 64 µs that no earlier entry counts.
    pub first_message: [u32; CLASSES],
}

impl Gateway {
    /// A gateway without a configuration: every call is answered `no_config`.
    pub fn new(metrics: Metrics, access_log: AccessLog) -> Arc<Gateway> {
        let gateway = Arc::new(Gateway {
            table: ArcSwapOption::empty(),
            registry: Mutex::new(Registry::new(Clock::monotonic())),
            metrics: metrics.clone(),
            access_log,
            tracer: OnceLock::new(),
            draining: AtomicBool::new(false),
            guard: Guard::default(),
            relay: AtomicBool::new(true),
            calls_open: AtomicUsize::new(0),
            connections: Arc::default(),
            installed: Notify::new(),
            tls: ListenerTls::default(),
            keys: Notify::new(),
            reload: Arc::default(),
            descriptions: Arc::default(),
        });
        let weak = Arc::downgrade(&gateway);
        let shown = metrics.downgrade();
        metrics.before_render(move || {
            if let (Some(gateway), Some(metrics)) = (weak.upgrade(), shown()) {
                metrics.set_usage(&gateway.usage(), gateway.calls_open());
                if let Some(table) = gateway.table() {
                    let now = Instant::now();
                    let budgets = table.budgets_in_use();
                    metrics.set_budgets(budgets.map(|(name, budget)| (name, budget.spent(now))));
                }
                let (guard, open) = (gateway.guard(), descriptors_open());
                metrics.set_guard(open, guard.descriptors(), guard.is_short(), guard.memory());
                metrics.set_certificates(&gateway.tls_shown());
                metrics.set_jwks(gateway.key_sources().iter().map(|source| source.shown()));
                let spans = gateway.tracer().map_or(0, |tracer| tracer.lost());
                metrics.set_lost(gateway.access_log.lost(), spans);
            }
        });
        gateway
    }

    /// Compiles a configuration and makes it the one that new calls meet. Engines, endpoints, taken
    /// slots and waiting calls live on; calls that run keep the table they began with.
    pub fn install(&self, snapshot: &Snapshot) {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.table();
        let now = Instant::now();
        let table = Table::compile(snapshot, &registry, &self.metrics, before.as_deref(), now);
        self.table.store(Some(Arc::new(table)));
        self.installed.notify_one();
        self.tls.asked.notify_one();
        self.keys.notify_one();
    }

    /// Resolves after a configuration was installed; for one listener.
    pub(crate) async fn installed(&self) {
        self.installed.notified().await;
    }

    /// The engines of the configuration.
    pub(crate) fn engines(&self) -> Vec<Arc<Engine>> {
        self.table().iter().flat_map(|table| table.engines.values().cloned()).collect()
    }

    /// Every engine that is configured or still has calls.
    pub(crate) fn all_engines(&self) -> Vec<Arc<Engine>> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// What engines say of their methods.
    pub(crate) fn descriptions(&self) -> &Arc<Descriptions> {
        &self.descriptions
    }

    /// The TLS of the listeners.
    pub(crate) fn tls(&self) -> &ListenerTls {
        &self.tls
    }

    /// Asks whoever has files to read them again.
    pub fn reload(&self) -> &Arc<Reload> {
        &self.reload
    }

    /// Where the keys are that tokens are checked with.
    pub fn key_sources(&self) -> Vec<Arc<KeySource>> {
        self.table().map(|table| table.callers().key_sources()).unwrap_or_default()
    }

    /// Resolves after a configuration was installed; for whoever follows the sources of keys.
    pub(crate) async fn keys_asked(&self) {
        self.keys.notified().await;
    }

    /// Whatever has files of TLS.
    pub(crate) fn tls_sides(&self) -> Vec<Side> {
        let listeners = self.tls.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sides: Vec<_> = listeners.values().cloned().map(Side::In).collect();
        drop(listeners);
        let engines = self.engines();
        sides.extend(engines.iter().filter_map(|e| e.settings().tls.clone()).map(Side::Out));
        sides
    }

    /// The files of TLS as people see them, by object (`kind/name`).
    pub fn tls_shown(&self) -> Vec<(String, Shown)> {
        let shown = |side: &Side| (side.held().object().to_owned(), side.held().shown());
        self.tls_sides().iter().map(shown).collect()
    }

    /// What is in use now, by engine.
    pub fn usage(&self) -> Vec<EngineUsage> {
        self.engines().iter().map(|engine| usage_of(engine)).collect()
    }

    /// Whether a configuration was installed.
    pub fn has_config(&self) -> bool {
        self.table.load().is_some()
    }

    /// From here on new calls are answered `draining`.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why no new calls are taken, if none are: two loads.
    #[inline]
    pub(crate) fn refuses(&self) -> Option<Rejection> {
        if self.draining.load(Ordering::Relaxed) {
            return Some(Rejection::Draining);
        }
        (self.guard.memory() != Level::Fine).then_some(Rejection::Overloaded)
    }

    /// What is short.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Whether calls with HTTP/2 on both sides are relayed frame by frame (`--relay`); connections look
    /// when they begin.
    pub fn set_relay(&self, on: bool) {
        self.relay.store(on, Ordering::Relaxed);
    }

    /// Whether calls with HTTP/2 on both sides are relayed frame by frame.
    pub fn relays(&self) -> bool {
        self.relay.load(Ordering::Relaxed)
    }

    /// Calls running or waiting now.
    pub fn calls_open(&self) -> usize {
        self.calls_open.load(Ordering::Relaxed)
    }

    /// The table for a call that begins now.
    pub(crate) fn table(&self) -> Option<Arc<Table>> {
        self.table.load_full()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Has calls traced; once, before the first.
    pub fn set_tracer(&self, tracer: Arc<Tracer>) {
        // The first one stays.
        let _ = self.tracer.set(tracer);
    }

    pub(crate) fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.tracer.get()
    }

    pub(crate) fn access_log(&self) -> &AccessLog {
        &self.access_log
    }

    /// A client has connected; the connection counts as open until what is returned is dropped.
    /// `source` = its place among those of its source, and how many calls at once these may have.
    pub(crate) fn connected(
        &self,
        listener: &Name,
        peer: SocketAddr,
        source: Option<(Presence, Option<u32>)>,
    ) -> Arc<Tally> {
        self.connections.add(listener, peer, source)
    }

    /// How many client connections are open, and the `most` busiest of them.
    pub fn connections(&self, most: usize) -> (usize, Vec<OpenConnection>) {
        self.connections.busiest(most, Instant::now())
    }

    /// How the budget of a route's retries stands.
    pub fn retry_budget(&self, route: &Name, now: Instant) -> Option<Spent> {
        self.table()?.budget(route).map(|budget| budget.spent(now))
    }

    /// Counts a call of this connection as open until the answer is dropped.
    pub(crate) fn open_call(self: &Arc<Self>, connection: &Arc<Tally>) -> OpenCall {
        self.calls_open.fetch_add(1, Ordering::Relaxed);
        let fits = connection.begins();
        OpenCall { gateway: Arc::clone(self), connection: Arc::clone(connection), fits }
    }
}

/// A call that is open.
pub(crate) struct OpenCall {
    gateway: Arc<Gateway>,
    connection: Arc<Tally>,
    fits: bool,
}

impl OpenCall {
    /// Whether its source has as many calls as it may have without it.
    pub(crate) fn is_beyond(&self) -> bool {
        !self.fits
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.gateway.calls_open.fetch_sub(1, Ordering::Relaxed);
        self.connection.ends(self.fits);
    }
}

fn usage_of(engine: &Engine) -> EngineUsage {
    let settings = engine.settings();
    let (calls, failures) = engine.counted();
    let now_us = engine.clock().now_us();
    let endpoint = |member: &Member| {
        let Standing { state, cause, reason } = engine.standing(&settings, member);
        let (calls, failures) = member.endpoint.counted();
        EndpointUsage {
            address: member.endpoint.address().clone(),
            in_use: member.endpoint.in_use(),
            slots: Engine::slots_shown(&settings, member),
            state,
            cause,
            reason,
            calls,
            failures,
            first_message: member.endpoint.first_messages(now_us),
        }
    };
    let endpoints: Vec<_> = settings.members.iter().map(endpoint).collect();
    let sum = |class: usize| endpoints.iter().map(|e| e.first_message[class]).sum();
    EngineUsage {
        engine: engine.name().clone(),
        waiting: engine.waiting(),
        calls,
        failures,
        first_message: std::array::from_fn(sum),
        endpoints,
    }
}
