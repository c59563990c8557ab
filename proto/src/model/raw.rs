//! The raw state of a config stream: exactly what the admin sent, before anyone asks what it means.
//!
//! It always follows the stream, also where this proxy cannot use an object, so that revisions and digests
//! of both ends stay comparable.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;

use crate::digest::Digest;
use crate::v1;

/// `(kind, name)` as sent; the kind may be one this version does not know.
pub type RawKey = (String, String);

/// One object as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawObject {
    /// The revision that wrote it.
    pub mod_revision: u64,
    /// Its encoded spec.
    pub spec: Bytes,
}

/// Everything an admin has sent up to a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawState {
    revision: u64,
    digest: Digest,
    objects: BTreeMap<RawKey, RawObject>,
}

/// Why a delta or snapshot was not taken; the state is unchanged then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// The delta continues another state.
    #[error("the delta continues revision {prev}, but revision {have} is held")]
    Gap {
        /// What it continues.
        prev: u64,
        /// What is held.
        have: u64,
    },
    /// A key twice, or none.
    #[error("the delta is malformed: {0}")]
    Malformed(String),
    /// Both ends do not hold the same after it.
    #[error("the digest after revision {revision} is {ours}, the admin says {theirs}")]
    Digest {
        /// The revision it made.
        revision: u64,
        /// Computed here.
        ours: String,
        /// Sent along.
        theirs: String,
    },
}

impl RawState {
    /// The revision this is the state of; 0 = nothing was ever received.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The digest of all objects.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// All objects.
    pub fn objects(&self) -> &BTreeMap<RawKey, RawObject> {
        &self.objects
    }

    /// Builds a state from a whole list of objects.
    ///
    /// # Errors
    /// [`DeltaError::Malformed`] if a key is missing or there twice.
    pub fn new(revision: u64, puts: Vec<v1::Put>) -> Result<Self, DeltaError> {
        let delta = v1::Delta { prev: 0, revision, put: puts, ..Default::default() };
        let mut state = Self::default();
        state.change(delta)?;
        Ok(state)
    }

    /// Applies a delta, whole or not at all.
    ///
    /// # Errors
    /// It does not continue this state, is malformed, or leads to another digest than the admin's.
    pub fn apply(&mut self, delta: v1::Delta) -> Result<(), DeltaError> {
        if delta.prev != self.revision || delta.revision <= delta.prev {
            return Err(DeltaError::Gap { prev: delta.prev, have: self.revision });
        }
        let revision = delta.revision;
        let theirs = Digest::from_bytes(&delta.digest)
            .ok_or_else(|| DeltaError::Malformed("the digest has not 16 bytes".into()))?;
        let mut next = self.clone();
        next.change(delta)?;
        if next.digest != theirs {
            let (ours, theirs) = (next.digest.to_string(), theirs.to_string());
            return Err(DeltaError::Digest { revision, ours, theirs });
        }
        *self = next;
        Ok(())
    }

    /// Changes in place; on an error the state must be thrown away.
    fn change(&mut self, delta: v1::Delta) -> Result<(), DeltaError> {
        let mut seen = HashSet::new();
        let mut once = |key: Option<v1::Key>| -> Result<RawKey, DeltaError> {
            let key = key.ok_or_else(|| DeltaError::Malformed("an entry without a key".into()))?;
            let key = (key.kind, key.name);
            if seen.insert(key.clone()) {
                return Ok(key);
            }
            Err(DeltaError::Malformed(format!("{}/{} is there twice", key.0, key.1)))
        };
        for put in delta.put {
            let key = once(put.key)?;
            self.put(key, RawObject { mod_revision: put.mod_revision, spec: put.spec });
        }
        for del in delta.del {
            self.remove(&once(Some(del))?);
        }
        self.revision = delta.revision;
        Ok(())
    }

    fn put(&mut self, key: RawKey, object: RawObject) {
        self.digest.add(&key.0, &key.1, object.mod_revision, &object.spec);
        if let Some(old) = self.objects.insert(key.clone(), object) {
            self.digest.remove(&key.0, &key.1, old.mod_revision, &old.spec);
        }
    }

    fn remove(&mut self, key: &RawKey) {
        if let Some(old) = self.objects.remove(key) {
            self.digest.remove(&key.0, &key.1, old.mod_revision, &old.spec);
        }
    }

    /// Says that this state also is that of a later revision, which changed nothing in it.
    pub fn bookmark(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    /// All objects in the form of a snapshot.
    pub fn to_puts(&self) -> Vec<v1::Put> {
        let put = |((kind, name), o): (&RawKey, &RawObject)| v1::Put {
            key: Some(v1::Key { kind: kind.clone(), name: name.clone() }),
            mod_revision: o.mod_revision,
            spec: o.spec.clone(),
        };
        self.objects.iter().map(put).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(name: &str, mod_revision: u64, spec: &[u8]) -> v1::Put {
        let key = Some(v1::Key { kind: "engine".into(), name: name.into() });
        v1::Put { key, mod_revision, spec: Bytes::copy_from_slice(spec) }
    }

    fn delta(from: &RawState, put: Vec<v1::Put>, del: &[&str]) -> v1::Delta {
        let del =
            del.iter().map(|n| v1::Key { kind: "engine".into(), name: (*n).into() }).collect();
        let mut d = v1::Delta {
            prev: from.revision,
            revision: from.revision + 1,
            put,
            del,
            digest: Bytes::new(),
        };
        let mut after = from.clone();
        if after.change(d.clone()).is_ok() {
            d.digest = Bytes::copy_from_slice(&after.digest.to_bytes());
        }
        d
    }

    #[test]
    fn a_refused_delta_changes_nothing() {
        let held = RawState::new(4, vec![put("a", 1, b"x")]).expect("state");
        let good = delta(&held, vec![put("b", 5, b"y")], &["a"]);
        let refused = [
            v1::Delta { prev: 3, ..good.clone() },
            v1::Delta { revision: 4, ..good.clone() },
            v1::Delta { digest: Bytes::from_static(&[0; 16]), ..good.clone() },
            v1::Delta { digest: Bytes::new(), ..good.clone() },
            v1::Delta { put: vec![put("b", 5, b"y"), put("b", 5, b"z")], ..good.clone() },
            v1::Delta { put: vec![v1::Put::default()], ..good.clone() },
        ];
        for d in refused {
            let mut state = held.clone();
            assert!(state.apply(d).is_err());
            assert_eq!(state, held);
        }
        let mut state = held;
        state.apply(good).expect("good");
        assert_eq!(state, RawState::new(5, vec![put("b", 5, b"y")]).expect("state"));
    }

    proptest! {
        /// However a state was reached, its digest is that of its objects.
        #[test]
        fn any_path_leads_to_the_same_digest(steps in prop::collection::vec(("[a-d]", any::<bool>(), any::<[u8; 2]>()), 1..40)) {
            let mut state = RawState::default();
            for (i, (name, keep, spec)) in steps.iter().enumerate() {
                let d = if *keep { delta(&state, vec![put(name, i as u64, spec)], &[]) } else { delta(&state, vec![], &[name]) };
                state.apply(d).expect("continues");
            }
            let fresh = RawState::new(state.revision(), state.to_puts()).expect("state");
            prop_assert_eq!(state, fresh);
        }
    }
}
