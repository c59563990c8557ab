//! Which endpoint a call goes to.
//!
//! An endpoint is *out* (set to drain, or unhealthy by its checks): never used. It is *avoided* (ejected,
//! or it could not be reached): used only when all that are not out are avoided, because a call that may
//! fail is better than one that certainly does. It is *open* otherwise. Among the open ones those below
//! their slots come first (mode loose may go beyond). Up to [`SCAN`] endpoints are all looked at where
//! the method needs it; of more, a few are sampled first and all are looked at only if none of these
//! will do.

mod hash;
mod rota;

use pigeon_proto::model::Balance;

pub use self::rota::Rota;
use super::clock::{below, scramble};

/// So many endpoints are looked at one by one: about 9 ns each, of a call that costs two microseconds.
pub const SCAN: usize = 32;
/// How many are sampled of more: the best of eight is close to the best.
const SAMPLES: u64 = 8;
/// How often a method that needs no comparison looks for one that will do before it looks at all.
const TRIES: u64 = 4;
/// [`View::weight`] of an endpoint of weight 1 that has started.
pub const WHOLE: u32 = 1_000;

/// What balancing sees of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Calls it has.
    pub in_use: u32,
    /// Its slots; `u32::MAX` without a limit.
    pub slots: u32,
    /// How many calls it may have at most: more than `slots` in mode loose.
    pub limit: u32,
    /// Its share relative to the others, in [`WHOLE`]ths; less than configured while it starts.
    pub weight: u32,
    /// Ejected, or could not be reached a moment ago.
    pub avoided: bool,
    /// Set to drain, or unhealthy.
    pub out: bool,
    /// This call tried it already.
    pub tried: bool,
}

impl View {
    /// The first limit, that of the slots.
    fn first_limit(&self) -> u32 {
        self.slots.min(self.limit)
    }

    /// Open, with a free slot.
    fn ready(&self) -> bool {
        !(self.out || self.tried || self.avoided) && self.in_use < self.first_limit()
    }
}

/// The choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This one, to be taken only while fewer than `limit` are in use.
    Endpoint {
        /// Its index.
        index: usize,
        /// What must still hold when the slot is taken.
        limit: u32,
    },
    /// None has a free slot.
    Full,
    /// Each that may be used was tried.
    AllTried,
    /// None may be used.
    NoEndpoint,
}

/// Chooses an endpoint. `seed` decides whatever is left to chance; `key` is what [`Balance::Hash`] goes
/// by, and without one it goes by chance.
pub fn pick(
    rota: &Rota,
    view: impl Fn(usize) -> View,
    balance: Balance,
    key: Option<u64>,
    seed: u64,
) -> Pick {
    if rota.is_empty() {
        return Pick::NoEndpoint;
    }
    let n = rota.len();
    let ready = |i: usize| Some((i, view(i))).filter(|(_, v)| v.ready());
    let found = match (balance, key) {
        (Balance::LeastConnections, _) if n > SCAN => {
            let sampled = (0..SAMPLES).filter_map(|i| ready(rota.any(scramble(seed ^ i))));
            sampled.reduce(|a, b| if better(&b.1, &a.1).is_gt() { b } else { a })
        }
        (Balance::LeastConnections, _) => least((0..n).filter_map(ready), seed),
        (Balance::Random, _) | (Balance::Hash, None) => sample(rota, ready, seed),
        (Balance::RoundRobin, _) => {
            let turns = (0..TRIES).map(|i| (i, rota.turn()));
            turns
                .filter_map(|(i, at)| ready(at).filter(|(at, v)| accepted(rota, *at, v, seed ^ i)))
                .next()
        }
        (Balance::P2c, _) => match (sample(rota, ready, seed), sample(rota, ready, !seed)) {
            (Some(a), Some(b)) if better(&b.1, &a.1).is_gt() => Some(b),
            (Some(a), Some(_)) => Some(a),
            (one, other) => one.or(other),
        },
        (Balance::Hash, Some(key)) => return hash::pick(rota, &view, key),
    };
    if let Some((index, v)) = found {
        return Pick::Endpoint { index, limit: v.first_limit() };
    }
    let start = if balance == Balance::RoundRobin { rota.turn() } else { 0 };
    scan(n, start, &view, |best, new, met| match balance {
        Balance::RoundRobin => false,
        Balance::Random | Balance::Hash => {
            below(scramble(seed.wrapping_add(met.count)), met.weight) < u64::from(new.1.weight)
        }
        Balance::LeastConnections | Balance::P2c => match better(&new.1, &best.1) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => {
                met.ties += 1;
                below(scramble(seed.wrapping_add(met.ties)), met.ties + 1) == 0
            }
        },
    })
}

/// The best, by chance among equals.
fn least(ready: impl Iterator<Item = (usize, View)>, seed: u64) -> Option<(usize, View)> {
    let mut ties = 0;
    ready.reduce(|best, new| match better(&new.1, &best.1) {
        std::cmp::Ordering::Less => best,
        std::cmp::Ordering::Greater => {
            ties = 0;
            new
        }
        std::cmp::Ordering::Equal => {
            ties += 1;
            if below(scramble(seed.wrapping_add(ties)), ties + 1) == 0 { new } else { best }
        }
    })
}

/// One by weight that is ready, if it is found within a few tries.
fn sample(
    rota: &Rota,
    ready: impl Fn(usize) -> Option<(usize, View)>,
    seed: u64,
) -> Option<(usize, View)> {
    let tries = (0..TRIES).map(|i| scramble(seed.wrapping_add(i)));
    let points = tries.filter_map(|seed| ready(rota.by_weight(seed)).map(|found| (seed, found)));
    points.filter(|(seed, (at, v))| accepted(rota, *at, v, *seed)).map(|(_, found)| found).next()
}

/// Lets a starting endpoint have only its part of what it is chosen for.
fn accepted(rota: &Rota, at: usize, v: &View, seed: u64) -> bool {
    let whole = rota.weight(at);
    v.weight >= whole || below(scramble(seed), whole.into()) < u64::from(v.weight)
}

/// More free slots relative to weight; without slots fewer calls relative to weight.
fn better(a: &View, b: &View) -> std::cmp::Ordering {
    let calls = |v: &View| u64::from(v.in_use) + 1;
    // Beyond its slots (mode loose) an endpoint is as free as its limit leaves it.
    let limit = |v: &View| if v.in_use < v.first_limit() { v.first_limit() } else { v.limit };
    let free = |v: &View| u64::from(limit(v).saturating_sub(v.in_use));
    if a.slots == u32::MAX {
        (calls(b) * u64::from(a.weight)).cmp(&(calls(a) * u64::from(b.weight)))
    } else {
        (free(a) * u64::from(a.weight)).cmp(&(free(b) * u64::from(b.weight)))
    }
}

/// What was met so far on one level, the new one included.
#[derive(Clone, Copy, Default)]
struct Met {
    count: u64,
    weight: u64,
    /// Since the best was found, as many were as good.
    ties: u64,
}

/// Looks at all, beginning at `start`. `replaces` says whether a new one is taken rather than the best so
/// far of its level; the first of a level always is.
fn scan(
    n: usize,
    start: usize,
    view: impl Fn(usize) -> View,
    mut replaces: impl FnMut(&(usize, View), &(usize, View), &mut Met) -> bool,
) -> Pick {
    let (mut usable, mut untried, mut open) = (false, false, false);
    // By level: open or avoided, each below its slots or beyond.
    let mut levels: [(Option<(usize, View)>, Met); 4] = [(None, Met::default()); 4];
    for i in (start..n).chain(0..start) {
        let v = view(i);
        usable |= !v.out;
        if v.out || v.tried {
            continue;
        }
        untried = true;
        open |= !v.avoided;
        if v.in_use >= v.limit {
            continue;
        }
        let level = usize::from(v.avoided) * 2 + usize::from(v.in_use >= v.slots);
        let (best, met) = &mut levels[level];
        met.count += 1;
        met.weight += u64::from(v.weight);
        let (new, ties) = ((i, v), met.ties);
        if best.is_none_or(|best| replaces(&best, &new, met)) {
            *best = Some(new);
            met.ties = if met.ties > ties { met.ties } else { 0 };
        }
    }
    let levels = if open { &levels[..2] } else { &levels[2..] };
    match levels.iter().find_map(|(best, _)| *best) {
        Some((index, v)) => {
            let limit = if v.in_use < v.first_limit() { v.first_limit() } else { v.limit };
            Pick::Endpoint { index, limit }
        }
        None if untried => Pick::Full,
        None if usable => Pick::AllTried,
        None => Pick::NoEndpoint,
    }
}

#[cfg(test)]
mod tests;
