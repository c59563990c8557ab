//! The series of copied calls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pigeon_proto::model::Name;
use prometheus::{IntCounterVec, Registry};

use super::counters;

/// What became of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// Its engine answered it to the end, whatever it said.
    Answered,
    /// No slot was free, and copies do not wait.
    NoSlot,
    /// The route has as many copies under way as it may have.
    TooMany,
    /// Its engine took it slower than the call went on.
    Behind,
    /// Its engine could not be reached, or broke it off.
    Failed,
    /// Its time was over.
    Late,
    /// The call itself was broken off before its request was complete.
    Abandoned,
}

impl Copied {
    const ALL: [Self; 7] = [
        Self::Answered,
        Self::NoSlot,
        Self::TooMany,
        Self::Behind,
        Self::Failed,
        Self::Late,
        Self::Abandoned,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NoSlot => "no_slot",
            Self::TooMany => "too_many",
            Self::Behind => "behind",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The series of all copies.
pub(super) struct ShadowVecs {
    total: IntCounterVec,
    known: Mutex<HashMap<(Name, Name), Arc<ShadowSeries>>>,
}

/// The series of the copies of one route.
pub struct ShadowSeries {
    total: IntCounterVec,
    route: String,
    engine: String,
    open: AtomicUsize,
}

/// A copy that is under way.
pub struct OpenCopy(Arc<ShadowSeries>);

impl ShadowVecs {
    pub(super) fn new(registry: &Registry) -> Self {
        let total = counters(
            registry,
            "pigeon_shadow_total",
            "Copies of calls for the engine of a route's shadow, by what became of them.",
            &["route", "engine", "outcome"],
        );
        Self { total, known: Mutex::default() }
    }

    pub(super) fn of_routes<'n>(
        &self,
        routes: impl Iterator<Item = (&'n Name, &'n Name)>,
    ) -> Vec<Arc<ShadowSeries>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = HashMap::new();
        let mut series = Vec::new();
        for (route, engine) in routes {
            let key = (route.clone(), engine.clone());
            let one = known.remove(&key).unwrap_or_else(|| {
                let (route, engine) = (route.to_string(), engine.to_string());
                let total = self.total.clone();
                Arc::new(ShadowSeries { total, route, engine, open: AtomicUsize::new(0) })
            });
            next.insert(key, Arc::clone(&one));
            series.push(one);
        }
        for gone in known.values() {
            gone.forget();
        }
        *known = next;
        series
    }
}

impl ShadowSeries {
    /// Counts what became of a copy.
    pub fn count(&self, outcome: Copied) {
        let labels = [self.route.as_str(), self.engine.as_str(), outcome.as_str()];
        self.total.with_label_values(&labels).inc();
    }

    /// Counts a copy as under way, unless there are `most` already.
    pub fn open(self: &Arc<Self>, most: usize) -> Option<OpenCopy> {
        // Held from here, so that it is taken back if there are too many.
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let open = OpenCopy(Arc::clone(self));
        (before < most).then_some(open)
    }

    fn forget(&self) {
        for outcome in Copied::ALL {
            let labels = [self.route.as_str(), self.engine.as_str(), outcome.as_str()];
            // An error says that it was never there.
            let _ = self.total.remove_label_values(&labels);
        }
    }
}

impl Drop for OpenCopy {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_most_are_under_way_and_what_is_gone_is_forgotten() {
        let registry = Registry::new();
        let vecs = ShadowVecs::new(&registry);
        let (route, engine): (Name, Name) = ("r".parse().expect("r"), "e".parse().expect("e"));
        let series = vecs.of_routes([(&route, &engine)].into_iter()).remove(0);
        let first = series.open(1).expect("there is room");
        assert!(series.open(1).is_none());
        drop(first);
        assert!(series.open(1).is_some());
        series.count(Copied::Behind);
        assert_eq!(registry.gather()[0].get_metric().len(), 1);
        let again = vecs.of_routes([(&route, &engine)].into_iter()).remove(0);
        assert!(Arc::ptr_eq(&again, &series));
        vecs.of_routes(std::iter::empty());
        assert!(registry.gather().is_empty());
    }
}
