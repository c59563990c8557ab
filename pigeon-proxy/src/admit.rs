//! Admission: a call gets a slot of its engine at once, waits for one in line, or is refused.
//!
//! Everything here decides without I/O and without waiting; timers belong to the transport. Invariants:
//! an endpoint's `in_use` never grows beyond its limit; a slot is given back exactly once; while calls
//! wait, nobody new passes them; no waiter sleeps while a slot that it may take is free.

mod permit;
mod queue;
mod slots;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

pub use permit::{Permit, Rest};
pub(crate) use queue::{Delivery, Locked, Queue, Served};
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
    /// The engine has no endpoints, or is gone.
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

/// Asks for a slot of `engine` on an endpoint not yet `tried`. `place` is the place in line the call had
/// before, if it waited already; `seed` decides between equals.
pub fn admit(engine: &Arc<Engine>, tried: &Tried, place: Option<u64>, seed: u64) -> Admission {
    // The common path: nobody waits and a slot is free. No lock, no allocation.
    if engine.queue().waiting() == 0 {
        match engine.try_take(tried, seed) {
            Taken::Slot(permit) => return Admission::Granted(permit),
            Taken::Refused(refusal) => return Admission::Refused(refusal),
            Taken::Full => {}
        }
    }
    line_up(engine, tried, place, seed)
}

#[cold]
fn line_up(engine: &Arc<Engine>, tried: &Tried, place: Option<u64>, seed: u64) -> Admission {
    let mut line = engine.queue().lock();
    if line.len() >= engine.queue_limit() {
        // Between the look and the lock everything may have changed.
        let taken = if line.len() == 0 { engine.try_take(tried, seed) } else { Taken::Full };
        drop(line);
        return match taken {
            Taken::Slot(permit) => Admission::Granted(permit),
            Taken::Refused(refusal) => Admission::Refused(refusal),
            Taken::Full => Admission::Refused(Refusal::QueueFull { retry: engine.retry_hint() }),
        };
    }
    let (ticket, grant) = line.join(place, tried.clone());
    // A slot that became free before we were in line woke nobody.
    let deliveries = engine.serve(&mut line);
    drop(line);
    for delivery in deliveries {
        delivery.send();
    }
    Admission::Waiting(Waiting::new(Arc::clone(engine), ticket, grant))
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
            match line_up(&engine, &Tried::default(), None, 1) {
                Admission::Granted(_) => assert_eq!(pool, "queue: 0"),
                Admission::Waiting(waiting) => {
                    assert!(waiting.now_or_never().expect("served").is_ok());
                }
                Admission::Refused(refusal) => panic!("{pool}: {refusal:?}"),
            }
            assert_eq!(engine.settings().members[0].endpoint.in_use(), 0);
        }
    }
}
