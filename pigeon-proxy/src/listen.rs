//! Listeners: sockets that follow the configuration, and their draining.

mod accept;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pigeon_proto::model::{self, Name, Snapshot};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use self::accept::Door;
pub(crate) use self::accept::{Phase, at_least};
use crate::gateway::Gateway;
use crate::http::Upstreams;
use crate::worker::Workers;

/// How long connections may take to notice that they were cut.
const CUT_LIMIT: Duration = Duration::from_secs(2);

/// The listeners of this proxy.
pub struct Listeners {
    gateway: Arc<Gateway>,
    workers: Workers,
    /// `--bind`; a port 0 is replaced by the port it led to.
    binds: BTreeMap<Name, SocketAddr>,
    open: BTreeMap<Name, Open>,
    /// Listeners that are gone and whose connections may still end.
    closing: Vec<watch::Sender<Phase>>,
    /// Accept loops and connections.
    tasks: TaskTracker,
}

/// An open listener.
struct Open {
    address: SocketAddr,
    /// Looked at by every connection when it begins.
    settings: Arc<ArcSwap<model::Listener>>,
    phase: watch::Sender<Phase>,
}

/// A listener that could not be opened or moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenError {
    /// Which listener.
    pub name: Name,
    /// What is wrong, with the address, and what to do.
    pub message: String,
}

impl Listeners {
    /// No listener yet. `binds` moves listeners for this proxy (`--bind NAME=ADDR`); port 0 takes a free
    /// one.
    pub fn new(
        gateway: Arc<Gateway>,
        workers: Workers,
        binds: BTreeMap<Name, SocketAddr>,
    ) -> Listeners {
        for worker in workers.iter() {
            let upstreams = Arc::downgrade(&worker.upstreams);
            worker.runtime.spawn(Upstreams::sweep(upstreams, Arc::downgrade(&gateway)));
        }
        Listeners {
            gateway,
            workers,
            binds,
            open: BTreeMap::new(),
            closing: Vec::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Makes the open listeners those of `snapshot`: opens new ones, moves those whose address changed,
    /// closes those that are gone; connections of a closed one go on until their calls have ended. If
    /// one cannot be opened where it should be, it stays open where it was.
    pub fn reconcile(&mut self, snapshot: &Snapshot) -> Vec<ListenError> {
        self.closing.retain(|phase| !phase.is_closed());
        let wanted: BTreeSet<&Name> = snapshot.listeners().map(|(name, _)| name).collect();
        let gone: Vec<Name> =
            self.open.keys().filter(|name| !wanted.contains(name)).cloned().collect();
        for name in gone {
            self.close(&name);
            self.gateway.metrics().forget_listener(&name);
        }
        let targets: BTreeMap<Name, SocketAddr> = snapshot
            .listeners()
            .map(|(name, spec)| (name.clone(), self.target(name, spec)))
            .collect();
        let mut errors = Vec::new();
        for (name, spec) in snapshot.listeners() {
            if let Err(message) = self.ensure(name, spec, &targets) {
                errors.push(ListenError { name: name.clone(), message });
            }
        }
        errors
    }

    /// Where a listener should listen on this proxy.
    fn target(&self, name: &Name, spec: &model::Listener) -> SocketAddr {
        self.binds.get(name).copied().unwrap_or(spec.address.0)
    }

    /// Where each open listener really listens.
    pub fn bound(&self) -> BTreeMap<Name, SocketAddr> {
        self.open.iter().map(|(name, open)| (name.clone(), open.address)).collect()
    }

    /// Stops accepting, tells clients (GOAWAY, `connection: close`), lets calls end for at most `limit`,
    /// then cuts what is left and stops the workers.
    pub async fn drain(mut self, limit: Duration) {
        let names: Vec<Name> = self.open.keys().cloned().collect();
        for name in names {
            self.close(&name);
        }
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!(calls = self.gateway.calls_open(), "cutting the calls that are left");
            for phase in &self.closing {
                phase.send_replace(Phase::Cut);
            }
            // Whatever does not notice ends with its worker.
            let _ = tokio::time::timeout(CUT_LIMIT, self.tasks.wait()).await;
        }
        let workers = self.workers;
        // Joining threads blocks; an error says that the runtime itself is about to end.
        let _ = tokio::task::spawn_blocking(move || workers.stop()).await;
    }

    /// Has the listener open as `spec` says. `targets` = where each listener should be.
    fn ensure(
        &mut self,
        name: &Name,
        spec: &model::Listener,
        targets: &BTreeMap<Name, SocketAddr>,
    ) -> Result<(), String> {
        let wanted = self.target(name, spec);
        if let Some(open) = self.open.get(name)
            && open.address == wanted
        {
            open.settings.store(Arc::new(spec.clone()));
            return Ok(());
        }
        let holder =
            self.open.iter().find(|(_, open)| open.address == wanted).map(|(name, _)| name);
        if let Some(other) = holder.filter(|other| targets.get(other) == Some(&wanted)) {
            // Possible by `--bind` only; both would accept, each some of the connections.
            return Err(format!(
                "{wanted} is also the address of listener \"{other}\" on this proxy; \
                 give one of them another with --bind"
            ));
        }
        let sockets = socket::open(wanted, self.workers.iter().count(), holder.is_some())?;
        self.close(name);
        if let Some(bind) = self.binds.get_mut(name) {
            *bind = sockets.address;
        }
        tracing::info!(listener = %name, address = %sockets.address, "listening");
        let open = self.start(name, spec, sockets);
        self.open.insert(name.clone(), open);
        Ok(())
    }

    /// Gives each worker its socket.
    fn start(&self, name: &Name, spec: &model::Listener, sockets: socket::Sockets) -> Open {
        let settings = Arc::new(ArcSwap::from_pointee(spec.clone()));
        let (phase, _) = watch::channel(Phase::Open);
        let count = Arc::default();
        let series = self.gateway.metrics().listener(name);
        for (worker, socket) in self.workers.iter().zip(sockets.sockets) {
            let door = Door {
                name: name.clone(),
                gateway: Arc::clone(&self.gateway),
                upstreams: Arc::clone(&worker.upstreams),
                relay: Arc::clone(&worker.relay),
                settings: Arc::clone(&settings),
                count: Arc::clone(&count),
                series: series.clone(),
                phase: phase.subscribe(),
                tasks: self.tasks.clone(),
            };
            self.tasks.spawn_on(door.attend(socket), &worker.runtime);
        }
        Open { address: sockets.address, settings, phase }
    }

    fn close(&mut self, name: &Name) {
        if let Some(open) = self.open.remove(name) {
            open.phase.send_replace(Phase::Draining);
            self.closing.push(open.phase);
        }
    }
}
