//! What became different between a published state and the newest configuration.

use std::sync::Arc;

use bytes::Bytes;
use pigeon_proto::model::{Key, RawObject, RawState};
use pigeon_proto::v1;

use crate::catalog::{Stored, View};

/// The delta from `old` to `view`. An object is told apart by its `mod_revision`; only those that changed
/// are encoded.
pub(super) fn delta(old: &RawState, view: &View) -> v1::Delta {
    let mut digest = old.digest();
    let mut delta =
        v1::Delta { prev: old.revision(), revision: view.revision, ..Default::default() };
    for (key, stored) in &view.objects {
        let raw_key = (key.kind.as_str().to_owned(), key.name.as_str().to_owned());
        let before = old.objects().get(&raw_key);
        if before.is_some_and(|b| b.mod_revision == stored.mod_revision) {
            continue;
        }
        let put = put(key, stored);
        if let Some(RawObject { mod_revision, spec }) = before {
            digest.remove(&raw_key.0, &raw_key.1, *mod_revision, spec);
        }
        digest.add(&raw_key.0, &raw_key.1, put.mod_revision, &put.spec);
        delta.put.push(put);
    }
    for ((kind, name), gone) in old.objects().iter().filter(|(k, _)| !holds(view, k)) {
        digest.remove(kind, name, gone.mod_revision, &gone.spec);
        delta.del.push(v1::Key { kind: kind.clone(), name: name.clone() });
    }
    delta.digest = Bytes::copy_from_slice(&digest.to_bytes());
    delta
}

fn holds(view: &View, (kind, name): &(String, String)) -> bool {
    match (kind.parse(), name.parse()) {
        (Ok(kind), Ok(name)) => view.objects.contains_key(&Key { kind, name }),
        _ => false,
    }
}

fn put(key: &Key, stored: &Arc<Stored>) -> v1::Put {
    v1::Put {
        key: Some(v1::Key { kind: key.kind.as_str().into(), name: key.name.as_str().into() }),
        mod_revision: stored.mod_revision,
        spec: stored.object.spec.encode(),
    }
}
