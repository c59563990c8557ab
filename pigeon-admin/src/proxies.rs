//! Who is connected, and what they acknowledged, refused and use.
//!
//! In memory only: a proxy that is away stays listed until the admin restarts.

mod applied;
mod latency;
mod registry;
mod report;
mod usage;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub use applied::Applied;
pub use latency::{FirstMessage, Histogram};
use registry::Registry;
pub use registry::{Hello, Session};
pub use report::{EndpointReport, EngineReport, UsageReport};
pub use usage::{EndpointState, EndpointUse, EndpointView, EngineUse};

/// One proxy as last heard of.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyState {
    /// The name people see.
    pub name: String,
    /// Stable and exclusive, kept in its state directory.
    pub node_id: String,
    /// Grows with every start of the proxy.
    pub incarnation: u64,
    /// Version of the program.
    pub version: String,
    /// Machine and boot id.
    pub machine: String,
    /// Whether its stream is open now.
    pub connected: bool,
    /// When its newest stream began, Unix time in milliseconds.
    pub connected_at_ms: i64,
    /// Where it really listens: listener name → host:port.
    pub listen: BTreeMap<String, String>,
    /// Where its configuration came from: `stream`, `lkg` or `none`.
    pub source: String,
    /// The revision it has received.
    pub revision: u64,
    /// The newest revision it serves with nothing refused.
    pub effective: u64,
    /// When it last acknowledged anything, Unix time in milliseconds.
    pub last_ack_ms: Option<i64>,
    /// How long ago that was, by a clock that does not jump.
    pub last_ack_age: Option<Duration>,
    /// Objects it cannot use.
    pub rejected: Vec<Rejection>,
}

impl ProxyState {
    /// `disconnected`, `rejected`, `behind` or `in_sync`, measured against revision `current`.
    pub fn state(&self, current: u64) -> &'static str {
        match () {
            () if !self.connected => "disconnected",
            () if !self.rejected.is_empty() => "rejected",
            () if self.effective < current => "behind",
            () => "in_sync",
        }
    }
}

/// One object that a proxy cannot use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// The version refused.
    pub mod_revision: u64,
    /// A stable code such as `PGN-P301`.
    pub code: String,
    /// Why.
    pub message: String,
    /// The version still serving in its place; 0 = the object is not served at all.
    pub serving_mod_revision: u64,
}

/// Cheap handle; clones share everything.
#[derive(Clone, Default)]
pub struct Proxies {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    registry: Mutex<Registry>,
    changed: watch::Sender<u64>,
}

impl Proxies {
    /// Every proxy heard of since the start, by name.
    pub fn list(&self) -> Vec<ProxyState> {
        self.registry().list()
    }

    /// The proxy of that name; of several the connected one.
    pub fn get(&self, name: &str) -> Option<ProxyState> {
        let mut found: Vec<_> = self.list().into_iter().filter(|p| p.name == name).collect();
        found.sort_by_key(|p| (!p.connected, std::cmp::Reverse(p.connected_at_ms)));
        found.into_iter().next()
    }

    /// What the connected proxies carry, by engine name.
    pub fn usage(&self) -> BTreeMap<String, EngineUse> {
        report::sum(self.registry().usage())
    }

    /// A number that moves with every change of anything here.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// How many proxies are connected, and how many are known.
    pub fn counts(&self) -> (usize, usize) {
        self.registry().counts()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // Nothing here can panic half-way through a change, so a poisoned lock still guards a whole state.
        self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.shared.changed.send_modify(|n| *n = n.wrapping_add(1));
    }
}
