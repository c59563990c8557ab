//! Listeners: sockets that follow the configuration, and their draining.

mod accept;
mod handed;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use pigeon_proto::model::{self, Name, Snapshot};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use self::accept::Door;
pub(crate) use self::accept::{Phase, at_least};
pub use self::handed::{Handed, Sockets};
pub use self::socket::Inherited;
use crate::gateway::Gateway;
use crate::guard::for_clients;
use crate::http::Upstreams;
use crate::takeover::predecessor::Offered;
use crate::tls::Inbound;
use crate::worker::Workers;

/// How long connections may take to notice that they were cut.
const CUT_LIMIT: Duration = Duration::from_secs(2);

/// How long connections that have nothing to do may still send a call before they are closed.
pub const GRACE: Duration = Duration::from_secs(1);

/// Whether connections are accepted, by all listeners alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// Not yet: who comes waits in the queues of the sockets.
    Waiting,
    /// Yes.
    Open,
    /// No more: another process does.
    Shut,
}

/// The listeners of this proxy.
pub struct Listeners {
    gateway: Arc<Gateway>,
    workers: Workers,
    /// `--bind`; a port 0 is replaced by the port it led to.
    binds: BTreeMap<Name, SocketAddr>,
    /// Sockets of the process before that no listener has claimed.
    inherited: Inherited,
    /// Those of the service manager, open for as long as this process runs.
    handed: Sockets,
    gate: watch::Sender<Gate>,
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
    /// The same; none = in the clear.
    tls: Arc<ArcSwapOption<Inbound>>,
    phase: watch::Sender<Phase>,
    /// Copies of its sockets, for the process that takes over.
    sockets: Vec<TcpListener>,
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
    /// one. Listeners where one of the sockets `handed` is use that.
    pub fn new(
        gateway: Arc<Gateway>,
        workers: Workers,
        binds: BTreeMap<Name, SocketAddr>,
        handed: Sockets,
    ) -> Listeners {
        for worker in workers.iter() {
            let upstreams = Arc::downgrade(&worker.upstreams);
            worker.runtime.spawn(Upstreams::sweep(upstreams, Arc::downgrade(&gateway)));
        }
        Listeners {
            gateway,
            workers,
            binds,
            inherited: Inherited::default(),
            handed,
            gate: watch::Sender::new(Gate::Open),
            open: BTreeMap::new(),
            closing: Vec::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Uses these sockets, which are open already, for listeners that are where they are.
    pub fn inherit(&mut self, inherited: Inherited) {
        self.inherited = inherited;
    }

    /// Closes inherited sockets that no listener wanted.
    pub fn forget_inherited(&mut self) {
        self.inherited = Inherited::default();
    }

    /// Opens and shuts all listeners for connections; open at first.
    pub fn gate(&self) -> watch::Sender<Gate> {
        self.gate.clone()
    }

    /// Copies of the sockets of all open listeners.
    pub fn offer(&self) -> Vec<Offered> {
        let offered = |(name, open): (&Name, &Open)| {
            let copies = open.sockets.iter().map(TcpListener::try_clone);
            // For want of descriptors: the new process opens that one by itself, and says if it cannot.
            let sockets = copies.collect::<io::Result<_>>().ok()?;
            Some(Offered { name: name.clone(), address: open.address, sockets })
        };
        self.open.iter().filter_map(offered).collect()
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
            self.close(&name, GRACE);
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

    /// Stops accepting, tells clients (GOAWAY, `connection: close`), closes connections without a call after
    /// `grace`, lets calls end for at most `limit`, then cuts what is left and stops the workers.
    pub async fn drain(mut self, limit: Duration, grace: Duration) {
        let names: Vec<Name> = self.open.keys().cloned().collect();
        for name in names {
            self.close(&name, grace);
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
        // Before anything is touched: if the files are no good, what there was goes on.
        let tls = self.inbound(name, spec)?;
        if let Some(open) = self.open.get(name)
            && open.address == wanted
        {
            open.tls.store(tls.clone());
            open.settings.store(Arc::new(spec.clone()));
            self.gateway.tls().listens(name, tls);
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
        let workers = self.workers.iter().count();
        let sockets = match self.inherited.claim(name, wanted) {
            Some(sockets) => sockets.fill(workers)?,
            None => self.open(wanted, workers, holder.is_some())?,
        };
        let copies = sockets.sockets.iter().map(TcpListener::try_clone).collect::<io::Result<_>>();
        let copies = copies.map_err(|e| format!("cannot listen on {wanted}: {e}"))?;
        self.close(name, GRACE);
        if let Some(bind) = self.binds.get_mut(name) {
            *bind = sockets.address;
        }
        tracing::info!(listener = %name, address = %sockets.address, "listening");
        if let Some(limit) = self.gateway.guard().descriptors()
            && for_clients(limit) < spec.max_connections
        {
            tracing::warn!(
                listener = %name, max_connections = spec.max_connections, limit,
                "the limit of file descriptors is below max_connections: connections above {} are closed; \
                 raise it (LimitNOFILE, ulimit -n)",
                for_clients(limit)
            );
        }
        let open = self.start(name, spec, tls.clone(), (sockets, copies));
        self.gateway.tls().listens(name, tls);
        self.open.insert(name.clone(), open);
        Ok(())
    }

    /// Sockets on `address` for `n` workers; `ours` = another listener has it, and is about to leave.
    fn open(&self, address: SocketAddr, n: usize, ours: bool) -> Result<socket::Opened, String> {
        let handed = self.handed.claim(address, n);
        let sockets = handed.map_err(|e| socket::explain(address, &e))?;
        if sockets.is_empty() {
            return socket::open(address, n, ours);
        }
        Ok(socket::Opened { address, sockets })
    }

    /// The TLS of a listener: what it has, or what its files say.
    fn inbound(&self, name: &Name, spec: &model::Listener) -> Result<Option<Arc<Inbound>>, String> {
        let Some(spec) = &spec.tls else { return Ok(None) };
        let before = self.open.get(name).and_then(|open| open.tls.load_full());
        match before {
            Some(before) if before.spec() == spec => Ok(Some(before)),
            before => Inbound::open(name, spec, before.as_deref()).map(Some),
        }
    }

    /// Gives each worker its socket, or its sockets: each has to be accepted on, however many there are.
    fn start(
        &self,
        name: &Name,
        spec: &model::Listener,
        tls: Option<Arc<Inbound>>,
        (sockets, copies): (socket::Opened, Vec<TcpListener>),
    ) -> Open {
        let settings = Arc::new(ArcSwap::from_pointee(spec.clone()));
        let tls = Arc::new(ArcSwapOption::new(tls));
        let (phase, _) = watch::channel(Phase::Open);
        let (count, present) = (Arc::default(), Arc::default());
        let series = self.gateway.metrics().listener(name);
        let workers: Vec<_> = self.workers.iter().collect();
        for (worker, socket) in workers.iter().cycle().zip(sockets.sockets) {
            let door = Door {
                name: name.clone(),
                gateway: Arc::clone(&self.gateway),
                upstreams: Arc::clone(&worker.upstreams),
                relay: Arc::clone(&worker.relay),
                settings: Arc::clone(&settings),
                tls: Arc::clone(&tls),
                count: Arc::clone(&count),
                present: Arc::clone(&present),
                series: series.clone(),
                phase: phase.subscribe(),
                gate: self.gate.subscribe(),
                tasks: self.tasks.clone(),
            };
            self.tasks.spawn_on(door.attend(socket), &worker.runtime);
        }
        Open { address: sockets.address, settings, tls, phase, sockets: copies }
    }

    fn close(&mut self, name: &Name, grace: Duration) {
        let Some(open) = self.open.remove(name) else { return };
        self.gateway.tls().listens(name, None);
        open.phase.send_replace(Phase::Draining);
        let phase = open.phase.clone();
        self.closing.push(open.phase);
        if let Some(worker) = self.workers.iter().next() {
            worker.runtime.spawn(async move {
                tokio::time::sleep(grace).await;
                phase.send_if_modified(|phase| {
                    let late = *phase < Phase::Late;
                    *phase = (*phase).max(Phase::Late);
                    late
                });
            });
        }
    }
}
