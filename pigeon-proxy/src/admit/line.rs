//! The order in which waiting calls are served: weighted fair between shares, oldest first inside one.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996), charged when a call is served and not
//! when it comes, so that calls that give up cost their share nothing. Each share has the virtual time
//! at which its next call is due; the share that is due first is served, and its next call is due
//! `1 / weight` later. A share that had nobody waiting is due now at the earliest: what it left unused
//! is not saved up. Every operation is O(log n). Pure.

use std::collections::{BTreeMap, BTreeSet};

/// On whose account a call waits; the line divides slots between shares in proportion to their weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Who.
    pub key: u64,
    /// How much relative to the others; at least 1 and at most 2²⁰ count.
    pub weight: u32,
}

impl Default for Share {
    /// The one that all calls have which have no other.
    fn default() -> Self {
        Self { key: 0, weight: 1 }
    }
}

/// What one call of a share of weight 1 costs in virtual time.
const CALL: u64 = 1 << 20;

/// Who waits. Tickets grow with time: inside a share the lowest is served first.
#[derive(Debug)]
pub(crate) struct Line<W> {
    next_ticket: u64,
    len: usize,
    /// When the call served last was due.
    now: u64,
    shares: BTreeMap<u64, Flow<W>>,
    /// The shares with somebody waiting, as they are due: (due, oldest ticket, key).
    order: BTreeSet<(u64, u64, u64)>,
    /// The shares without, until their last call is paid for: (due, key).
    idle: BTreeSet<(u64, u64)>,
    /// The waiters that cannot take every slot: ticket, key.
    picky: BTreeMap<u64, u64>,
    /// The weights of the shares with somebody waiting.
    weights: u64,
}

/// The waiters of one share.
#[derive(Debug)]
struct Flow<W> {
    weight: u64,
    due: u64,
    waiters: BTreeMap<u64, W>,
}

impl<W> Flow<W> {
    fn cost(&self) -> u64 {
        CALL / self.weight
    }

    fn turn(&self, key: u64) -> Option<(u64, u64, u64)> {
        self.waiters.keys().next().map(|oldest| (self.due, *oldest, key))
    }
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        Self {
            next_ticket: 0,
            len: 0,
            now: 0,
            shares: BTreeMap::new(),
            order: BTreeSet::new(),
            idle: BTreeSet::new(),
            picky: BTreeMap::new(),
            weights: 0,
        }
    }
}

impl<W> Line<W> {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Lines up, `picky` if it cannot take every slot. A call that comes back has its `place` again, and
    /// what it paid. Gives the ticket.
    pub(crate) fn join(&mut self, share: Share, place: Option<u64>, picky: bool, waiter: W) -> u64 {
        let ticket = place.unwrap_or(self.next_ticket);
        self.next_ticket = self.next_ticket.max(ticket + 1);
        let weight = u64::from(share.weight).clamp(1, CALL);
        let flow = self.shares.entry(share.key).or_insert_with(|| Flow {
            weight,
            due: self.now,
            waiters: BTreeMap::new(),
        });
        match flow.turn(share.key) {
            Some(turn) => {
                self.order.remove(&turn);
                self.weights -= flow.weight;
            }
            None => {
                self.idle.remove(&(flow.due, share.key));
            }
        }
        flow.weight = weight;
        if place.is_some() {
            flow.due = flow.due.saturating_sub(flow.cost());
        }
        if flow.waiters.is_empty() {
            flow.due = flow.due.max(self.now);
        }
        let before = flow.waiters.insert(ticket, waiter);
        debug_assert!(before.is_none(), "two waiters in one place");
        self.len += 1;
        if picky {
            self.picky.insert(ticket, share.key);
        }
        self.queue_up(share.key);
        ticket
    }

    /// Takes a waiter out that gives up.
    pub(crate) fn leave(&mut self, key: u64, ticket: u64) -> Option<W> {
        self.take(key, ticket, false)
    }

    /// Takes a waiter out that is served.
    pub(crate) fn served(&mut self, key: u64, ticket: u64) -> Option<W> {
        self.take(key, ticket, true)
    }

    /// Who is next, of those not in `passed`: the key of the share, the ticket and the waiter.
    pub(crate) fn next(&self, passed: &BTreeSet<u64>) -> Option<(u64, u64, &W)> {
        let shares =
            self.order.iter().filter_map(|(_, _, key)| Some((*key, self.shares.get(key)?)));
        let waiters = shares.flat_map(|(key, flow)| flow.waiters.iter().map(move |w| (key, w)));
        waiters.map(|(key, (ticket, w))| (key, *ticket, w)).find(|(_, t, _)| !passed.contains(t))
    }

    /// Whether this waiter cannot take every slot.
    pub(crate) fn is_picky(&self, ticket: u64) -> bool {
        self.picky.contains_key(&ticket)
    }

    /// The oldest waiter above this ticket that cannot take every slot.
    pub(crate) fn picky_after(&self, after: Option<u64>) -> Option<(u64, u64, &W)> {
        let (ticket, key) = self.picky.range(after.map_or(0, |t| t + 1)..).next()?;
        let waiter = self.shares.get(key)?.waiters.get(ticket)?;
        Some((*key, *ticket, waiter))
    }

    /// How many calls are served before one of this share would be that came now, itself included.
    pub(crate) fn ahead(&self, share: Share) -> u64 {
        let weight = u64::from(share.weight).clamp(1, CALL);
        let flow = self.shares.get(&share.key).filter(|flow| !flow.waiters.is_empty());
        let own = flow.map_or(0, |flow| flow.waiters.len() as u64) + 1;
        let weights = self.weights - flow.map_or(0, |flow| flow.weight) + weight;
        // While its own are served the others get what their weights give them, unless they run out.
        (own * weights / weight).min(self.len as u64 + 1)
    }

    fn take(&mut self, key: u64, ticket: u64, pays: bool) -> Option<W> {
        let flow = self.shares.get_mut(&key)?;
        let turn = flow.turn(key)?;
        let waiter = flow.waiters.remove(&ticket)?;
        self.order.remove(&turn);
        self.weights -= flow.weight;
        if pays {
            self.now = self.now.max(flow.due);
            flow.due += flow.cost();
        }
        self.len -= 1;
        self.picky.remove(&ticket);
        self.queue_up(key);
        self.forget();
        Some(waiter)
    }

    /// Puts a share where it belongs.
    fn queue_up(&mut self, key: u64) {
        let Some(flow) = self.shares.get(&key) else { return };
        match flow.turn(key) {
            Some(turn) => {
                self.order.insert(turn);
                self.weights += flow.weight;
            }
            None => {
                self.idle.insert((flow.due, key));
            }
        }
    }

    /// Forgets the shares that are as good as new.
    fn forget(&mut self) {
        if self.len == 0 {
            // Nobody competes: whoever comes next begins anew.
            *self = Self { next_ticket: self.next_ticket, ..Self::default() };
        }
        while let Some(&(due, key)) = self.idle.first().filter(|(due, _)| *due <= self.now) {
            self.idle.remove(&(due, key));
            self.shares.remove(&key);
        }
    }
}

// `tests/handover.rs` compiles this file too; the path is the same from there.
#[cfg(test)]
#[path = "line/tests.rs"]
mod tests;
