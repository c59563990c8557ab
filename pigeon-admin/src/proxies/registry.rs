//! Every proxy heard of, by its node id, and the session that may change what is known of it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use super::{Proxies, ProxyState, Rejection, UsageReport};

/// Proxies that are away but stay listed; the one longest away goes first.
const MOST_AWAY: usize = 10_000;

/// How a proxy introduces itself.
#[derive(Clone, Debug, Default)]
pub struct Hello {
    /// Stable and exclusive.
    pub node_id: String,
    /// Grows with every start of the proxy.
    pub incarnation: u64,
    /// Machine and boot id.
    pub machine: String,
    /// The name people see.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Listener name → host:port.
    pub listen: BTreeMap<String, String>,
    /// The revision it holds.
    pub revision: u64,
}

/// The open stream of one proxy; dropping it says that the proxy is away.
pub struct Session {
    proxies: Proxies,
    node_id: String,
    id: u64,
    replaced: CancellationToken,
}

#[derive(Default)]
pub(super) struct Registry {
    entries: HashMap<String, Entry>,
    sessions: u64,
}

struct Entry {
    state: ProxyState,
    acked: Option<Instant>,
    usage: UsageReport,
    /// The session that speaks for it; older ones are ignored.
    session: u64,
    replaced: CancellationToken,
    away_since: Option<Instant>,
}

impl Registry {
    pub(super) fn list(&self) -> Vec<ProxyState> {
        let mut all: Vec<_> = self.entries.values().map(Entry::shown).collect();
        all.sort_by(|a, b| (&a.name, &a.node_id).cmp(&(&b.name, &b.node_id)));
        all
    }

    /// What every connected proxy, by name, carries.
    pub(super) fn usage(&self) -> impl Iterator<Item = (&str, &UsageReport)> {
        self.connected().map(|e| (e.state.name.as_str(), &e.usage))
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        (self.connected().count(), self.entries.len())
    }

    pub(super) fn connected_states(&self) -> impl Iterator<Item = &ProxyState> {
        self.connected().map(|e| &e.state)
    }

    fn connected(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|e| e.state.connected)
    }

    fn connect(&mut self, hello: Hello) -> (u64, CancellationToken) {
        self.sessions += 1;
        let replaced = CancellationToken::new();
        let old = self.entries.remove(&hello.node_id);
        if let Some(old) = &old {
            warn_of_a_copy(old, &hello);
            old.replaced.cancel();
        }
        let entry = Entry::new(hello, self.sessions, replaced.clone(), old);
        self.entries.insert(entry.state.node_id.clone(), entry);
        (self.sessions, replaced)
    }

    fn disconnect(&mut self, node_id: &str, session: u64) {
        let Some(entry) = self.entries.get_mut(node_id).filter(|e| e.session == session) else {
            return;
        };
        entry.state.connected = false;
        entry.away_since = Some(Instant::now());
        entry.usage = UsageReport::default();
        let away = || self.entries.iter().filter_map(|(id, e)| e.away_since.map(|t| (t, id)));
        if away().count() > MOST_AWAY
            && let Some(oldest) = away().min().map(|(_, id)| id.clone())
        {
            self.entries.remove(&oldest);
        }
    }
}

/// Two machines with one node id are a copied state directory; they would replace each other for ever.
fn warn_of_a_copy(old: &Entry, new: &Hello) {
    if old.state.connected && old.state.machine != new.machine {
        tracing::warn!(
            proxy = new.name,
            node_id = new.node_id,
            before = old.state.machine,
            now = new.machine,
            "two machines use the same node id; give each proxy its own state directory"
        );
    }
}

impl Entry {
    fn new(hello: Hello, session: u64, replaced: CancellationToken, old: Option<Self>) -> Self {
        // The same process after a broken connection: what it said still holds.
        let same = old.filter(|o| o.state.incarnation == hello.incarnation);
        let acked = same.as_ref().and_then(|o| o.acked);
        let state = ProxyState {
            name: hello.name,
            node_id: hello.node_id,
            incarnation: hello.incarnation,
            version: hello.version,
            machine: hello.machine,
            connected: true,
            connected_at_ms: now_ms(),
            listen: hello.listen,
            source: same.as_ref().map_or_else(|| "none".into(), |o| o.state.source.clone()),
            revision: hello.revision,
            effective: same.as_ref().map_or(0, |o| o.state.effective.min(hello.revision)),
            last_ack_ms: same.as_ref().and_then(|o| o.state.last_ack_ms),
            last_ack_age: None,
            rejected: same.map(|o| o.state.rejected).unwrap_or_default(),
        };
        let usage = UsageReport::default();
        Self { state, acked, usage, session, replaced, away_since: None }
    }

    fn shown(&self) -> ProxyState {
        let last_ack_age = self.acked.map(|t| t.elapsed());
        ProxyState { last_ack_age, ..self.state.clone() }
    }
}

impl Proxies {
    /// Begins the session of a proxy; an older one of the same node id is told to end.
    pub fn connect(&self, hello: Hello) -> Session {
        let node_id = hello.node_id.clone();
        let (id, replaced) = self.registry().connect(hello);
        self.touch();
        Session { proxies: self.clone(), node_id, id, replaced }
    }
}

impl Session {
    /// Cancelled when a newer stream of the same proxy takes over.
    pub fn replaced(&self) -> &CancellationToken {
        &self.replaced
    }

    /// Records what the proxy acknowledged.
    pub fn ack(&self, received: u64, effective: u64, rejected: Vec<Rejection>) {
        self.change(|e| {
            e.state.revision = received;
            e.state.effective = effective;
            e.state.rejected = rejected;
            e.state.last_ack_ms = Some(now_ms());
            e.acked = Some(Instant::now());
        });
    }

    /// Records where its configuration came from and where it listens.
    pub fn status(&self, source: &str, listen: BTreeMap<String, String>) {
        self.change(|e| {
            source.clone_into(&mut e.state.source);
            if !listen.is_empty() {
                e.state.listen = listen;
            }
        });
    }

    /// Records what it carries.
    pub fn usage(&self, usage: UsageReport) {
        self.change(|e| e.usage = usage);
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        let mut registry = self.proxies.registry();
        let entry = registry.entries.get_mut(&self.node_id).filter(|e| e.session == self.id);
        if let Some(entry) = entry {
            change(entry);
            drop(registry);
            self.proxies.touch();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.proxies.registry().disconnect(&self.node_id, self.id);
        self.proxies.touch();
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
