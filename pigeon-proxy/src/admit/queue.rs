//! The waiting queue of an engine: a line behind a lock, and its length beside it.
//!
//! No slot is free while somebody waits who may take it. Whoever gives a slot back counts it free and
//! *then* reads `waiting`; whoever lines up publishes `waiting` and *then* looks for a free slot. Both in
//! sequentially consistent order, so at least one of the two sees the other. `tests/handover.rs` walks
//! through the interleavings.

use std::collections::BTreeSet;

use super::line::{Line, Share};
use super::sync::{AtomicU32, Mutex, MutexGuard, Ordering, PoisonError};

/// The calls that wait for a slot of one engine.
#[derive(Debug)]
pub(crate) struct Queue<W> {
    /// The length, readable without the lock. SeqCst throughout.
    waiting: AtomicU32,
    line: Mutex<Line<W>>,
}

/// The line while it is locked. Nothing is woken or dropped meanwhile.
pub(crate) struct Locked<'q, W> {
    waiting: &'q AtomicU32,
    line: MutexGuard<'q, Line<W>>,
}

/// What [`Locked::serve`] is told about one waiter.
pub(crate) enum Served<G> {
    /// It gets this and leaves.
    Grant(G),
    /// Nothing for it now.
    NotYet,
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self { waiting: AtomicU32::new(0), line: Mutex::new(Line::default()) }
    }
}

impl<W> Queue<W> {
    /// How many wait.
    #[inline]
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::SeqCst)
    }

    /// The line, to be changed.
    pub(crate) fn lock(&self) -> Locked<'_, W> {
        Locked {
            waiting: &self.waiting,
            line: self.line.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Serves the line: to be called when a slot was given back. Cheap when nobody waits.
    pub(crate) fn serve<G>(&self, offer: impl FnMut(u64, &W) -> Served<G>) -> Vec<(W, G)> {
        if self.waiting() == 0 {
            return Vec::new();
        }
        self.lock().serve(offer)
    }
}

impl<W> Locked<'_, W> {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.line.len()
    }

    /// How many calls are served before one of this share that came now, itself included.
    pub(crate) fn ahead(&self, share: Share) -> u64 {
        self.line.ahead(share)
    }

    /// Lines up at the end, or at `place`, which a call keeps while it tries one endpoint after another.
    /// `picky` = it cannot take every slot. The caller has to look for a free slot afterwards.
    pub(crate) fn join(&mut self, share: Share, place: Option<u64>, picky: bool, waiter: W) -> u64 {
        let ticket = self.line.join(share, place, picky, waiter);
        self.publish();
        ticket
    }

    /// Leaves the line, if still in it. What is given back is to be dropped when the lock is free.
    pub(crate) fn leave(&mut self, share: u64, ticket: u64) -> Option<W> {
        let waiter = self.line.leave(share, ticket);
        self.publish();
        waiter
    }

    /// Offers every waiter in its turn what `offer` has for it. Once one has got nothing that could have
    /// gone anywhere, only those are asked that could not: for them other rules hold.
    pub(crate) fn serve<G>(&mut self, mut offer: impl FnMut(u64, &W) -> Served<G>) -> Vec<(W, G)> {
        let mut served = Vec::new();
        let mut passed = BTreeSet::new();
        while let Some((share, ticket, waiter)) = self.line.next(&passed) {
            match offer(ticket, waiter) {
                Served::Grant(grant) => self.take(share, ticket, grant, &mut served),
                Served::NotYet if !self.line.is_picky(ticket) => break,
                Served::NotYet => {
                    passed.insert(ticket);
                }
            }
        }
        let mut after = None;
        while let Some((share, ticket, waiter)) = self.line.picky_after(after) {
            after = Some(ticket);
            if passed.contains(&ticket) {
                continue;
            }
            if let Served::Grant(grant) = offer(ticket, waiter) {
                self.take(share, ticket, grant, &mut served);
            }
        }
        if !served.is_empty() {
            self.publish();
        }
        served
    }

    fn take<G>(&mut self, share: u64, ticket: u64, grant: G, served: &mut Vec<(W, G)>) {
        served.extend(self.line.served(share, ticket).map(|waiter| (waiter, grant)));
    }

    fn publish(&self) {
        // At most pool.queue (100,000) wait, plus the calls that had a place already.
        let length = u32::try_from(self.line.len()).unwrap_or(u32::MAX);
        self.waiting.store(length, Ordering::SeqCst);
    }
}
