//! From what the admin sent (raw) to what serves (effective). Pure: no I/O.
//!
//! An object this proxy cannot use is set aside: the version of it that served before stays in its place, or
//! it is left out where there was none. It neither holds up later revisions nor takes others down.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use pigeon_proto::model::{
    self, Errors, Key, Kind, RawKey, RawObject, RawState, Snapshot, Spec, Versioned, code,
};

use super::Rejected;

/// Rounds of setting aside before the whole configuration is refused. One suffices unless objects that were
/// put back clash with new ones.
const ROUNDS: usize = 16;

/// One object of the raw state, decoded once.
#[derive(Debug)]
struct Decoded {
    mod_revision: u64,
    spec: Bytes,
    result: Result<(Key, Arc<Spec>), String>,
}

/// Keeps what serves, and what the raw objects decode to.
#[derive(Debug, Default)]
pub struct Applier {
    decoded: HashMap<RawKey, Decoded>,
    served: Arc<Snapshot>,
}

/// What a raw state comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What to serve from now on.
    pub snapshot: Arc<Snapshot>,
    /// What of the raw state is not in it as sent.
    pub rejected: Vec<Rejected>,
    /// Something is set aside for what is not in the configuration, and may be good later.
    pub waits: bool,
}

/// Why an object is set aside.
struct Fault {
    mod_revision: u64,
    message: String,
}

impl Applier {
    /// What serves now.
    pub fn served(&self) -> &Arc<Snapshot> {
        &self.served
    }

    /// Begins with versions that served before a restart: they stand in for objects that cannot be used.
    pub fn preset(&mut self, objects: Vec<(RawKey, RawObject)>) {
        let mut snapshot = Snapshot::clone(&self.served);
        for ((kind, name), object) in objects {
            if let Ok((key, spec)) = decode(&kind, &name, &object.spec) {
                let mod_revision = object.mod_revision;
                snapshot.objects.insert(key, Versioned { mod_revision, spec });
            }
        }
        self.served = Arc::new(snapshot);
    }

    /// Makes `raw` what serves, as far as it can be used. `usable` looks at what is not in the object itself,
    /// such as files, and is asked only of what does not serve already.
    pub fn apply(
        &mut self,
        raw: &RawState,
        usable: impl Fn(&Spec) -> Result<(), String>,
    ) -> Applied {
        let mut faults = BTreeMap::new();
        let mut unreadable = Vec::new();
        let mut waits = false;
        let mut candidate = Snapshot { revision: raw.revision(), objects: BTreeMap::new() };
        self.decode_all(raw);
        for (raw_key, object) in raw.objects() {
            match self.decoded.get(raw_key).map(|d| &d.result) {
                Some(Ok((key, spec))) => {
                    let mod_revision = object.mod_revision;
                    let version = Versioned { mod_revision, spec: Arc::clone(spec) };
                    let serves = self.served.objects.get(key) == Some(&version);
                    match if serves { Ok(()) } else { usable(spec) } {
                        Ok(()) => _ = candidate.objects.insert(key.clone(), version),
                        Err(message) => {
                            waits = true;
                            self.stand_in(&mut candidate, key);
                            faults.insert(key.clone(), Fault { mod_revision, message });
                        }
                    }
                }
                Some(Err(message)) => {
                    let fault =
                        Fault { mod_revision: object.mod_revision, message: message.clone() };
                    match known_key(raw_key) {
                        Some(key) => {
                            self.stand_in(&mut candidate, &key);
                            faults.insert(key, fault);
                        }
                        None => unreadable.push(refused(raw_key, fault, 0)),
                    }
                }
                None => {}
            }
        }
        if self.settle(&mut candidate, &mut faults) {
            self.served = Arc::new(candidate);
        }
        let rejected = unreadable.into_iter().chain(faults.into_iter().map(|(key, fault)| {
            let serving = self.served.objects.get(&key).map_or(0, |v| v.mod_revision);
            refused(&(key.kind.to_string(), key.name.to_string()), fault, serving)
        }));
        let rejected = rejected.collect();
        Applied { snapshot: Arc::clone(&self.served), rejected, waits }
    }

    /// Decodes what is new, and forgets what is gone.
    fn decode_all(&mut self, raw: &RawState) {
        self.decoded.retain(|key, d| {
            // The bytes too: after a digest mismatch the same version may say something else.
            let same = |o: &RawObject| o.mod_revision == d.mod_revision && o.spec == d.spec;
            raw.objects().get(key).is_some_and(same)
        });
        for (key, object) in raw.objects() {
            if !self.decoded.contains_key(key) {
                let decoded = Decoded {
                    mod_revision: object.mod_revision,
                    spec: object.spec.clone(),
                    result: decode(&key.0, &key.1, &object.spec),
                };
                self.decoded.insert(key.clone(), decoded);
            }
        }
    }

    /// Sets aside what breaks the rules between objects, until none is broken; `false` = it does not end.
    fn settle(&self, candidate: &mut Snapshot, faults: &mut BTreeMap<Key, Fault>) -> bool {
        for _ in 0..ROUNDS {
            let Err(errors) = model::validate(candidate) else { return true };
            if !self.set_aside(candidate, faults, &errors) {
                return false;
            }
        }
        model::validate(candidate).is_ok()
    }

    /// One round: whatever the errors name goes back to the version that served, or out.
    fn set_aside(
        &self,
        candidate: &mut Snapshot,
        faults: &mut BTreeMap<Key, Fault>,
        errors: &Errors,
    ) -> bool {
        let mut changed = false;
        for error in &errors.0 {
            let named = error.object.as_deref().and_then(key_of);
            let related = error.related.as_deref().and_then(key_of);
            // What served before is not to blame for what came.
            let new = |k: &&Key| {
                candidate.objects.get(*k).is_some_and(|v| self.served.objects.get(*k) != Some(v))
            };
            let blamed =
                named.as_ref().filter(new).or(related.as_ref().filter(new)).or(named.as_ref());
            let Some(key) = blamed.cloned() else { continue };
            let Some(current) = candidate.objects.get(&key).cloned() else { continue };
            if self.served.objects.get(&key) == Some(&current) {
                candidate.objects.remove(&key);
            } else {
                self.stand_in(candidate, &key);
            }
            let message = format!("{}: {} ({})", error.pointer, error.message, error.code);
            faults.entry(key).or_insert(Fault { mod_revision: current.mod_revision, message });
            changed = true;
        }
        changed
    }

    /// Puts the version that served in place of one that cannot be used.
    fn stand_in(&self, candidate: &mut Snapshot, key: &Key) {
        match self.served.objects.get(key) {
            Some(version) => candidate.objects.insert(key.clone(), version.clone()),
            None => candidate.objects.remove(key),
        };
    }
}

fn decode(kind: &str, name: &str, spec: &[u8]) -> Result<(Key, Arc<Spec>), String> {
    let key = Key {
        kind: kind.parse().map_err(|e| format!("{e}; upgrade this proxy"))?,
        name: name.parse().map_err(|e| format!("{e}"))?,
    };
    let one_line = |e: Errors| e.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let spec = Spec::decode(key.kind, spec).map_err(one_line)?;
    Ok((key, Arc::new(spec)))
}

fn known_key((kind, name): &RawKey) -> Option<Key> {
    Some(Key { kind: kind.parse().ok()?, name: name.parse().ok()? })
}

/// Reads `kind/name`, as errors give it.
fn key_of(text: &str) -> Option<Key> {
    let (kind, name) = text.split_once('/')?;
    Some(Key { kind: kind.parse::<Kind>().ok()?, name: name.parse().ok()? })
}

fn refused((kind, name): &RawKey, fault: Fault, serving_mod_revision: u64) -> Rejected {
    Rejected {
        kind: super::clip(kind),
        name: super::clip(name),
        mod_revision: fault.mod_revision,
        code: code::CANNOT_USE.to_owned(),
        message: super::clip(&fault.message),
        serving_mod_revision,
    }
}
