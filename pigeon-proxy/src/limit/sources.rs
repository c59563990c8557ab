//! A bucket for each source, in memory that does not grow with their number.
//!
//! A source has its place in one of many small sets, each behind its own lock, which is held for a look at a
//! few numbers. Whoever comes new takes the place of somebody whose bucket is full again: forgetting that one
//! changes nothing. Where all the places of a set belong to sources in debt, those that come new share one
//! bucket: they are let through as one source would be, neither freely nor not at all.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Bucket, Rule};

/// Sets of a table, and places of a set: 65,536 sources, 1 MiB once so many have come.
const SETS: usize = 4_096;
const PLACES: usize = 16;

/// A bucket for each source.
#[derive(Debug)]
pub struct Sources<H = RandomState> {
    /// Nobody outside knows who shares a set with whom.
    hasher: H,
    sets: Box<[Mutex<Set>]>,
    /// Of those who find no place.
    others: Bucket,
}

/// Empty until somebody comes.
#[derive(Clone, Debug, Default)]
struct Set(Vec<Place>);

#[derive(Clone, Copy, Debug)]
struct Place {
    source: u64,
    /// When its bucket is full again.
    full: u64,
}

impl Default for Sources {
    fn default() -> Self {
        Self::new(RandomState::new(), SETS)
    }
}

impl<H: BuildHasher + Clone> Sources<H> {
    pub(super) fn new(hasher: H, sets: usize) -> Self {
        let sets = (0..sets).map(|_| Mutex::default()).collect();
        Self { hasher, sets, others: Bucket::default() }
    }

    fn set(&self, source: u64) -> MutexGuard<'_, Set> {
        let at = self.hasher.hash_one(source) as usize % self.sets.len();
        self.sets[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long until there is a token for `source`; zero: there is one.
    pub fn wait(&self, source: u64, rule: &Rule, now: u64) -> Duration {
        let set = self.set(source);
        match set.0.iter().find(|place| place.source == source) {
            Some(place) => Duration::from_nanos(rule.wait(place.full, now)),
            None if set.has_room(now) => Duration::ZERO,
            None => self.others.wait(rule, now),
        }
    }

    /// Takes a token of `source`.
    ///
    /// # Errors
    /// There is none; the time until there is.
    pub fn take(&self, source: u64, rule: &Rule, now: u64) -> Result<(), Duration> {
        let mut set = self.set(source);
        let Some(place) = set.place(source, now) else { return self.others.take(rule, now) };
        match rule.wait(place.full, now) {
            0 => {
                place.full = rule.taken(place.full, now);
                Ok(())
            }
            wait => Err(Duration::from_nanos(wait)),
        }
    }

    /// The same buckets under another rule.
    pub fn converted(&self, from: &Rule, to: &Rule, now: u64) -> Self {
        let convert = |set: &Mutex<Set>| {
            let mut set = set.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for place in &mut set.0 {
                place.full = to.converted(from, place.full, now);
            }
            Mutex::new(set)
        };
        Self {
            hasher: self.hasher.clone(),
            sets: self.sets.iter().map(convert).collect(),
            others: self.others.converted(from, to, now),
        }
    }
}

impl Set {
    fn has_room(&self, now: u64) -> bool {
        self.0.len() < PLACES || self.0.iter().any(|place| place.full <= now)
    }

    /// The place of `source`, if there is one for it.
    fn place(&mut self, source: u64, now: u64) -> Option<&mut Place> {
        let known = self.0.iter().position(|place| place.source == source);
        let at = match known {
            Some(at) => at,
            None if self.0.len() < PLACES => {
                // Twice at most, then never again.
                self.0.reserve_exact(if self.0.is_empty() { 2 } else { PLACES - self.0.len() });
                self.0.push(Place { source, full: 0 });
                self.0.len() - 1
            }
            None => {
                let at = self.0.iter().position(|place| place.full <= now)?;
                self.0[at] = Place { source, full: 0 };
                at
            }
        };
        self.0.get_mut(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::HashMap;

    use super::*;

    /// Everybody in one set.
    fn crowded() -> Sources {
        Sources::new(RandomState::new(), 1)
    }

    fn rule(rate: &str, burst: u32) -> Rule {
        Rule::new(rate.parse().expect("a rate"), burst)
    }

    proptest! {
        /// Against one bucket for each that is never forgotten: as long as there is room, the same; and those
        /// without room get together what one source would.
        #[test]
        fn forgets_nobody_in_debt(
            events in prop::collection::vec((0..30_u64, 0..400_u64), 1..600),
            burst in 1..4_u32,
        ) {
            let (sources, rule) = (crowded(), rule("10/s", burst));
            let mut known: HashMap<u64, Bucket> = HashMap::new();
            let others = Bucket::default();
            let mut now = 1;
            for (source, ms) in events {
                now += ms * 1_000_000 / 8;
                known.retain(|_, bucket| bucket.0.load(std::sync::atomic::Ordering::Relaxed) > now);
                let expected = if known.contains_key(&source) || known.len() < PLACES {
                    known.entry(source).or_default().take(&rule, now)
                } else {
                    others.take(&rule, now)
                };
                let wait = sources.wait(source, &rule, now);
                prop_assert_eq!(wait, expected.err().unwrap_or_default());
                prop_assert_eq!(sources.take(source, &rule, now), expected);
                prop_assert!(sources.set(source).0.len() <= PLACES);
            }
        }
    }

    #[test]
    fn sources_do_not_share_a_bucket_and_memory_is_bounded() {
        let (sources, rule) = (Sources::default(), rule("1/h", 1));
        for source in 0..200_000 {
            let _ = sources.take(source, &rule, 1);
        }
        let places: usize = (0..SETS).map(|i| sources.sets[i].lock().expect("free").0.len()).sum();
        assert!(places <= SETS * PLACES);
        // The first were there before it was full.
        assert!((0..1_000).all(|source| sources.take(source, &rule, 2).is_err()));
        // An hour later all of them have paid.
        let later = 3_700 * 1_000_000_000;
        assert!((0..1_000).all(|source| sources.take(source, &rule, later).is_ok()));
    }

    #[test]
    fn a_new_rule_keeps_what_was_taken() {
        let (sources, slow) = (Sources::default(), rule("1/h", 4));
        for _ in 0..4 {
            assert_eq!(sources.take(7, &slow, 1), Ok(()));
        }
        let fast = rule("10/s", 4);
        let sources = sources.converted(&slow, &fast, 1);
        assert_eq!(sources.take(7, &fast, 1), Err(Duration::from_millis(100)));
        assert_eq!(sources.take(8, &fast, 1), Ok(()));
    }
}
