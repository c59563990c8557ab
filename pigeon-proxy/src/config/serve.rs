//! Makes received configurations serve: applies them, installs them in the gateway, moves the listeners,
//! keeps last known good, and says what came of it.

mod keep;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use pigeon_proto::model::{
    Engine, Key, Kind, Listener, Name, RawKey, RawObject, RawState, Snapshot, Spec, Versioned, code,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::apply::Applier;
use super::last_known_good::Saved;
use keep::Keep;

use super::{Received, Rejected, Serving, Source, Timings};
use crate::gateway::Gateway;
use crate::listen::Listeners;
use crate::metrics::config::ConfigMetrics;
use crate::takeover::predecessor::Ask;
use crate::tls;

/// Owns the listeners and whatever serves.
pub struct Server {
    applier: Applier,
    gateway: Arc<Gateway>,
    listeners: Listeners,
    metrics: ConfigMetrics,
    timings: Timings,
    serving: watch::Sender<Serving>,
    /// What the gateway holds.
    installed: Option<Arc<Snapshot>>,
    /// What the listeners follow.
    wanted: Arc<Snapshot>,
    /// Which version of each open listener is open.
    open: BTreeMap<Name, u64>,
    /// Objects set aside, then listeners that cannot listen.
    unusable: Vec<Rejected>,
    /// Some of these may be good later.
    waits: bool,
    deaf: Vec<Rejected>,
    received: Option<Received>,
    retry_at: Option<Instant>,
    keep: Option<Keep>,
}

impl Server {
    /// Serves nothing yet; `last_known_good` is the file to keep, with an admin.
    pub fn new(
        gateway: Arc<Gateway>,
        listeners: Listeners,
        metrics: ConfigMetrics,
        timings: Timings,
        last_known_good: Option<PathBuf>,
    ) -> Self {
        let keep = |path| Keep::new(path, timings.save_every, metrics.clone());
        let keep = last_known_good.map(keep);
        Self {
            applier: Applier::default(),
            gateway,
            listeners,
            metrics,
            timings,
            serving: watch::Sender::default(),
            installed: None,
            wanted: Arc::default(),
            open: BTreeMap::new(),
            unusable: Vec::new(),
            waits: false,
            deaf: Vec::new(),
            received: None,
            retry_at: None,
            keep,
        }
    }

    /// What serves, now and whenever it changes.
    pub fn serving(&self) -> watch::Receiver<Serving> {
        self.serving.subscribe()
    }

    /// Opens the standard listener while there is no configuration; its calls are answered `no_config`.
    pub fn stand_by(&mut self) {
        let key = Key { kind: Kind::Listener, name: standard_name() };
        let spec = Arc::new(Spec::Listener(Listener::standard()));
        let objects = [(key, Versioned { mod_revision: 0, spec })].into();
        self.wanted = Arc::new(Snapshot { revision: 0, objects });
        self.listen();
        self.publish();
    }

    /// What an earlier run knew beside the raw state: versions that stand in, and how far it had come.
    pub fn remember(&mut self, stand_ins: Vec<(RawKey, RawObject)>, effective: u64) {
        self.applier.preset(stand_ins);
        self.serving.send_modify(|s| s.effective = effective);
    }

    /// Makes a received configuration serve, as far as it can be used.
    pub fn take(&mut self, received: Received) {
        let raw = &received.held.raw;
        if raw.revision() == 0 {
            return;
        }
        let known = self.received.replace(received.clone());
        if known.as_ref().is_none_or(|k| k.held != received.held) {
            self.apply(raw);
            self.listen();
            self.save_soon(received.source);
        }
        self.publish();
    }

    /// Installs what of `raw` can be used.
    fn apply(&mut self, raw: &RawState) {
        let applied = self.applier.apply(raw, files_usable);
        if self.installed.as_ref().is_none_or(|i| i.objects != applied.snapshot.objects) {
            self.gateway.install(&applied.snapshot);
        }
        self.installed = Some(Arc::clone(&applied.snapshot));
        self.wanted = applied.snapshot;
        for r in applied.rejected.iter().filter(|r| !self.unusable.contains(r)) {
            tracing::warn!(object = %format_args!("{}/{}", r.kind, r.name), code = %r.code,
                    serving_revision = r.serving_mod_revision, "cannot use an object: {}", r.message);
        }
        self.waits = applied.waits;
        self.unusable = applied.rejected;
    }

    /// What could not be opened or used for want of something that may come: an address, a file.
    fn retry(&mut self) {
        let received = self.received.clone();
        if let Some(received) = received.filter(|_| self.waits) {
            self.apply(&received.held.raw);
        }
        self.listen();
        self.publish();
    }

    /// Opens, moves and closes listeners; what does not work is tried again later.
    fn listen(&mut self) {
        let errors = self.listeners.reconcile(&self.wanted);
        let bound = self.listeners.bound();
        self.open.retain(|name, _| bound.contains_key(name));
        let failed = |name: &Name| errors.iter().any(|e| e.name == *name);
        for (key, version) in &self.wanted.objects {
            if key.kind == Kind::Listener && !failed(&key.name) && bound.contains_key(&key.name) {
                self.open.insert(key.name.clone(), version.mod_revision);
            }
        }
        let rejected = errors.into_iter().map(|e| {
            let key = Key { kind: Kind::Listener, name: e.name };
            Rejected {
                kind: Kind::Listener.to_string(),
                mod_revision: self.wanted.objects.get(&key).map_or(0, |v| v.mod_revision),
                serving_mod_revision: self.open.get(&key.name).copied().unwrap_or(0),
                name: key.name.to_string(),
                code: code::CANNOT_LISTEN.to_owned(),
                message: super::clip(&e.message),
            }
        });
        let rejected: Vec<_> = rejected.collect();
        for r in rejected.iter().filter(|r| !self.deaf.contains(r)) {
            tracing::error!(listener = %r.name, code = %r.code, "cannot listen: {}", r.message);
        }
        self.deaf = rejected;
        let again = !self.deaf.is_empty() || self.waits;
        self.retry_at = again.then(|| Instant::now() + self.timings.listen_retry);
    }

    fn publish(&mut self) {
        let received = self.received.as_ref();
        let revision = received.map_or(0, |r| r.held.raw.revision());
        let mut next = Serving {
            source: received.map_or(Source::None, |r| r.source),
            received: revision,
            effective: self.serving.borrow().effective,
            rejected: [&self.unusable[..], &self.deaf[..]].concat(),
            listen: self.listeners.bound(),
            config: Arc::clone(&self.wanted),
            at: received.map(|r| r.at),
        };
        if next.rejected.is_empty() && revision > 0 {
            next.effective = revision;
        }
        self.metrics.serving(&next);
        self.serving.send_if_modified(|current| {
            let changed = *current != next;
            *current = next;
            changed
        });
    }

    fn save_soon(&mut self, source: Source) {
        if let Some(keep) = self.keep.as_mut().filter(|_| source == Source::Stream) {
            keep.changed();
        }
    }

    /// What of the last received configuration is worth keeping.
    fn saved(&self) -> Option<Saved> {
        let received = self.received.as_ref().filter(|r| r.source == Source::Stream)?;
        let stands_in = |r: &Rejected| {
            let key = Key { kind: r.kind.parse().ok()?, name: r.name.parse().ok()? };
            let version = self.applier.served().objects.get(&key)?;
            let object =
                RawObject { mod_revision: version.mod_revision, spec: version.spec.encode() };
            Some(((r.kind.clone(), r.name.clone()), object))
        };
        Some(Saved {
            held: received.held.clone(),
            effective: self.serving.borrow().effective,
            stand_ins: self.unusable.iter().filter_map(stands_in).collect(),
            at: SystemTime::now(),
        })
    }

    async fn save(&mut self) {
        let saved = self.saved();
        if let (Some(keep), Some(saved)) = (&mut self.keep, saved) {
            keep.written().await;
            keep.write(saved);
        }
    }

    /// Follows the received configurations until told to stop; gives the listeners back for draining.
    pub async fn run(
        mut self,
        mut received: watch::Receiver<Option<Received>>,
        mut asks: mpsc::Receiver<Ask>,
        stop: CancellationToken,
    ) -> Listeners {
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = received.changed(), if open => match changed {
                    Ok(()) => {
                        let next = received.borrow_and_update().clone();
                        next.into_iter().for_each(|r| self.take(r));
                    }
                    Err(_) => open = false,
                },
                Some(ask) = asks.recv() => self.offer(ask).await,
                () = at(self.retry_at) => self.retry(),
                () = due(&mut self.keep) => self.save().await,
            }
        }
        self.settle().await;
        self.listeners
    }

    /// Gives a new process what it needs, last known good up to date.
    async fn offer(&mut self, ask: Ask) {
        self.settle().await;
        // An error says that the new process has given up.
        let _ = ask.send(self.listeners.offer());
    }

    /// Writes what is to be written.
    async fn settle(&mut self) {
        if self.keep.as_ref().is_some_and(Keep::is_due) {
            self.save().await;
        }
        if let Some(keep) = &mut self.keep {
            keep.written().await;
        }
    }

    /// What an earlier process opened and no listener here wants is closed.
    pub fn forget_inherited(&mut self) {
        self.listeners.forget_inherited();
    }
}

/// Whether the files of an engine can be used here. Those of a listener are looked at when it is opened.
fn files_usable(spec: &Spec) -> Result<(), String> {
    match spec {
        Spec::Engine(Engine { tls: Some(tls), .. }) => tls::usable(tls),
        _ => Ok(()),
    }
}

/// The name of the listener that exists from the first start.
pub fn standard_name() -> Name {
    // A constant that is a name.
    "default".parse().unwrap_or_else(|_| unreachable!())
}

async fn due(keep: &mut Option<Keep>) {
    match keep {
        Some(keep) => keep.due().await,
        None => std::future::pending().await,
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}
