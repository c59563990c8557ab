//! The hand-over of a slot, step by step: every interleaving of few calls, and many of more.
//!
//! The counter, the line and the queue are the files of the proxy, compiled here with shuttle's
//! primitives. What an engine does with them (`admit`, `Engine::release`) is told again in a few lines;
//! three ways to get it wrong are seen to fail.

#![allow(dead_code)] // Of the proxy's files only a part is used.

mod sync {
    pub(super) use shuttle::sync::atomic::{AtomicU32, Ordering};
    pub(super) use shuttle::sync::{Mutex, MutexGuard};
    pub(super) use std::sync::PoisonError;
}
#[path = "../src/admit/line.rs"]
mod line;
#[path = "../src/admit/queue.rs"]
mod queue;
#[path = "../src/admit/slots.rs"]
mod slots;

use std::sync::Arc;
// What the test itself notes is no step: shuttle runs one thread at a time.
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use shuttle::thread;

use self::line::Share;
use self::queue::{Queue, Served};
use self::slots::SlotCounter;

/// How the hand-over goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// As the proxy does it.
    Rightly,
    /// A call that has lined up does not look for a free slot any more.
    NoSecondLook,
    /// A slot is counted free only after it was looked whether anybody waits.
    FreedTooLate,
    /// Those who find a free slot take it without regard to those who wait.
    Barging,
}

/// A call in line: whether it has been given a slot.
type Waiter = Arc<AtomicBool>;

struct Engine {
    how: How,
    limit: u32,
    slots: SlotCounter,
    queue: Queue<Waiter>,
    /// What the engine itself would count.
    running: AtomicU32,
}

enum Admission {
    Granted,
    Waiting(u64, Waiter),
}

impl Engine {
    fn new(how: How, limit: u32) -> Arc<Self> {
        Arc::new(Self {
            how,
            limit,
            slots: SlotCounter::default(),
            queue: Queue::default(),
            running: AtomicU32::new(0),
        })
    }

    fn offer(&self) -> Served<()> {
        if self.slots.try_take(self.limit) { Served::Grant(()) } else { Served::NotYet }
    }

    fn deliver(served: Vec<(Waiter, ())>) {
        for (waiter, ()) in served {
            waiter.store(true, Ordering::SeqCst);
        }
    }

    fn admit(&self, share: Share) -> Admission {
        let free = self.how == How::Barging || self.queue.waiting() == 0;
        if free && self.slots.try_take(self.limit) {
            return Admission::Granted;
        }
        let waiter = Waiter::default();
        let mut line = self.queue.lock();
        let ticket = line.join(share, None, false, Arc::clone(&waiter));
        let served = match self.how {
            How::NoSecondLook => Vec::new(),
            _ => line.serve(|_, _| self.offer()),
        };
        drop(line);
        Self::deliver(served);
        Admission::Waiting(ticket, waiter)
    }

    fn release(&self) {
        if self.how == How::FreedTooLate {
            let nobody = self.queue.waiting() == 0;
            self.slots.give_back();
            if nobody {
                return;
            }
        } else {
            self.slots.give_back();
        }
        Self::deliver(self.queue.serve(|_, _| self.offer()));
    }

    /// The call runs and ends.
    fn run(&self) {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(running <= self.limit, "a slot too many");
        thread::yield_now();
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.release();
    }

    /// One call. Who waits looks once whether its time has come, and gives up if not; what is left at the
    /// end is looked at by `check`.
    fn call(&self, share: Share, gives_up: bool) -> Option<Waiter> {
        match self.admit(share) {
            Admission::Granted => self.run(),
            Admission::Waiting(ticket, waiter) if gives_up => {
                let gone = self.queue.lock().leave(share.key, ticket);
                if gone.is_none() {
                    // Served meanwhile: the permit that was sent is dropped.
                    self.release();
                }
                drop(waiter);
            }
            Admission::Waiting(_, waiter) => return Some(waiter),
        }
        None
    }
}

/// Calls at once, some of which give up. At the end every slot is free, or given to one who waits, and
/// nobody waits beside a free slot.
fn check(how: How, limit: u32, calls: &'static [bool]) {
    let engine = Engine::new(how, limit);
    let calls = calls.iter().zip(0..).map(|(&gives_up, n)| {
        let engine = Arc::clone(&engine);
        thread::spawn(move || engine.call(Share { key: n % 2, weight: 1 }, gives_up))
    });
    let calls: Vec<_> = calls.collect();
    let mut waiting: Vec<_> = calls.into_iter().filter_map(|c| c.join().expect("a call")).collect();
    // Those who were served run now, and let the others in.
    while let Some(at) = waiting.iter().position(|w| w.load(Ordering::SeqCst)) {
        waiting.swap_remove(at);
        engine.run();
    }
    assert!(waiting.is_empty(), "{} forgotten beside a free slot", waiting.len());
    assert_eq!(engine.slots.in_use(), 0);
    assert_eq!(engine.queue.waiting(), 0);
}

/// The slot is taken; it is given back while another call comes.
fn one_ends_one_comes(how: How, gives_up: bool) {
    let engine = Engine::new(how, 1);
    assert!(matches!(engine.admit(Share::default()), Admission::Granted));
    let comes = {
        let engine = Arc::clone(&engine);
        thread::spawn(move || engine.call(Share::default(), gives_up))
    };
    engine.release();
    if let Some(waiter) = comes.join().expect("a call") {
        assert!(waiter.load(Ordering::SeqCst), "forgotten beside a free slot");
        engine.release();
    }
    assert_eq!(engine.slots.in_use(), 0);
    assert_eq!(engine.queue.waiting(), 0);
}

#[test]
fn in_every_order_of_steps_nobody_is_forgotten() {
    shuttle::check_dfs(|| one_ends_one_comes(How::Rightly, false), None);
    shuttle::check_dfs(|| one_ends_one_comes(How::Rightly, true), None);
}

#[test]
fn in_many_orders_of_many_calls_nobody_is_forgotten() {
    shuttle::check_pct(|| check(How::Rightly, 1, &[false, true, false]), 4_000, 3);
    shuttle::check_random(|| check(How::Rightly, 2, &[false, true, false, false, true]), 4_000);
}

#[test]
#[should_panic(expected = "forgotten")]
fn without_a_second_look_somebody_is() {
    shuttle::check_dfs(|| one_ends_one_comes(How::NoSecondLook, false), None);
}

#[test]
#[should_panic(expected = "forgotten")]
fn when_slots_are_freed_too_late_somebody_is() {
    shuttle::check_dfs(|| one_ends_one_comes(How::FreedTooLate, false), None);
}

/// One slot and one who waits for it, when another comes just as the slot is given back.
fn nobody_passes(how: How) {
    let engine = Engine::new(how, 1);
    assert!(matches!(engine.admit(Share::default()), Admission::Granted));
    let Admission::Waiting(_, first) = engine.admit(Share::default()) else {
        panic!("a slot too many")
    };
    let other = {
        let engine = Arc::clone(&engine);
        thread::spawn(move || matches!(engine.admit(Share::default()), Admission::Granted))
    };
    engine.release();
    let passed = other.join().expect("a call");
    assert!(!passed && first.load(Ordering::SeqCst), "somebody passed");
}

#[test]
fn in_every_order_of_steps_nobody_passes_those_who_wait() {
    shuttle::check_dfs(|| nobody_passes(How::Rightly), None);
}

#[test]
#[should_panic(expected = "passed")]
fn who_takes_any_free_slot_passes() {
    shuttle::check_dfs(|| nobody_passes(How::Barging), None);
}
