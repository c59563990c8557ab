//! The policy: what is tried again, how often, and when.

use proptest::prelude::*;

use super::*;

const UNAVAILABLE: Failed = Failed::Grpc(14);

fn policy(attempts: u32) -> Policy {
    Policy {
        attempts,
        grpc: 1 << 14 | 1 << 8,
        http: vec![502, 503],
        reset: true,
        backoff: Duration::from_millis(25),
        max_backoff: Duration::from_millis(250),
        buffer: 65_536,
    }
}

fn failure() -> impl Strategy<Value = Failed> {
    prop_oneof![
        Just(Failed::Unseen),
        Just(Failed::Reset),
        (0..=17_u8).prop_map(Failed::Grpc),
        (200..600_u16).prop_map(Failed::Http),
    ]
}

#[test]
fn only_what_is_listed() {
    let (now, none) = (Instant::now(), Tries::default());
    let again = |policy: &Policy, failed| policy.again(&none, failed, now, None, 1).is_some();
    let listed = policy(1);
    for failed in [Failed::Reset, UNAVAILABLE, Failed::Grpc(8), Failed::Http(503)] {
        assert!(again(&listed, failed), "{failed:?}");
        assert!(!again(&Policy::default(), failed), "{failed:?} by default");
    }
    for failed in [Failed::Grpc(2), Failed::Grpc(255), Failed::Http(504), Failed::Http(200)] {
        assert!(!again(&listed, failed), "{failed:?}");
    }
    assert!(again(&Policy::default(), Failed::Unseen));
}

#[test]
fn what_no_engine_saw_is_tried_again_at_once_three_times() {
    let now = Instant::now();
    let (policy, budget, mut tries) = (Policy::default(), Budget::new(0, now), Tries::default());
    let mut again = || tries.again((&policy, &budget), Failed::Unseen, now, None, 7);
    for _ in 0..3 {
        assert_eq!(again(), Some(Duration::ZERO));
    }
    assert_eq!(again(), None);
    assert_eq!(tries.previous(), 0);
}

#[test]
fn the_budget_ends_it_and_a_refusal_is_not_counted() {
    let now = Instant::now();
    let (policy, budget) = (policy(10), Budget::new(0, now));
    let mut tries = Tries::default();
    let mut again = || tries.again((&policy, &budget), UNAVAILABLE, now, None, 7);
    assert!((0..3).all(|_| again().is_some()));
    assert_eq!(again(), None);
    assert_eq!(tries.previous(), 3);
}

proptest! {
    #[test]
    fn never_more_often_than_allowed_and_never_past_the_deadline(
        attempts in 0..=10_u32,
        failures in prop::collection::vec((failure(), any::<u64>()), 0..40),
        limit in prop::option::of(0..2_000_u64),
    ) {
        let start = Instant::now();
        let (policy, budget) = (policy(attempts), Budget::new(100, start));
        (0..100).for_each(|_| budget.called(start));
        let deadline = limit.map(|ms| start + Duration::from_millis(ms));
        let (mut now, mut tries, mut unseen, mut seen) = (start, Tries::default(), 0, 0);
        for (failed, seed) in failures {
            let Some(pause) = tries.again((&policy, &budget), failed, now, deadline, seed) else {
                continue;
            };
            prop_assert!(policy.lists(failed));
            prop_assert!(deadline.is_none_or(|d| now + pause < d));
            if failed == Failed::Unseen {
                unseen += 1;
                prop_assert_eq!(pause, Duration::ZERO);
            } else {
                let full = (25 << seen).min(250);
                prop_assert!(pause <= Duration::from_millis(full), "{:?} of {}", pause, full);
                seen += 1;
            }
            now += pause;
            prop_assert!(unseen <= 3 && seen <= attempts);
            prop_assert_eq!(tries.previous(), seen);
        }
    }

    #[test]
    fn pauses_spread_over_all_of_their_range(seed in any::<u64>()) {
        let policy = policy(3);
        let pauses: Vec<_> = (0..64).map(|i| policy.pause(1, seed.wrapping_add(i))).collect();
        let half = Duration::from_millis(25);
        prop_assert!(pauses.iter().any(|p| *p < half) && pauses.iter().any(|p| *p > half));
    }
}
