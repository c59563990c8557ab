//! Where the keys of issuers are held, between whoever looks for them and the calls that need them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use pigeon_proto::model::{JwksLocation, Jwt};
use tokio::sync::{Notify, watch};

use super::keys::KeySet;

/// A JWKS, and what is known of it. Lives on while the configuration names it.
#[derive(Debug)]
pub struct KeySource {
    /// Where it is.
    pub location: JwksLocation,
    /// PEM file of the authorities its server is checked against.
    pub ca: Option<String>,
    held: ArcSwapOption<Held>,
    /// Another one for every set that differs from the one before; 0 = there was none yet.
    generation: AtomicU64,
    /// Looks that have begun, and that have ended.
    begun: AtomicU64,
    ended: watch::Sender<u64>,
    missed: Notify,
    asked: Notify,
    told: Mutex<Told>,
}

/// The keys as they were last good.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) keys: KeySet,
    pub(super) generation: u64,
}

/// How the last looks went.
#[derive(Clone, Debug, Default)]
struct Told {
    /// Unix seconds of the last good one.
    at: Option<u64>,
    error: Option<String>,
    errors: u64,
}

/// A JWKS as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownKeys {
    /// Where it is.
    pub location: String,
    /// The keys it has, and the names of those that have one.
    pub count: usize,
    /// See `count`.
    pub names: Vec<String>,
    /// When it was read last, in seconds after 1970; none: never.
    pub at: Option<u64>,
    /// Why the last look brought nothing, if so: what was there before goes on.
    pub error: Option<String>,
    /// How often that was so.
    pub errors: u64,
}

/// What a look has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// The keys there were.
    Same,
    /// Other ones.
    New,
    /// Nothing, for a reason that was not the last one.
    Failed,
    /// Nothing, as the last time.
    FailedAgain,
}

impl KeySource {
    pub(super) fn new(jwt: &Jwt) -> Self {
        Self {
            location: jwt.jwks.clone(),
            ca: jwt.ca.clone(),
            held: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
            missed: Notify::new(),
            asked: Notify::new(),
            told: Mutex::default(),
        }
    }

    /// Whether it is where `jwt` has its keys.
    pub(super) fn is_of(&self, jwt: &Jwt) -> bool {
        (&self.location, &self.ca) == (&jwt.jwks, &jwt.ca)
    }

    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.held.load_full()
    }

    /// The number of the set that is held.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Somebody begins to look. Of one source one task looks at a time.
    pub fn begins(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
    }

    /// A look has ended at `at` (Unix seconds) with this.
    pub fn ends(&self, found: Result<KeySet, String>, at: u64) -> Looked {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = match found {
            Ok(keys) => {
                (told.at, told.error) = (Some(at), None);
                self.put(keys)
            }
            Err(error) => {
                told.errors += 1;
                let again = told.error.as_ref() == Some(&error);
                told.error = Some(error);
                if again { Looked::FailedAgain } else { Looked::Failed }
            }
        };
        self.ended.send_modify(|ended| *ended += 1);
        looked
    }

    fn put(&self, keys: KeySet) -> Looked {
        if self.held.load().as_ref().is_some_and(|held| held.keys == keys) {
            return Looked::Same;
        }
        // First: what is still verified with the keys before is not remembered as of these.
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.held.store(Some(Arc::new(Held { keys, generation })));
        Looked::New
    }

    /// A token names a key that is not here, and may be new. Gives the number of the last look that has begun:
    /// one that begins later would find it.
    pub(super) fn miss(&self) -> u64 {
        self.missed.notify_one();
        self.begun.load(Ordering::Acquire)
    }

    /// Whether a look that began after the one of this number has ended.
    pub(super) fn has_looked_since(&self, look: u64) -> bool {
        *self.ended.borrow() > look
    }

    /// Resolves once a key was missed since the last time.
    pub async fn missed(&self) {
        self.missed.notified().await;
    }

    /// Has it looked at now. Gives the number of the last look that has begun.
    pub fn ask(&self) -> u64 {
        self.asked.notify_one();
        self.begun.load(Ordering::Acquire)
    }

    /// Resolves once a look that began after the one of this number has ended.
    pub async fn looked(&self, look: u64) {
        // The sender is here: this does not fail.
        let _ = self.ended.subscribe().wait_for(|ended| *ended > look).await;
    }

    /// Resolves once somebody asked since the last time.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Whether there are keys.
    pub fn has_keys(&self) -> bool {
        self.held.load().is_some()
    }

    /// As people see it.
    pub fn shown(&self) -> ShownKeys {
        let held = self.held();
        let names = held.iter().flat_map(|held| held.keys.names()).map(str::to_owned).collect();
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ShownKeys {
            location: self.location.to_string(),
            count: held.as_ref().map_or(0, |held| held.keys.count()),
            names,
            at: told.at,
            error: told.error,
            errors: told.errors,
        }
    }
}
