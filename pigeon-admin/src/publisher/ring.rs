//! The newest deltas, for subscribers that follow, and the newest state, for those that begin.
//!
//! One ring for all. A subscriber owns nothing but the revision it has come to, so there is no queue that
//! could fill up, and publishing waits for nobody.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use pigeon_proto::digest::Digest;
use pigeon_proto::model::RawState;
use pigeon_proto::v1;
use prost::Message as _;
use tokio::sync::{OnceCell, watch};

use super::delta::delta;
use super::snapshot::{self, Packed};
use crate::catalog::View;

/// How much is kept; a subscriber further behind needs a snapshot.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Deltas.
    entries: usize,
    /// Their bytes together.
    bytes: usize,
}

const LIMITS: Limits = Limits { entries: 4_096, bytes: 16 << 20 };

/// See the module.
pub struct Ring {
    inner: RwLock<Inner>,
    newest: watch::Sender<u64>,
}

struct Inner {
    limits: Limits,
    /// Each continues the one before; the last leads to `state`.
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// Where the oldest entry begins.
    oldest: (u64, Digest),
    state: Arc<State>,
}

struct Entry {
    prev: u64,
    revision: u64,
    digest: Digest,
    message: v1::ConfigDown,
    bytes: usize,
}

/// The newest published state.
pub struct State {
    /// What proxies hold at it.
    pub raw: RawState,
    packed: OnceCell<Packed>,
}

/// What comes after a revision.
pub enum Next {
    /// Nothing yet.
    Nothing,
    /// A delta that leads to the revision.
    Delta(u64, v1::ConfigDown),
    /// The ring does not reach back so far.
    Gone,
}

impl Ring {
    /// A ring without deltas at the revision of `view`.
    pub fn new(view: &View) -> Self {
        Self::within(view, LIMITS)
    }

    fn within(view: &View, limits: Limits) -> Self {
        let inner = Inner::new(view, limits);
        let newest = watch::Sender::new(inner.state.raw.revision());
        Self { inner: RwLock::new(inner), newest }
    }

    /// Adds what became different; does nothing if nothing is newer.
    pub fn publish(&self, view: &View) {
        // Only the publisher's one task writes, so what is read here cannot change before it writes.
        let old = self.state();
        if view.revision <= old.raw.revision() {
            return;
        }
        let delta = delta(&old.raw, view);
        let mut raw = old.raw.clone();
        let applied = raw.apply(delta.clone());
        debug_assert!(applied.is_ok(), "a delta that does not apply: {applied:?}");
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        match applied {
            Ok(()) => {
                let entry = Entry::new(delta, raw.digest());
                inner.push(entry, Arc::new(State { raw, packed: OnceCell::new() }));
            }
            Err(e) => {
                // Would be a fault of `delta`. Without deltas everyone gets a snapshot, which is right.
                tracing::error!(error = %e, "a delta cannot be published; beginning anew");
                *inner = Inner::new(view, inner.limits);
            }
        }
        drop(inner);
        self.newest.send_replace(view.revision);
    }

    /// The newest published revision.
    pub fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    /// The newest published revision, and when it moves.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The newest published state.
    pub fn state(&self) -> Arc<State> {
        self.read().state.clone()
    }

    /// The oldest revision that deltas of the ring continue.
    pub fn oldest(&self) -> u64 {
        self.read().oldest.0
    }

    /// The digest at a revision; `None` if it was never published or is too old.
    pub fn digest_at(&self, revision: u64) -> Option<Digest> {
        let inner = self.read();
        if inner.oldest.0 == revision {
            return Some(inner.oldest.1);
        }
        let at = inner.entries.binary_search_by_key(&revision, |e| e.revision).ok()?;
        inner.entries.get(at).map(|e| e.digest)
    }

    /// What comes after `revision`.
    pub fn after(&self, revision: u64) -> Next {
        let inner = self.read();
        if revision == inner.state.raw.revision() {
            return Next::Nothing;
        }
        let found = inner.entries.binary_search_by_key(&revision, |e| e.prev);
        match found.ok().and_then(|at| inner.entries.get(at)) {
            Some(entry) => Next::Delta(entry.revision, entry.message.clone()),
            None => Next::Gone,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn new(view: &View, limits: Limits) -> Self {
        // A first delta from nothing: the same code that makes all others. A map has no key twice, which is
        // all that could be wrong with it.
        let first = delta(&RawState::default(), view);
        let raw = RawState::new(view.revision, first.put).unwrap_or_default();
        debug_assert_eq!(raw.revision(), view.revision);
        let oldest = (raw.revision(), raw.digest());
        let state = Arc::new(State { raw, packed: OnceCell::new() });
        Self { limits, entries: VecDeque::new(), bytes: 0, oldest, state }
    }

    fn push(&mut self, entry: Entry, state: Arc<State>) {
        debug_assert_eq!(entry.prev, self.state.raw.revision());
        self.bytes += entry.bytes;
        self.entries.push_back(Arc::new(entry));
        self.state = state;
        while self.entries.len() > self.limits.entries || self.bytes > self.limits.bytes {
            let Some(gone) = self.entries.pop_front() else { break };
            self.bytes -= gone.bytes;
            self.oldest = (gone.revision, gone.digest);
        }
    }
}

impl Entry {
    fn new(delta: v1::Delta, digest: Digest) -> Self {
        let (prev, revision) = (delta.prev, delta.revision);
        let message = v1::ConfigDown { m: Some(v1::config_down::M::Delta(delta)) };
        let bytes = message.encoded_len();
        Self { prev, revision, digest, message, bytes }
    }
}

impl State {
    /// The state, packed once for everyone who needs it.
    ///
    /// # Errors
    /// It cannot be packed.
    pub async fn packed(self: &Arc<Self>) -> Result<&Packed, std::io::Error> {
        let state = self.clone();
        self.packed
            .get_or_try_init(|| async move {
                let packing = tokio::task::spawn_blocking(move || snapshot::pack(&state.raw));
                packing.await.map_err(std::io::Error::other)?
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pigeon_proto::model::{Object, document};

    use super::*;
    use crate::catalog::Stored;

    fn engine(endpoints: usize) -> Object {
        let endpoints: Vec<_> = (1..=endpoints)
            .map(|i| serde_json::json!({"address": format!("host-{i}:1")}))
            .collect();
        let engine =
            serde_json::json!({"kind": "engine", "name": "e", "spec": {"endpoints": endpoints}});
        document::object(engine, None).expect("an engine")
    }

    /// A configuration of this engine alone, changed by this revision.
    fn view(revision: u64, engine: &Object) -> View {
        let stored = Stored {
            object: engine.clone(),
            uid: "u".into(),
            create_revision: 1,
            mod_revision: revision,
            created_ms: 0,
            updated_ms: 0,
            updated_by: "t".into(),
            owner: None,
        };
        let objects = BTreeMap::from([(engine.key.clone(), Arc::new(stored))]);
        View { cluster_id: "c".into(), generation: 1, revision, objects }
    }

    fn is_gone(ring: &Ring, revision: u64) -> bool {
        matches!(ring.after(revision), Next::Gone)
    }

    /// Every revision that can be continued is known by its digest, and none else.
    fn check(ring: &Ring) {
        let mut at = ring.oldest();
        assert_eq!(is_gone(ring, at - 1), ring.digest_at(at - 1).is_none());
        loop {
            assert!(ring.digest_at(at).is_some(), "{at}");
            match ring.after(at) {
                Next::Delta(next, _) => at = next,
                Next::Nothing => return assert_eq!(at, ring.newest()),
                Next::Gone => panic!("{at} has no continuation"),
            }
        }
    }

    #[test]
    fn only_so_many_deltas_are_kept() {
        let small = engine(0);
        let ring = Ring::within(&view(1, &small), Limits { entries: 40, ..LIMITS });
        for revision in 2..=50 {
            ring.publish(&view(revision, &small));
        }
        assert_eq!(ring.oldest(), 10);
        assert!(is_gone(&ring, ring.oldest() - 1));
        check(&ring);
        assert_eq!(ring.digest_at(50), Some(ring.state().raw.digest()));
        ring.publish(&view(49, &small));
        assert_eq!(ring.newest(), 50, "never back");
    }

    #[test]
    fn only_so_many_bytes_are_kept() {
        let large = engine(100);
        let ring = Ring::within(&view(1, &large), Limits { bytes: 10_000, ..LIMITS });
        for revision in 2..60 {
            ring.publish(&view(revision, &large));
        }
        let kept = ring.read().bytes;
        assert!(kept <= 10_000 && kept > 5_000, "{kept}");
        let entries = ring.read().entries.iter().map(|e| e.bytes).sum::<usize>();
        assert_eq!(kept, entries);
        assert!(ring.oldest() > 2);
        check(&ring);
    }

    #[tokio::test]
    async fn a_state_is_packed_once() {
        let ring = Ring::new(&view(1, &engine(10)));
        let (a, b) = (ring.state(), ring.state());
        let (a, b) = (a.packed().await.expect("packed"), b.packed().await.expect("packed"));
        assert!(std::ptr::eq(a, b));
    }
}
