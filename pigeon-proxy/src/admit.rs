//! Admission: a call gets a slot of its engine at once, waits for one in line, or is refused.
//!
//! Everything here decides without I/O and without waiting; timers belong to the transport. Invariants:
//! an endpoint's `in_use` never grows beyond its limit; a slot is given back exactly once; while calls
//! wait, nobody new passes them; no waiter sleeps while a slot that it may take is free.

mod line;
mod permit;
mod queue;
mod slots;
mod sync;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

pub use line::Share;
pub use permit::{Permit, Rest};
pub(crate) use queue::{Queue, Served};
pub use slots::SlotCounter;
pub use waiting::Waiting;

use crate::engine::{Engine, Taken};

/// The endpoints that a call has tried to reach already, by id; each is tried at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried(Vec<u64>);

impl Tried {
    /// Notes one more.
    pub fn add(&mut self, endpoint: u64) {
        self.0.push(endpoint);
    }

    /// Whether this one was tried.
    pub fn contains(&self, endpoint: u64) -> bool {
        self.0.contains(&endpoint)
    }

    /// Whether none was tried.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a call gets no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The engine has no endpoints that may be used, or is gone.
    NoEndpoint,
    /// Every endpoint was tried and could not be reached.
    AllTried,
    /// No slot is free, and no place to wait.
    QueueFull {
        /// When it may be worth trying again.
        retry: Duration,
    },
}

/// What admission says at once.
#[derive(Debug)]
pub enum Admission {
    /// Go.
    Granted(Permit),
    /// In line.
    Waiting(Waiting),
    /// No.
    Refused(Refusal),
}

/// What a call asks for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'t> {
    /// Endpoints that it does not go to any more.
    pub tried: &'t Tried,
    /// The place in line that it had before, if it waited already: [`Waiting::ticket`].
    pub place: Option<u64>,
    /// Decides between equals.
    pub seed: u64,
    /// What `balance: hash` goes by; without it such an engine balances at random.
    pub hash: Option<u64>,
    /// On whose account it waits.
    pub share: Share,
}

impl<'t> Ask<'t> {
    /// A call that asks for the first time and has nothing particular about it.
    pub fn new(tried: &'t Tried, seed: u64) -> Self {
        Self { tried, place: None, seed, hash: None, share: Share::default() }
    }
}

/// What a waiter gets in the end.
pub(crate) type Grant = Result<Permit, Refusal>;

/// A call in line: what it may take, and where its grant goes.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) tried: Tried,
    pub(crate) hash: Option<u64>,
    to: oneshot::Sender<Grant>,
}

/// Hands grants over, when the queue is no longer locked. A permit for a waiter that has just gone is
/// dropped here, which frees its slot and serves the next waiter.
pub(crate) fn deliver(served: Vec<(Waiter, Grant)>) {
    for (waiter, grant) in served {
        drop(waiter.to.send(grant));
    }
}

/// Asks for a slot of `engine`.
pub fn admit(engine: &Arc<Engine>, ask: &Ask<'_>) -> Admission {
    // The common path: nobody waits and a slot is free. No lock, no allocation.
    if engine.queue().waiting() == 0 {
        match engine.try_take(ask.tried, ask.hash, ask.seed) {
            Taken::Slot(permit) => return Admission::Granted(permit),
            Taken::Refused(refusal) => return Admission::Refused(refusal),
            Taken::Full => {}
        }
    }
    line_up(engine, ask)
}

#[cold]
fn line_up(engine: &Arc<Engine>, ask: &Ask<'_>) -> Admission {
    let mut line = engine.queue().lock();
    if line.len() >= engine.queue_limit() {
        // Between the look and the lock everything may have changed.
        let empty = line.len() == 0;
        let taken =
            if empty { engine.try_take(ask.tried, ask.hash, ask.seed) } else { Taken::Full };
        let ahead = line.ahead(ask.share);
        drop(line);
        return match taken {
            Taken::Slot(permit) => Admission::Granted(permit),
            Taken::Refused(refusal) => Admission::Refused(refusal),
            Taken::Full => {
                Admission::Refused(Refusal::QueueFull { retry: engine.retry_after(ahead) })
            }
        };
    }
    let (to, grant) = oneshot::channel();
    let waiter = Waiter { tried: ask.tried.clone(), hash: ask.hash, to };
    let ticket = line.join(ask.share, ask.place, !ask.tried.is_empty(), waiter);
    // A slot that became free before we were in line woke nobody.
    let served = line.serve(|ticket, waiter| engine.offer(ticket, waiter));
    drop(line);
    deliver(served);
    Admission::Waiting(Waiting::new(Arc::clone(engine), ask.share, ticket, grant))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use pigeon_proto::model::{Spec, document};

    use super::*;
    use crate::engine::Clock;

    fn engine(pool: &str) -> Arc<Engine> {
        let text = format!(
            "{{kind: engine, name: e, spec: {{endpoints: [{{address: 'a:1'}}], pool: {{mode: strict, slots: 1, {pool}}}}}}}"
        );
        let text = format!("---\n{text}\n");
        let Spec::Engine(spec) = document::parse(&text).expect("an engine").remove(0).spec else {
            panic!("not an engine")
        };
        let engine = Arc::new(Engine::new("e".parse().expect("name"), Clock::monotonic()));
        engine.update(&spec);
        engine
    }

    /// The slot becomes free after the call has looked and before it is in line: its release sees nobody
    /// waiting, so the call itself has to look again.
    #[test]
    fn a_slot_that_frees_just_before_a_call_lines_up_is_not_missed() {
        for pool in ["queue: 1", "queue: 0"] {
            let engine = engine(pool);
            match line_up(&engine, &Ask::new(&Tried::default(), 1)) {
                Admission::Granted(_) => assert_eq!(pool, "queue: 0"),
                Admission::Waiting(waiting) => {
                    assert!(waiting.now_or_never().expect("served").is_ok());
                }
                Admission::Refused(refusal) => panic!("{pool}: {refusal:?}"),
            }
            assert_eq!(engine.settings().members[0].endpoint.in_use(), 0);
        }
    }

    #[test]
    fn slots_are_never_taken_above_the_limit() {
        let slots = SlotCounter::default();
        assert!(slots.try_take(2) && slots.try_take(2));
        assert!(!slots.try_take(2));
        assert!(slots.try_take(3));
        slots.give_back();
        // Lowered below what is in use: nothing until it is below again.
        assert!(!slots.try_take(1));
        assert_eq!(slots.in_use(), 2);
    }
}
