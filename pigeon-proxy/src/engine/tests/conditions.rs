//! Ejection, checks, slow start and draining, case by case.

use pigeon_proto::model::{Balance, Millis};

use super::*;
use crate::engine::health::Verdict;

const SIX: [&str; 6] = ["a:1", "b:1", "c:1", "d:1", "e:1", "f:1"];

fn off(addresses: &[&str]) -> model::Engine {
    let endpoint = |a: &&str| format!("{{address: \"{a}\"}}");
    let endpoints = addresses.iter().map(endpoint).collect::<Vec<_>>().join(", ");
    spec(&format!("{{endpoints: [{endpoints}]}}"))
}

impl Rig {
    fn endpoint(&self, index: usize) -> Arc<Endpoint> {
        Arc::clone(&self.engine.settings().members[index].endpoint)
    }

    fn end(&self, index: usize, outcome: Outcome, times: u32) {
        let stay = Stay { outcome, held_us: 1_000, first_message_us: None };
        for _ in 0..times {
            self.engine.ended(&self.endpoint(index), &stay, self.engine.clock().now_us());
        }
    }

    fn fail(&self, index: usize, times: u32) {
        self.end(index, Outcome::Failed(Failure::Reset), times);
    }

    fn state(&self, index: usize) -> (State, String) {
        let settings = self.engine.settings();
        let standing = self.engine.standing(&settings, &settings.members[index]);
        (standing.state, standing.reason)
    }

    fn cause(&self, index: usize) -> Cause {
        let settings = self.engine.settings();
        self.engine.standing(&settings, &settings.members[index]).cause
    }

    fn states(&self) -> Vec<State> {
        (0..self.engine.settings().members.len()).map(|i| self.state(i).0).collect()
    }

    /// Where so many calls go that all run at once.
    fn spread(&self, calls: usize) -> Vec<usize> {
        let permits: Vec<_> = (0..calls)
            .map(|seed| {
                let tried = Tried::default();
                match admit(&self.engine, &Ask::new(&tried, seed as u64)) {
                    Admission::Granted(permit) => permit,
                    other => panic!("{other:?}"),
                }
            })
            .collect();
        let settings = self.engine.settings();
        let on =
            |m: &Member| permits.iter().filter(|p| Arc::ptr_eq(p.endpoint(), &m.endpoint)).count();
        settings.members.iter().map(on).collect()
    }
}

#[test]
fn failures_in_a_row_eject_for_a_growing_time() {
    let mut spec = off(&SIX);
    spec.ejection.max_time = Millis::new(70_000);
    let rig = Rig::new(&spec);
    rig.fail(0, 4);
    rig.end(0, Outcome::Unknown, 9);
    rig.end(0, Outcome::Well, 1);
    rig.fail(0, 4);
    assert_eq!(rig.state(0).0, State::Healthy, "never five in a row");
    rig.fail(0, 1);
    let reason = "5 calls in a row failed, last: engine_reset; ejected for 30s";
    assert_eq!(rig.state(0), (State::Ejected, reason.to_owned()));
    assert_eq!((rig.cause(0), rig.cause(1)), (Cause::Failures, Cause::None));
    assert_eq!(rig.spread(60)[0], 0);
    rig.pass(29_999);
    assert_eq!(rig.spread(60)[0], 0);
    rig.pass(1);
    assert_eq!(rig.spread(60)[0], 10, "calls do not wait for the next look");
    rig.engine.look();
    for (time, words) in [(60_000, "1m"), (70_000, "1m 10s"), (70_000, "1m 10s")] {
        rig.fail(0, 5);
        assert!(
            rig.state(0).1.replace(' ', "").ends_with(&words.replace(' ', "")),
            "{:?}",
            rig.state(0)
        );
        rig.pass(time - 1);
        rig.engine.look();
        assert_eq!(rig.state(0).0, State::Ejected);
        rig.pass(1);
        rig.engine.look();
        assert_eq!(rig.state(0).0, State::Healthy);
    }
    // It stays in service for max_time: the next time is the first again.
    rig.pass(70_000);
    rig.engine.look();
    rig.fail(0, 5);
    assert!(rig.state(0).1.ends_with("for 30s"));
}

#[test]
fn no_more_are_ejected_than_may_be() {
    let mut spec = off(&SIX[..5]);
    let rig = Rig::new(&spec);
    (0..5).for_each(|i| rig.fail(i, 9));
    assert_eq!(rig.states().iter().filter(|s| **s == State::Ejected).count(), 2);
    // Fewer may be, so that one comes back.
    spec.ejection.max_ejected = 20;
    rig.engine.update(&spec);
    assert_eq!(rig.states().iter().filter(|s| **s == State::Ejected).count(), 1);
    let rig = Rig::new(&off(&["a:1"]));
    rig.fail(0, 99);
    assert_eq!(rig.states(), [State::Healthy], "a single endpoint is never ejected");
    spec.ejection.failures = 0;
    let rig = Rig::new(&spec);
    rig.fail(0, 99);
    assert_eq!(rig.state(0).0, State::Healthy);
}

#[test]
fn when_all_others_are_out_the_ejected_are_used() {
    let rig = Rig::new(&off(&["a:1", "b:1"]));
    rig.fail(0, 5);
    assert_eq!(rig.spread(4), [0, 4]);
    rig.engine.checked(&rig.endpoint(1), Verdict::Unhealthy("no".into()));
    assert_eq!(rig.spread(4), [4, 0]);
    rig.engine.checked(&rig.endpoint(0), Verdict::Unhealthy("no".into()));
    assert_eq!(rig.refused(), Refusal::NoEndpoint);
}

#[test]
fn an_outlier_is_ejected_by_the_look() {
    let rig = Rig::new(&off(&SIX));
    for i in 0..6 {
        rig.end(i, Outcome::Well, 20);
    }
    for _ in 0..5 {
        rig.fail(3, 4);
        rig.end(3, Outcome::Well, 1);
    }
    let changes = rig.engine.look();
    assert_eq!((changes.len(), changes[0].to), (1, State::Ejected));
    assert!(changes[0].reason.starts_with("20 of 45 calls"), "{}", changes[0].reason);
    assert_eq!(rig.states().iter().filter(|s| **s == State::Ejected).count(), 1);
    assert_eq!(rig.cause(3), Cause::Outlier);
    assert_eq!(rig.engine.look().len(), 0, "told once");
    rig.pass(30_000);
    assert_eq!(rig.engine.look()[0].to, State::Healthy);
}

#[test]
fn an_unhealthy_endpoint_gets_nothing_and_its_waiters_are_told() {
    let rig = Rig::new(&strict(&["a:1"], 1, 9));
    let _permit = rig.granted();
    let mut waiting = rig.waiting();
    rig.engine
        .checked(&rig.endpoint(0), Verdict::Unhealthy("grpc.health.v1 says NOT_SERVING".into()));
    assert_eq!(now(&mut waiting).expect("told").err(), Some(Refusal::NoEndpoint));
    assert_eq!(rig.state(0), (State::Unhealthy, "grpc.health.v1 says NOT_SERVING".into()));
    assert_eq!(rig.cause(0), Cause::Check);
    rig.engine.checked(&rig.endpoint(0), Verdict::Healthy);
    assert_eq!(rig.state(0), (State::Healthy, String::new()));
    rig.waiting();
}

#[test]
fn one_that_cannot_be_reached_is_shown_so_until_it_is() {
    let rig = Rig::new(&off(&["a:1", "b:1"]));
    rig.engine.dial_failed(&rig.endpoint(0), 1, &"connection refused");
    assert_eq!(rig.state(0), (State::Unhealthy, "cannot be reached: connection refused".into()));
    assert_eq!(rig.cause(0), Cause::Unreachable);
    rig.pass(60_000);
    assert_eq!(rig.state(0).0, State::Unhealthy, "nobody knows yet whether it is back");
    rig.engine.dial_succeeded(&rig.endpoint(0));
    assert_eq!(rig.state(0).0, State::Healthy);
}

#[test]
fn those_who_come_and_come_back_start_slowly() {
    let mut spec = off(&["a:1", "b:1"]);
    spec.slow_start = Millis::new(10_000);
    let rig = Rig::new(&spec);
    assert_eq!(rig.states(), [State::Healthy; 2], "the first have nobody to leave calls to");
    let mut more = off(&["a:1", "b:1", "c:1"]);
    more.slow_start = Millis::new(10_000);
    rig.engine.update(&more);
    assert_eq!(rig.state(2), (State::Starting, "slow start over 10s".into()));
    assert_eq!(rig.cause(2), Cause::SlowStart);
    // 10 %: one call of 21. Half of it later: 55 %.
    assert_eq!(rig.spread(21)[2], 1);
    rig.pass(5_000);
    assert_eq!(rig.spread(102)[2], 22);
    rig.pass(5_000);
    assert_eq!(rig.spread(30)[2], 10);
    assert_eq!(rig.engine.look().len(), 0);
    assert_eq!(rig.state(2).0, State::Healthy);
    rig.engine.checked(&rig.endpoint(0), Verdict::Unhealthy("no".into()));
    rig.engine.checked(&rig.endpoint(0), Verdict::Healthy);
    assert_eq!(rig.state(0).0, State::Starting);
    rig.fail(1, 5);
    rig.pass(30_000);
    assert_eq!(rig.state(1).0, State::Starting, "from the end of its ejection");
    rig.engine.look();
    assert_eq!(rig.state(1).0, State::Starting);
}

#[test]
fn a_draining_endpoint_keeps_its_calls_until_the_timeout() {
    let mut spec = strict(&["a:1", "b:1"], 4, 0);
    let rig = Rig::new(&spec);
    let permits: Vec<_> = (0..4).map(|_| rig.granted()).collect();
    let on_a = || rig.endpoint(0).in_use();
    assert_eq!(on_a(), 2);
    rig.pass(1_000);
    spec.endpoints[0].drain = true;
    rig.engine.update(&spec);
    assert_eq!(rig.endpoint(0).cut_at(), None);
    assert_eq!(rig.state(0), (State::Draining, "set to drain".into()));
    assert_eq!(rig.cause(0), Cause::Drain);
    let more: Vec<_> = (0..2).map(|_| rig.granted()).collect();
    assert_eq!(on_a(), 2);
    // The timeout counts from when it began to drain, whenever it is set.
    rig.pass(5_000);
    spec.pool.drain_timeout = Some(Millis::new(30_000));
    rig.engine.update(&spec);
    assert_eq!(rig.endpoint(0).cut_at(), Some(31_000_000));
    spec.endpoints[0].drain = false;
    rig.engine.update(&spec);
    assert_eq!((rig.endpoint(0).cut_at(), rig.state(0).0), (None, State::Healthy));
    // Removed while calls are on it, with the whole engine in the end.
    let a = rig.endpoint(0);
    let mut without = strict(&["b:1"], 4, 0);
    without.pool.drain_timeout = Some(Millis::new(30_000));
    rig.engine.update(&without);
    assert_eq!(a.cut_at(), Some(36_000_000));
    let b = rig.endpoint(0);
    assert_eq!(b.cut_at(), None);
    rig.engine.remove();
    assert_eq!((a.cut_at(), b.cut_at()), (Some(36_000_000), Some(36_000_000)));
    drop((permits, more));
}

#[test]
fn waiters_get_the_freed_slot_of_many_endpoints_also_when_it_is_out_of_the_ordinary() {
    let addresses: Vec<_> = (0..100).map(|i| format!("h{i}:1")).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    for balance in [Balance::LeastConnections, Balance::Random, Balance::P2c] {
        let mut spec = strict(&addresses, 1, 9);
        spec.balance = balance;
        let rig = Rig::new(&spec);
        let mut permits: Vec<_> = (0..100).map(|_| rig.granted()).collect();
        let (mut first, mut second) = (rig.waiting(), rig.waiting());
        let freed = permits.swap_remove(42);
        let at = Arc::clone(freed.endpoint());
        drop(freed);
        let permit = now(&mut first).expect("served").expect("a permit");
        assert!(Arc::ptr_eq(permit.endpoint(), &at));
        rig.engine.checked(&at, Verdict::Unhealthy("no".into()));
        drop(permit);
        assert!(now(&mut second).is_none(), "unhealthy");
        rig.engine.checked(&at, Verdict::Healthy);
        assert!(now(&mut second).expect("served").is_ok());
    }
}
