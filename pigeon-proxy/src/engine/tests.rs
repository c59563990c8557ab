//! Slots and the line before them: cases written down, a comparison with a naive reference, and threads.

mod conditions;
mod reference;
mod simulation;
mod threads;

use std::sync::atomic::AtomicU64;

use futures_util::FutureExt as _;
use pigeon_proto::model::{Spec, document};

use super::*;
use crate::admit::{Admission, Ask, Waiting, admit};

pub(super) fn spec(text: &str) -> model::Engine {
    let text = format!("kind: engine\nname: e\nspec: {text}\n");
    match document::parse(&text).expect("an engine").remove(0).spec {
        Spec::Engine(engine) => engine,
        other => panic!("{other:?}"),
    }
}

pub(super) fn strict(addresses: &[&str], slots: u32, queue: u32) -> model::Engine {
    let endpoint = |a: &&str| format!("{{address: \"{a}\"}}");
    let endpoints = addresses.iter().map(endpoint).collect::<Vec<_>>().join(", ");
    spec(&format!(
        "{{endpoints: [{endpoints}], pool: {{mode: strict, slots: {slots}, queue: {queue}}}}}"
    ))
}

/// An engine whose time is set by hand.
struct Rig {
    engine: Arc<Engine>,
    now_us: Arc<AtomicU64>,
}

impl Rig {
    fn new(spec: &model::Engine) -> Self {
        let now_us = Arc::new(AtomicU64::new(0));
        let clock = Clock::Manual(Arc::clone(&now_us));
        let engine = Arc::new(Engine::new("e".parse().expect("name"), clock));
        engine.update(spec);
        Self { engine, now_us }
    }

    fn admit(&self) -> Admission {
        admit(&self.engine, &Ask::new(&Tried::default(), 1))
    }

    fn granted(&self) -> Permit {
        match self.admit() {
            Admission::Granted(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn waiting(&self) -> Waiting {
        match self.admit() {
            Admission::Waiting(waiting) => waiting,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&self) -> Refusal {
        match self.admit() {
            Admission::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    fn in_use(&self) -> Vec<u32> {
        self.engine.settings().members.iter().map(|m| m.endpoint.in_use()).collect()
    }

    /// The call of `permit` ends after it held its slot for so long.
    fn ended(&self, permit: &Permit, outcome: Outcome, held_ms: u64) {
        let stay = Stay { outcome, held_us: held_ms * 1_000, first_message_us: None };
        self.engine.ended(permit.endpoint(), &stay, self.engine.clock().now_us());
    }

    fn pass(&self, ms: u64) {
        self.now_us.fetch_add(ms * 1_000, Ordering::Relaxed);
    }
}

fn now(waiting: &mut Waiting) -> Option<Result<Permit, Refusal>> {
    waiting.now_or_never()
}

#[test]
fn waiters_get_whichever_slot_frees_first_in_order() {
    let rig = Rig::new(&strict(&["a:1", "b:1"], 1, 9));
    let (first, second) = (rig.granted(), rig.granted());
    let (mut w1, mut w2) = (rig.waiting(), rig.waiting());
    assert!(now(&mut w1).is_none());
    let freed = second.endpoint().id();
    drop(second);
    let permit = now(&mut w1).expect("served").expect("a permit");
    assert_eq!(permit.endpoint().id(), freed);
    assert!(now(&mut w2).is_none());
    drop(first);
    let _second = now(&mut w2).expect("served").expect("a permit");
    assert_eq!((rig.in_use(), rig.engine.waiting()), (vec![1, 1], 0));
}

#[test]
fn nobody_passes_those_who_wait() {
    let rig = Rig::new(&strict(&["a:1"], 1, 9));
    let permit = rig.granted();
    let mut old = rig.waiting();
    drop(permit);
    // The slot is on its way to `old`, who has not looked yet.
    let mut new = rig.waiting();
    assert!(now(&mut new).is_none());
    let permit = now(&mut old).expect("served").expect("a permit");
    drop(permit);
    assert!(now(&mut new).expect("served").is_ok());
}

#[test]
fn a_slot_that_nobody_was_told_of_goes_to_the_oldest_waiter() {
    let rig = Rig::new(&strict(&["a:1", "b:1"], 1, 9));
    let (first, second) = (rig.granted(), rig.granted());
    rig.engine.dial_failed(first.endpoint(), 1, &"refused");
    let avoided = first.endpoint().id();
    drop(first);
    let mut old = rig.waiting();
    assert!(now(&mut old).is_none());
    // The time of avoiding ends, which is no event for the engine; then a new call comes.
    rig.pass(1_000);
    let mut new = rig.waiting();
    assert!(now(&mut new).is_none());
    let permit = now(&mut old).expect("served").expect("a permit");
    assert_eq!(permit.endpoint().id(), avoided);
    drop(second);
    assert!(now(&mut new).expect("served").is_ok());
}

#[test]
fn the_line_is_bounded_and_the_full_line_gives_a_hint() {
    let rig = Rig::new(&strict(&["a:1"], 1, 1));
    let permit = rig.granted();
    let _waiting = rig.waiting();
    assert_eq!(rig.refused(), Refusal::QueueFull { retry: SHORTEST_RETRY });
    rig.ended(&permit, Outcome::Well, 4_000);
    drop(permit);
    // One is ahead, and calls hold their slot for 4 s.
    let _again = rig.waiting();
    assert_eq!(rig.engine.retry_hint(Share::default()), Duration::from_secs(8));
    // Another share is not behind it.
    let other = Share { key: 7, weight: 1 };
    assert_eq!(rig.engine.retry_hint(other), Duration::from_secs(8));
    let heavy = Share { key: 7, weight: 9 };
    assert_eq!(rig.engine.retry_hint(heavy), Duration::from_secs(4));
}

#[test]
fn without_a_line_a_call_is_refused_at_once() {
    let rig = Rig::new(&strict(&["a:1"], 1, 0));
    let _permit = rig.granted();
    assert!(matches!(rig.refused(), Refusal::QueueFull { .. }));
    assert_eq!(rig.engine.waiting(), 0);
}

#[test]
fn a_waiter_that_goes_leaves_at_once() {
    let rig = Rig::new(&strict(&["a:1"], 1, 1));
    let permit = rig.granted();
    drop(rig.waiting());
    assert_eq!(rig.engine.waiting(), 0);
    let mut next = rig.waiting();
    drop(permit);
    assert!(now(&mut next).expect("served").is_ok());
}

#[test]
fn a_permit_sent_to_a_waiter_that_has_just_gone_goes_on_to_the_next() {
    let rig = Rig::new(&strict(&["a:1"], 1, 9));
    let permit = rig.granted();
    let gone = rig.waiting();
    let mut next = rig.waiting();
    drop(permit);
    assert_eq!(rig.in_use(), [1]);
    drop(gone);
    let permit = now(&mut next).expect("served").expect("a permit");
    drop(permit);
    assert_eq!((rig.in_use(), rig.engine.waiting()), (vec![0], 0));
}

#[test]
fn a_resting_slot_is_taken_until_its_rest_ends() {
    let rig = Rig::new(&strict(&["a:1"], 1, 9));
    let rest = rig.granted().rest();
    assert_eq!(rest.time(), Duration::from_millis(100));
    let mut waiting = rig.waiting();
    assert!(now(&mut waiting).is_none());
    drop(rest);
    assert!(now(&mut waiting).expect("served").is_ok());
}

#[test]
fn more_slots_wake_waiters_and_fewer_let_nobody_in_until_below() {
    let rig = Rig::new(&strict(&["a:1"], 1, 9));
    let first = rig.granted();
    let mut waiters = [rig.waiting(), rig.waiting(), rig.waiting()];
    rig.engine.update(&strict(&["a:1"], 3, 9));
    let second = now(&mut waiters[0]).expect("served").expect("a permit");
    let third = now(&mut waiters[1]).expect("served").expect("a permit");
    assert!(now(&mut waiters[2]).is_none());
    rig.engine.update(&strict(&["a:1"], 1, 9));
    drop(first);
    drop(second);
    assert!(now(&mut waiters[2]).is_none());
    assert_eq!(rig.in_use(), [1]);
    drop(third);
    assert!(now(&mut waiters[2]).expect("served").is_ok());
}

#[test]
fn a_removed_endpoint_gets_no_calls_and_comes_back_with_its_slots_taken() {
    let rig = Rig::new(&strict(&["a:1", "b:1"], 1, 9));
    let (a, b) = (rig.granted(), rig.granted());
    let gone = if a.endpoint().address().as_str() == "a:1" { &a } else { &b };
    assert_eq!(gone.endpoint().in_use(), 1);
    rig.engine.update(&strict(&["b:1"], 1, 9));
    assert_eq!(rig.in_use(), [1]);
    let mut waiting = rig.waiting();
    rig.engine.update(&strict(&["a:1", "b:1"], 1, 9));
    assert!(now(&mut waiting).is_none(), "its slot is still taken by the call from before");
    assert_eq!(rig.in_use(), [1, 1]);
    drop((a, b));
    assert!(now(&mut waiting).expect("served").is_ok());
}

#[test]
fn a_removed_engine_refuses_its_waiters() {
    let registry = Registry::new(Clock::monotonic());
    let name: Name = "e".parse().expect("name");
    let spec = strict(&["a:1"], 1, 9);
    let engine = registry.update([(&name, &spec)].into_iter()).remove(&name).expect("engine");
    let rig = Rig { engine, now_us: Arc::default() };
    let permit = rig.granted();
    let mut waiting = rig.waiting();
    registry.update(std::iter::empty());
    assert_eq!(now(&mut waiting).expect("served").err(), Some(Refusal::NoEndpoint));
    assert_eq!(rig.refused(), Refusal::NoEndpoint);
    // It comes back while the call still runs: the slot is not given twice.
    let again = registry.update([(&name, &spec)].into_iter()).remove(&name).expect("engine");
    assert!(Arc::ptr_eq(&again, &rig.engine));
    let mut waiting = rig.waiting();
    drop(permit);
    assert!(now(&mut waiting).expect("served").is_ok());
}

#[test]
fn each_endpoint_is_tried_once_and_others_are_not_held_up() {
    let rig = Rig::new(&strict(&["a:1", "b:1"], 1, 9));
    let (one, two) = (rig.granted(), rig.granted());
    let mut tried = Tried::default();
    tried.add(one.endpoint().id());
    let Admission::Waiting(mut picky) = admit(&rig.engine, &Ask::new(&tried, 1)) else {
        panic!("must wait for the other endpoint")
    };
    let mut any = rig.waiting();
    drop(one);
    assert!(now(&mut picky).is_none());
    let _any = now(&mut any).expect("not held up").expect("a permit");
    tried.add(two.endpoint().id());
    let all = admit(&rig.engine, &Ask::new(&tried, 1));
    assert!(matches!(all, Admission::Waiting(_) | Admission::Refused(Refusal::AllTried)));
    drop(all);
    drop(two);
    assert!(now(&mut picky).expect("served").is_ok());
}

#[test]
fn an_endpoint_that_fails_is_avoided_and_probed_again() {
    let rig = Rig::new(&strict(&["a:1", "b:1"], 4, 0));
    let permit = rig.granted();
    let bad = Arc::clone(permit.endpoint());
    assert!(rig.engine.dial_failed(&bad, 1, &"refused"));
    drop(permit);
    let elsewhere: Vec<_> = (0..4).map(|_| rig.granted()).collect();
    assert!(elsewhere.iter().all(|p| p.endpoint().id() != bad.id()));
    assert!(matches!(rig.refused(), Refusal::QueueFull { .. }));
    rig.pass(100);
    let probe = rig.granted();
    assert_eq!(probe.endpoint().id(), bad.id());
    assert!(matches!(rig.refused(), Refusal::QueueFull { .. }), "one probe at a time");
    rig.engine.dial_succeeded(&bad);
    assert_eq!(rig.granted().endpoint().id(), bad.id());
}
