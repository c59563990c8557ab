//! Every engine somebody still needs, by name, so that tables come and go and slots stay counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pigeon_proto::model::{self, Name};

use super::{Clock, Engine};

/// The engines of this process.
#[derive(Debug)]
pub struct Registry {
    clock: Clock,
    known: Mutex<HashMap<Name, Weak<Engine>>>,
}

impl Registry {
    /// Without engines.
    pub fn new(clock: Clock) -> Self {
        Self { clock, known: Mutex::new(HashMap::new()) }
    }

    /// Makes the engines those of `specs`: new ones begin, known ones get their settings, and those that
    /// are gone take no more calls. One that comes back while calls from before still run is the same.
    pub fn update<'s>(
        &self,
        specs: impl Iterator<Item = (&'s Name, &'s model::Engine)>,
    ) -> BTreeMap<Name, Arc<Engine>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut engines = BTreeMap::new();
        for (name, spec) in specs {
            let engine = known.get(name).and_then(Weak::upgrade);
            let engine =
                engine.unwrap_or_else(|| Arc::new(Engine::new(name.clone(), self.clock.clone())));
            engine.update(spec);
            known.insert(name.clone(), Arc::downgrade(&engine));
            engines.insert(name.clone(), engine);
        }
        for (name, engine) in known.iter() {
            if let Some(engine) = engine.upgrade().filter(|_| !engines.contains_key(name)) {
                engine.remove();
            }
        }
        known.retain(|_, engine| engine.strong_count() > 0);
        engines
    }

    /// Every engine somebody still needs, also those that the configuration has no more.
    pub fn all(&self) -> Vec<Arc<Engine>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter_map(Weak::upgrade).collect()
    }
}

impl Drop for Registry {
    /// Engines and their endpoints hold each other as long as there are settings.
    fn drop(&mut self) {
        let known = self.known.get_mut().unwrap_or_else(PoisonError::into_inner);
        for engine in known.values().filter_map(Weak::upgrade) {
            engine.remove();
        }
    }
}
