//! The waiting queue of an engine: first come, first served, with late binding to an endpoint.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{Permit, Refusal, Tried};

/// What a waiter gets in the end.
pub(crate) type Grant = Result<Permit, Refusal>;

/// A grant on its way to its waiter; sent when the queue is no longer locked.
pub(crate) struct Delivery {
    to: oneshot::Sender<Grant>,
    grant: Grant,
}

impl Delivery {
    /// Hands the grant over. A permit for a waiter that has just gone is dropped here, which frees its
    /// slot and serves the next waiter.
    pub(crate) fn send(self) {
        drop(self.to.send(self.grant));
    }
}

/// The calls that wait for a slot of one engine.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// The length, readable without the lock. SeqCst throughout; see `Engine::release`.
    waiting: AtomicU32,
    line: Mutex<Line>,
}

impl Queue {
    /// How many wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::SeqCst)
    }

    /// The line, to be changed. Nothing is woken or dropped while it is held.
    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked {
            waiting: &self.waiting,
            line: self.line.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// Who waits, by ticket: the oldest has the lowest.
#[derive(Debug, Default)]
struct Line {
    next_ticket: u64,
    waiters: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    tried: Tried,
    to: oneshot::Sender<Grant>,
}

/// The line while it is locked.
pub(crate) struct Locked<'q> {
    waiting: &'q AtomicU32,
    line: MutexGuard<'q, Line>,
}

/// What [`Locked::serve`] is told about one waiter.
pub(crate) enum Served {
    /// It gets this and leaves.
    Grant(Grant),
    /// Nothing for it now.
    NotYet,
}

impl Locked<'_> {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.line.waiters.len()
    }

    /// Lines up at the end, or at `place`, which a call keeps while it tries one endpoint after another.
    pub(crate) fn join(
        &mut self,
        place: Option<u64>,
        tried: Tried,
    ) -> (u64, oneshot::Receiver<Grant>) {
        let ticket = place.unwrap_or(self.line.next_ticket);
        self.line.next_ticket = self.line.next_ticket.max(ticket + 1);
        let (to, grant) = oneshot::channel();
        let before = self.line.waiters.insert(ticket, Waiter { tried, to });
        debug_assert!(before.is_none(), "two waiters in one place");
        self.publish();
        (ticket, grant)
    }

    /// Leaves the line, if still in it.
    pub(crate) fn leave(&mut self, ticket: u64) {
        if self.line.waiters.remove(&ticket).is_some() {
            self.publish();
        }
    }

    /// Offers every waiter, oldest first, what `offer` has for it; ends at the first that could have
    /// gone anywhere and still got nothing.
    pub(crate) fn serve(&mut self, mut offer: impl FnMut(u64, &Tried) -> Served) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        let mut after = Bound::Unbounded;
        while let Some((&ticket, waiter)) =
            self.line.waiters.range((after, Bound::Unbounded)).next()
        {
            match offer(ticket, &waiter.tried) {
                Served::Grant(grant) => {
                    if let Some(waiter) = self.line.waiters.remove(&ticket) {
                        deliveries.push(Delivery { to: waiter.to, grant });
                    }
                }
                Served::NotYet if waiter.tried.is_empty() => break,
                Served::NotYet => {}
            }
            after = Bound::Excluded(ticket);
        }
        if !deliveries.is_empty() {
            self.publish();
        }
        deliveries
    }

    fn publish(&self) {
        // At most pool.queue (100,000) wait, plus the calls that had a place already.
        let length = u32::try_from(self.line.waiters.len()).unwrap_or(u32::MAX);
        self.waiting.store(length, Ordering::SeqCst);
    }
}
