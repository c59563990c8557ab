//! Which endpoint a call goes to.

use pigeon_proto::model::Balance;

use super::clock::scramble;

/// What balancing sees of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Calls it has.
    pub in_use: u32,
    /// Its slots; `u32::MAX` without a limit.
    pub slots: u32,
    /// How many calls it may have at most: more than `slots` in mode loose.
    pub limit: u32,
    /// Its share relative to the others.
    pub weight: u32,
    /// Could not be reached a moment ago.
    pub avoided: bool,
    /// This call tried it already.
    pub tried: bool,
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
    /// Each was tried.
    AllTried,
}

/// Chooses among `n` endpoints. Avoided ones only when there is no other; in mode loose those below
/// their slots first. `seed` decides ties and, for [`Balance::Random`], everything.
pub fn pick(n: usize, view: impl Fn(usize) -> View, balance: Balance, seed: u64) -> Pick {
    let (mut untried, mut fresh) = (false, false);
    for v in (0..n).map(&view).filter(|v| !v.tried) {
        untried = true;
        fresh |= !v.avoided;
    }
    if !untried {
        return Pick::AllTried;
    }
    let open = |v: &View| !(v.tried || fresh && v.avoided);
    let limits: [fn(&View) -> u32; 2] = [|v| v.slots.min(v.limit), |v| v.limit];
    for limit in limits {
        let free = |&i: &usize| Some(view(i)).filter(|v| open(v) && v.in_use < limit(v));
        let chosen = match balance {
            Balance::LeastConnections | Balance::P2c => least(n, free, limit, seed),
            Balance::Random | Balance::RoundRobin | Balance::Hash => random(n, free, seed),
        };
        if let Some(index) = chosen {
            return Pick::Endpoint { index, limit: limit(&view(index)) };
        }
    }
    Pick::Full
}

/// The most free slots relative to weight; without slots the fewest calls relative to weight.
fn least(
    n: usize,
    free: impl Fn(&usize) -> Option<View>,
    limit: impl Fn(&View) -> u32,
    seed: u64,
) -> Option<usize> {
    let mut best: Option<(usize, View)> = None;
    let mut ties = 1;
    for i in 0..n {
        let Some(v) = free(&i) else { continue };
        let order = best.as_ref().map(|(_, b)| better(&v, b, &limit));
        match order {
            None | Some(std::cmp::Ordering::Greater) => {
                best = Some((i, v));
                ties = 1;
            }
            Some(std::cmp::Ordering::Equal) => {
                ties += 1;
                if scramble(seed.wrapping_add(ties)).is_multiple_of(ties) {
                    best = Some((i, v));
                }
            }
            Some(std::cmp::Ordering::Less) => {}
        }
    }
    best.map(|(i, _)| i)
}

fn better(a: &View, b: &View, limit: impl Fn(&View) -> u32) -> std::cmp::Ordering {
    let calls = |v: &View| u64::from(v.in_use) + 1;
    let free = |v: &View| u64::from(limit(v).saturating_sub(v.in_use));
    if a.slots == u32::MAX {
        (calls(b) * u64::from(a.weight)).cmp(&(calls(a) * u64::from(b.weight)))
    } else {
        (free(a) * u64::from(a.weight)).cmp(&(free(b) * u64::from(b.weight)))
    }
}

/// By weight, among those with a free slot.
fn random(n: usize, free: impl Fn(&usize) -> Option<View>, seed: u64) -> Option<usize> {
    let total: u64 = (0..n).filter_map(|i| free(&i)).map(|v| u64::from(v.weight)).sum();
    let mut point = scramble(seed).checked_rem(total)?;
    let mut last = None;
    for i in 0..n {
        let Some(v) = free(&i) else { continue };
        if point < u64::from(v.weight) {
            return Some(i);
        }
        point -= u64::from(v.weight);
        last = Some(i);
    }
    // The counters moved between the two looks.
    last
}

#[cfg(test)]
mod tests;
