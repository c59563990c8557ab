//! The committed configuration in memory, and the only way to change it.
//!
//! Reads never touch the store. Writes go one after the other through an actor (`writer`): planned and
//! validated against the newest [`View`] (`plan`), committed, and only then visible.

mod plan;
mod tokens;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use pigeon_proto::model::{Errors, Key, Name, Object};
use tokio::sync::{mpsc, oneshot, watch};

pub use self::tokens::{MOST_TOKENS, TokenError};
use crate::access::{Forbidden, Rights};
use crate::metrics::Metrics;
use crate::store::{Store, StoreReader};
pub use crate::store::{StoreError, StoreHealth};

/// Writes that may wait for the one before; more are held back in their callers.
const WAITING_WRITES: usize = 64;

/// A whole committed configuration.
#[derive(Clone, Debug)]
pub struct View {
    /// Made at the first start; proxies refuse another one.
    pub cluster_id: String,
    /// Grows when the store is restored from a backup.
    pub generation: u64,
    /// The revision this is the state of.
    pub revision: u64,
    /// Everything in it.
    pub objects: BTreeMap<Key, Arc<Stored>>,
}

/// An object as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Name, labels and what it says.
    pub object: Object,
    /// Never used again, also not by an object of the same name.
    pub uid: String,
    /// The revision that created it.
    pub create_revision: u64,
    /// The revision that last changed it.
    pub mod_revision: u64,
    /// When it was created, Unix time in milliseconds.
    pub created_ms: i64,
    /// When it was last changed, Unix time in milliseconds.
    pub updated_ms: i64,
    /// Who last changed it.
    pub updated_by: String,
    /// The set of objects it was applied with.
    pub owner: Option<Name>,
}

/// Who writes, for the audit.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Their name.
    pub name: String,
    /// What they may do.
    pub rights: Rights,
    /// The IP address they call from.
    pub source: String,
    /// Ties the audit to the log and to the answer.
    pub request_id: String,
}

impl Actor {
    /// One who may do everything.
    pub fn almighty(name: &str) -> Self {
        let (source, request_id) = Default::default();
        Self { name: name.to_owned(), rights: Rights::ALL, source, request_id }
    }
}

/// Changes that happen together or not at all.
#[derive(Clone, Debug)]
pub struct Write {
    /// Who writes.
    pub actor: Actor,
    /// What; each object at most once.
    pub changes: Vec<Change>,
    /// Check everything, change nothing.
    pub dry_run: bool,
    /// Only if this is the newest revision of the whole configuration.
    pub base: Option<u64>,
    /// What is put belongs to this set from now on; none = to the one it belonged to.
    pub set: Option<OwnerSet>,
}

/// A set of objects that are applied together, and nobody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerSet {
    /// Its name.
    pub owner: Name,
    /// Remove what belongs to it and is not put, but no more objects than this; none = remove nothing.
    pub prune: Option<usize>,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub enum Change {
    /// Create or replace.
    Put {
        /// The whole object.
        object: Box<Object>,
        /// What must hold before.
        expect: Expect,
    },
    /// Merge (RFC 7396) into `{labels, spec}`.
    Patch {
        /// Which object.
        key: Key,
        /// The merge patch.
        patch: serde_json::Value,
        /// What must hold before.
        expect: Expect,
    },
    /// Remove.
    Delete {
        /// Which object.
        key: Key,
        /// What must hold before.
        expect: Expect,
    },
}

impl Change {
    /// Which object it changes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { object, .. } => &object.key,
            Self::Patch { key, .. } | Self::Delete { key, .. } => key,
        }
    }
}

/// What must hold of an object before a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing in particular; patch and delete need the object all the same.
    Any,
    /// It does not exist.
    Absent,
    /// It exists.
    Present,
    /// It exists and this is its `mod_revision` (from `If-Match`).
    Revision(u64),
}

/// What a write did, or in a dry run would do.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Revision of the configuration after the write; unchanged if nothing changed.
    pub revision: u64,
    /// One for each requested change, in order.
    pub changed: Vec<Changed>,
}

/// One object before and after; both the same `Arc` where nothing changed.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Which object.
    pub key: Key,
    /// `None` if it was created.
    pub before: Option<Arc<Stored>>,
    /// `None` if it was removed.
    pub after: Option<Arc<Stored>>,
}

impl Changed {
    /// Whether anything changed at all.
    pub fn is_change(&self) -> bool {
        let revision = |s: &Option<Arc<Stored>>| s.as_ref().map(|s| s.mod_revision);
        revision(&self.before) != revision(&self.after)
    }
}

/// Why a write did nothing.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is no such object.
    #[error("there is no {0}")]
    NotFound(Key),
    /// It was to be created but is there.
    #[error("{0} exists already")]
    Exists(Key),
    /// It is not at the expected revision.
    #[error("{key} is at revision {current}, not at the one expected")]
    Stale {
        /// Which object.
        key: Key,
        /// Its `mod_revision` now; 0 if it does not exist.
        current: u64,
    },
    /// The configuration is not at the revision that the write was made for.
    #[error("the configuration is at revision {current} now")]
    Moved {
        /// The newest revision.
        current: u64,
    },
    /// It cannot be removed while routes refer to it.
    #[error("{key} is still used by {}", list(.routes))]
    InUse {
        /// Which object.
        key: Key,
        /// The routes that refer to it.
        routes: Vec<Name>,
    },
    /// It belongs to another set.
    #[error("{key} belongs to the owner \"{owner}\"")]
    Owned {
        /// Which object.
        key: Key,
        /// Whose it is.
        owner: Name,
    },
    /// More objects would be removed than the write allows.
    #[error("{} objects would be removed, {allowed} are allowed", .keys.len())]
    TooManyRemoved {
        /// Which.
        keys: Vec<Key>,
        /// How many may be.
        allowed: usize,
    },
    /// Whoever writes may not.
    #[error("{0}")]
    Forbidden(Forbidden),
    /// The configuration that would result is not valid.
    #[error("the configuration would not be valid")]
    Invalid(#[source] Errors),
    /// It could not be stored.
    #[error("the write could not be stored")]
    Store(#[source] StoreError),
}

fn list(routes: &[Name]) -> String {
    let names: Vec<_> = routes.iter().map(|n| format!("route \"{n}\"")).collect();
    names.join(", ")
}

/// One revision: who changed what and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its number.
    pub revision: u64,
    /// When, Unix time in milliseconds.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// From which IP address.
    pub source: String,
    /// Every object it changed.
    pub changes: Vec<RevisionChange>,
}

/// One object changed by a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionChange {
    /// `put` or `del`: what proxies are told.
    pub op: String,
    /// `create`, `update` or `delete`: what the caller did.
    pub action: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
}

/// An object that is not the same at two revisions.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Which object.
    pub key: Key,
    /// Its document at the first; none if it did not exist.
    pub before: Option<serde_json::Value>,
    /// Its document at the second; none if it does not exist.
    pub after: Option<serde_json::Value>,
}

/// One object that somebody changed, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEvent {
    /// Grows with every event.
    pub id: u64,
    /// The revision that it is part of.
    pub revision: Option<u64>,
    /// When, Unix time in milliseconds.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// From which IP address.
    pub source: String,
    /// `create`, `update` or `delete`.
    pub action: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Ties it to the log and to the answer.
    pub request_id: String,
    /// Its document before; none if it did not exist.
    pub before: Option<serde_json::Value>,
    /// Its document after; none if it was removed.
    pub after: Option<serde_json::Value>,
}

/// Which events are asked for; what is not given excludes none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this actor.
    pub actor: Option<String>,
    /// Of objects of this kind.
    pub kind: Option<String>,
    /// Of objects of this name.
    pub name: Option<String>,
    /// `create`, `update` or `delete`.
    pub action: Option<String>,
    /// Not older than this, Unix time in milliseconds.
    pub since_ms: Option<i64>,
    /// Older than the event of this id.
    pub before: Option<u64>,
    /// Newer than the event of this id, and then the oldest first: for following.
    pub after: Option<u64>,
}

/// Cheap handle of the catalog; clones share everything.
#[derive(Clone)]
pub struct Catalog {
    writer: mpsc::Sender<writer::Request>,
    view: watch::Receiver<Arc<View>>,
    revision: watch::Receiver<u64>,
    health: watch::Receiver<StoreHealth>,
    shown: tokens::Shown,
    reader: StoreReader,
}

impl Catalog {
    /// Reads the whole store into memory and starts the writer.
    ///
    /// # Errors
    /// The store cannot be read, or holds an object this version cannot read.
    pub async fn open(store: Store, metrics: Metrics) -> Result<Self, StoreError> {
        let reader = store.reader();
        let (writer, handles) = writer::Writer::open(store, metrics).await?;
        let (tx, requests) = mpsc::channel(WAITING_WRITES);
        tokio::spawn(writer.run(requests));
        let writer::Handles { view, revision, health, shown } = handles;
        Ok(Self { writer: tx, view, revision, health, shown, reader })
    }

    /// Whether other admins write to the same store.
    pub fn is_shared(&self) -> bool {
        self.reader.is_shared()
    }

    /// The newest committed configuration.
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Makes the changes of `write`, all of them or none, as one revision. Once begun it ends also if the
    /// caller goes away.
    ///
    /// # Errors
    /// See [`WriteError`]; nothing has changed then. Only where the disk fails so badly that not even the
    /// failed commit can be read back is that not certain; the view shows it once the disk works again.
    pub async fn write(&self, write: Write) -> Result<Outcome, WriteError> {
        let stopped = || WriteError::Store(StoreError::Stopped);
        let (reply, answer) = oneshot::channel();
        let request = writer::Request::Write { write, reply };
        self.writer.send(request).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Newest first: at most `limit` revisions, all before `before` if it is given.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn revisions(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Revision>, StoreError> {
        self.reader.revisions(before, limit).await
    }

    /// The objects that are not the same at revision `to` as at revision `from`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn difference(&self, from: u64, to: u64) -> Result<Vec<Difference>, StoreError> {
        self.reader.difference(from, to).await
    }

    /// At most `limit` events that pass `filter`: newest first, or, after an event, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        limit: u32,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        self.reader.audit(filter, limit).await
    }

    /// The committed revision, and when it moves from here on.
    pub fn changed(&self) -> watch::Receiver<u64> {
        let mut changed = self.revision.clone();
        changed.mark_unchanged();
        changed
    }

    /// Whether writes can be stored, as of the last attempt; tried again every few seconds after a failure.
    pub fn health(&self) -> StoreHealth {
        self.health.borrow().clone()
    }

    /// Ends the writer after the writes that wait, and closes the store; later writes are refused.
    pub async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.writer.send(writer::Request::Close { reply }).await.is_ok() {
            // An error means that the writer is gone already, which is what was wanted.
            let _ = done.await;
        }
    }
}
