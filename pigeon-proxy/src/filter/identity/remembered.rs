//! Tokens that were looked at: those that are good are not verified again until they expire or a key or the
//! configuration changes, and those that are not neither.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pigeon_proto::model::Name;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Identity;

/// Parts, each behind its own lock, and tokens of a kind remembered in each.
const PARTS: usize = 16;
const MOST: usize = 1_024;

/// What a token is remembered by; whoever reads it here cannot call with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Print([u8; 32]);

/// A token whose signature and claims were right.
#[derive(Debug)]
pub(in super::super) struct Verified {
    pub(super) identity: Arc<Identity>,
    /// Those that some route asks for.
    pub(super) claims: Box<[(String, Value)]>,
    /// Unix seconds.
    pub(super) until: u64,
    /// Which of the listener's issuers it is of, and which set of its keys.
    pub(super) issuer: usize,
    pub(super) generation: u64,
}

/// Why a token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No key of the set of this number has made its signature.
    Forged(u64),
    /// There was no key of its name, and this look was the last that had begun.
    Unknown(u64),
}

/// The tokens of a configuration.
#[derive(Debug)]
pub(super) struct Remembered {
    /// Nobody outside knows which tokens share a part.
    hasher: RandomState,
    good: Part<Arc<Verified>>,
    bad: Part<Fault>,
}

#[derive(Debug)]
struct Part<V>([Mutex<HashMap<Print, V>>; PARTS]);

impl Print {
    /// Of a token that came in on `listener`: another one may believe other issuers.
    pub(super) fn of(listener: &Name, token: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(listener.as_str()).chain_update([0]);
        Self(hash.chain_update(token).finalize().into())
    }
}

impl Default for Remembered {
    fn default() -> Self {
        Self { hasher: RandomState::new(), good: Part::default(), bad: Part::default() }
    }
}

impl<V> Default for Part<V> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl<V> Part<V> {
    fn at(&self, at: usize) -> MutexGuard<'_, HashMap<Print, V>> {
        self.0[at % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn at(&self, print: &Print) -> usize {
        self.hasher.hash_one(print) as usize
    }

    pub(super) fn good(&self, print: &Print) -> Option<Arc<Verified>> {
        self.good.at(self.at(print)).get(print).cloned()
    }

    pub(super) fn bad(&self, print: &Print) -> Option<Fault> {
        self.bad.at(self.at(print)).get(print).copied()
    }

    /// Where there is no room those that have expired go, and if none has, all of them: they are verified anew.
    pub(super) fn keep(&self, print: Print, verified: Arc<Verified>, now: u64) {
        let mut good = self.good.at(self.at(&print));
        if good.len() >= MOST {
            good.retain(|_, known| known.until > now);
            if good.len() >= MOST {
                good.clear();
            }
        }
        good.insert(print, verified);
    }

    /// Where there is no room all go: whoever floods the gateway with bad tokens meets its limit.
    pub(super) fn note(&self, print: Print, fault: Fault) {
        let mut bad = self.bad.at(self.at(&print));
        if bad.len() >= MOST {
            bad.clear();
        }
        bad.insert(print, fault);
    }
}

#[cfg(test)]
mod tests {
    use super::super::How;
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let remembered = Remembered::default();
        let listener: Name = "l".parse().expect("a name");
        let identity = Identity::new(None, "s", How::ApiKey);
        for n in 0..40_000_u32 {
            let print = Print::of(&listener, &n.to_be_bytes());
            let identity = Arc::clone(&identity);
            let until = u64::from(n);
            let verified =
                Verified { identity, claims: Box::default(), until, issuer: 0, generation: 1 };
            remembered.keep(print, Arc::new(verified), 0);
            remembered.note(print, Fault::Forged(1));
            assert!(remembered.good(&print).is_some_and(|known| known.until == until));
            assert_eq!(remembered.bad(&print), Some(Fault::Forged(1)));
        }
        let good: usize = (0..PARTS).map(|at| remembered.good.at(at).len()).sum();
        let bad: usize = (0..PARTS).map(|at| remembered.bad.at(at).len()).sum();
        assert!(good <= PARTS * MOST && bad <= PARTS * MOST);
    }
}
