//! What a write would do: pure, from the newest configuration to the next or to the reason why not.

use std::collections::BTreeSet;
use std::sync::Arc;

use pigeon_proto::model::{
    Errors, FieldError, Key, Kind, Name, Object, Snapshot, Versioned, code, document, validate,
};
use serde_json::{Value, json};

use super::{Change, Changed, Expect, OwnerSet, Stored, View, Write, WriteError};

/// The newest configuration, in the form to answer from and in the form to validate.
pub(super) struct Base {
    pub view: Arc<View>,
    pub snapshot: Snapshot,
}

/// What comes from outside: the clock and the source of new ids.
pub(super) struct Now<'a> {
    pub at_ms: i64,
    pub new_uid: &'a mut dyn FnMut() -> String,
}

/// What a write would do.
pub(super) struct Plan {
    /// One for each requested change, in order.
    pub changed: Vec<Changed>,
    /// The configuration after it.
    pub snapshot: Snapshot,
}

impl Base {
    pub(super) fn new(view: View) -> Self {
        let versioned = |s: &Stored| Versioned {
            mod_revision: s.mod_revision,
            spec: Arc::new(s.object.spec.clone()),
        };
        let objects = view.objects.iter().map(|(k, s)| (k.clone(), versioned(s))).collect();
        let snapshot = Snapshot { revision: view.revision, objects };
        Self { view: Arc::new(view), snapshot }
    }
}

/// Plans `write`.
pub(super) fn plan(base: &Base, write: &Write, now: &mut Now<'_>) -> Result<Plan, WriteError> {
    if write.base.is_some_and(|at| at != base.view.revision) {
        return Err(WriteError::Moved { current: base.view.revision });
    }
    once_each(&write.changes)?;
    let revision = base.view.revision + 1;
    let mut changed = Vec::with_capacity(write.changes.len());
    let mut errors = Errors::default();
    for change in &write.changes {
        let before = base.view.objects.get(change.key());
        expected(change, before)?;
        let Some(wanted) = errors.keep(wanted(change, before)) else { continue };
        let owner = owner(change, before, write.set.as_ref())?;
        let after = wanted.map(|w| next(before, (w, owner), revision, &write.actor.name, now));
        changed.push(Changed { key: change.key().clone(), before: before.cloned(), after });
    }
    errors.into_result().map_err(WriteError::Invalid)?;
    if let Some(set) = &write.set {
        prune(base, set, &mut changed)?;
    }
    if let Some(why) = changed.iter().find_map(|change| write.actor.rights.forbid(change)) {
        return Err(WriteError::Forbidden(why));
    }
    let mut snapshot = base.snapshot.clone();
    if changed.iter().any(Changed::is_change) {
        apply(&mut snapshot, revision, &changed);
        unused(&snapshot, &changed)?;
        validate(&snapshot).map_err(WriteError::Invalid)?;
    }
    Ok(Plan { changed, snapshot })
}

/// Whose an object is after a change.
fn owner(
    change: &Change,
    before: Option<&Arc<Stored>>,
    set: Option<&OwnerSet>,
) -> Result<Option<Name>, WriteError> {
    let had = before.and_then(|stored| stored.owner.as_ref());
    match (set, had) {
        (Some(set), Some(other)) if set.owner != *other => {
            Err(WriteError::Owned { key: change.key().clone(), owner: other.clone() })
        }
        (Some(set), _) => Ok(Some(set.owner.clone())),
        (None, had) => Ok(had.cloned()),
    }
}

/// Removes what belongs to a set and is not among `changed`.
fn prune(base: &Base, set: &OwnerSet, changed: &mut Vec<Changed>) -> Result<(), WriteError> {
    let Some(allowed) = set.prune else { return Ok(()) };
    let kept: BTreeSet<&Key> = changed.iter().map(|change| &change.key).collect();
    let of_set = |(key, stored): &(&Key, &Arc<Stored>)| {
        stored.owner.as_ref() == Some(&set.owner) && !kept.contains(key)
    };
    let gone: Vec<Changed> = (base.view.objects.iter().filter(of_set))
        .map(|(key, stored)| Changed {
            key: key.clone(),
            before: Some(stored.clone()),
            after: None,
        })
        .collect();
    if gone.len() > allowed {
        let keys = gone.into_iter().map(|change| change.key).collect();
        return Err(WriteError::TooManyRemoved { keys, allowed });
    }
    changed.extend(gone);
    Ok(())
}

fn once_each(changes: &[Change]) -> Result<(), WriteError> {
    let mut seen = BTreeSet::new();
    let mut errors = Errors::default();
    for key in changes.iter().map(Change::key).filter(|k| !seen.insert(*k)) {
        let message = format!("{key} is there twice; keep one");
        errors.push(FieldError::new("/name", code::DUPLICATE_OBJECT, message).of(key));
    }
    errors.into_result().map_err(WriteError::Invalid)
}

fn expected(change: &Change, before: Option<&Arc<Stored>>) -> Result<(), WriteError> {
    let (expect, needs_it) = match change {
        Change::Put { expect, .. } => (*expect, false),
        Change::Patch { expect, .. } | Change::Delete { expect, .. } => (*expect, true),
    };
    let key = || change.key().clone();
    match (expect, before) {
        (Expect::Absent, Some(_)) => Err(WriteError::Exists(key())),
        (Expect::Revision(want), Some(s)) if s.mod_revision != want => {
            Err(WriteError::Stale { key: key(), current: s.mod_revision })
        }
        (Expect::Revision(_), None) if !needs_it => {
            Err(WriteError::Stale { key: key(), current: 0 })
        }
        (Expect::Present, None) => Err(WriteError::NotFound(key())),
        (_, None) if needs_it => Err(WriteError::NotFound(key())),
        _ => Ok(()),
    }
}

/// The object as it is to be; `None` = gone.
fn wanted(change: &Change, before: Option<&Arc<Stored>>) -> Result<Option<Object>, Errors> {
    match (change, before) {
        (Change::Put { object, .. }, _) => Ok(Some(Object::clone(object))),
        (Change::Patch { patch, .. }, Some(stored)) => patched(&stored.object, patch).map(Some),
        (Change::Patch { .. }, None) | (Change::Delete { .. }, _) => Ok(None),
    }
}

fn patched(object: &Object, patch: &Value) -> Result<Object, Errors> {
    let key = &object.key;
    let mut value = json!({
        "kind": key.kind.as_str(),
        "name": key.name.as_str(),
        "labels": object.labels,
        "spec": object.spec.to_json(),
    });
    json_patch::merge(&mut value, patch);
    let merged = document::object(value, Some(key.kind)).map_err(|e| e.of(key))?;
    if merged.key == *key {
        return Ok(merged);
    }
    let message = format!("is \"{}\"; a name cannot be changed: add a new object", merged.key.name);
    Err(FieldError::new("/name", code::BAD_VALUE, message).of(key).into())
}

fn next(
    before: Option<&Arc<Stored>>,
    (object, owner): (Object, Option<Name>),
    revision: u64,
    actor: &str,
    now: &mut Now<'_>,
) -> Arc<Stored> {
    if let Some(same) = before.filter(|b| b.object == object && b.owner == owner) {
        return same.clone();
    }
    let (uid, create_revision, created_ms) = match before {
        Some(b) => (b.uid.clone(), b.create_revision, b.created_ms),
        None => ((now.new_uid)(), revision, now.at_ms),
    };
    let updated_by = actor.to_owned();
    let (mod_revision, updated_ms) = (revision, now.at_ms);
    Arc::new(Stored {
        object,
        uid,
        create_revision,
        mod_revision,
        created_ms,
        updated_ms,
        updated_by,
        owner,
    })
}

fn apply(snapshot: &mut Snapshot, revision: u64, changed: &[Changed]) {
    snapshot.revision = revision;
    for change in changed.iter().filter(|c| c.is_change()) {
        match &change.after {
            Some(s) => {
                let spec = Arc::new(s.object.spec.clone());
                let versioned = Versioned { mod_revision: s.mod_revision, spec };
                snapshot.objects.insert(change.key.clone(), versioned);
            }
            None => {
                snapshot.objects.remove(&change.key);
            }
        }
    }
}

/// What was removed must not be named by any route that is left.
fn unused(snapshot: &Snapshot, changed: &[Changed]) -> Result<(), WriteError> {
    for key in changed.iter().filter(|c| c.after.is_none()).map(|c| &c.key) {
        let uses = |route: &pigeon_proto::model::Route| match key.kind {
            Kind::Engine => route.uses(&key.name),
            Kind::Listener => route.matches.listener.as_ref() == Some(&key.name),
            Kind::Tenant => {
                route.auth.as_ref().is_some_and(|auth| auth.tenants.contains(&key.name))
            }
            Kind::Route => false,
        };
        let routes: Vec<Name> =
            snapshot.routes().filter(|(_, r)| uses(r)).map(|(n, _)| n.clone()).collect();
        if !routes.is_empty() {
            return Err(WriteError::InUse { key: Key::clone(key), routes });
        }
    }
    Ok(())
}
