//! Balancing by hash: weighted rendezvous with bounded load.
//!
//! Every key has an order of all endpoints that depends on nothing else, so what happens to one endpoint
//! moves only the keys it has or gets. A call goes to the first of that order that is below 1.25 times
//! its share of all calls (Mirrokni, Thorup and Zadimoghaddam: consistent hashing with bounded loads) and
//! has a free slot; if none is, the first with a free slot.

use std::sync::atomic::Ordering;

use super::{Pick, Rota, SCAN, View, scan};
use crate::engine::clock::scramble;

/// How often the sums over many endpoints are used before they are made anew.
const STALE: u64 = 64;

pub(super) fn pick(rota: &Rota, view: impl Fn(usize) -> View, key: u64) -> Pick {
    let (calls, weight) = load(rota, &view);
    // 5/4 of its part of all calls with this one, rounded up.
    let light = |v: &View| {
        let part = (calls + 1) * 5 * u64::from(v.weight);
        u64::from(v.in_use) < part.div_ceil(4 * weight.max(1))
    };
    // Most calls find their first endpoint well; that takes no look at the others.
    if let Some(first) = first(rota, key) {
        let v = view(first);
        if v.ready() && light(&v) && v.weight == rota.weight(first) {
            return Pick::Endpoint { index: first, limit: v.first_limit() };
        }
    }
    scan(rota.len(), 0, view, |best, new, _| {
        let rank = |(i, v): &(usize, View)| (light(v), score(rota.hashes[*i], key, v.weight));
        rank(new) > rank(best)
    })
}

/// The first endpoint of a key's order, as if all had started.
fn first(rota: &Rota, key: u64) -> Option<usize> {
    if rota.even {
        let hashes = rota.hashes.iter().map(|hash| scramble(key ^ hash)).zip(0..);
        return hashes.max().map(|(_, at)| at);
    }
    let mut best = None;
    let mut most = f64::NEG_INFINITY;
    for (at, hash) in rota.hashes.iter().enumerate() {
        let (weight, u) = (f64::from(rota.weight(at)), unit(*hash, key));
        // -ln u ≥ 1 - u: nearly all are out of the question without a logarithm.
        if weight > most * (1.0 - u) {
            let score = weight / -u.ln();
            if score > most {
                (best, most) = (Some(at), score);
            }
        }
    }
    best
}

/// The place in a key's order: the higher the earlier.
fn score(hash: u64, key: u64, weight: u32) -> f64 {
    f64::from(weight) / -unit(hash, key).ln()
}

/// Evenly spread between 0 and 1, both excluded.
fn unit(hash: u64, key: u64) -> f64 {
    ((scramble(key ^ hash) >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

/// Calls and weight of all that may be used. Of many they are not counted for every call.
fn load(rota: &Rota, view: &impl Fn(usize) -> View) -> (u64, u64) {
    let load = &rota.load;
    if rota.len() > SCAN && !load.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(STALE) {
        return (load.calls.load(Ordering::Relaxed), load.weight.load(Ordering::Relaxed));
    }
    let sum = |(calls, weight): (u64, u64), v: View| {
        (calls + u64::from(v.in_use), weight + u64::from(v.weight))
    };
    let counted = (0..rota.len()).map(view).filter(|v| !v.out && !v.avoided);
    let (calls, weight) = counted.fold((0, 0), sum);
    load.calls.store(calls, Ordering::Relaxed);
    load.weight.store(weight, Ordering::Relaxed);
    (calls, weight)
}
