//! Balancing, case by case, by frequency, and by properties.

mod properties;

use super::*;

fn view(in_use: u32, slots: u32) -> View {
    let weight = WHOLE;
    View { in_use, slots, limit: slots, weight, avoided: false, out: false, tried: false }
}

fn address(i: usize) -> String {
    format!("10.0.0.{i}:50051")
}

fn rota(views: &[View]) -> Rota {
    let addresses: Vec<_> = (0..views.len()).map(address).collect();
    Rota::new(addresses.iter().zip(views).map(|(a, v)| (a.as_str(), v.weight / WHOLE)))
}

fn picked(views: &[View], balance: Balance, seed: u64) -> Pick {
    pick(&rota(views), |i| views[i], balance, None, seed)
}

fn chosen(views: &[View], balance: Balance, seed: u64) -> Option<usize> {
    match picked(views, balance, seed) {
        Pick::Endpoint { index, .. } => Some(index),
        Pick::Full | Pick::AllTried | Pick::NoEndpoint => None,
    }
}

const ALL: [Balance; 5] =
    [Balance::LeastConnections, Balance::Random, Balance::RoundRobin, Balance::P2c, Balance::Hash];

fn least(views: &[View]) -> Option<usize> {
    chosen(views, Balance::LeastConnections, 1)
}

fn counts(views: &[View], balance: Balance) -> Vec<u32> {
    let mut counts = vec![0; views.len()];
    for seed in 0..10_000 {
        counts[chosen(views, balance, seed).expect("one is free")] += 1;
    }
    counts
}

#[test]
fn the_most_free_slots_win() {
    assert_eq!(least(&[view(3, 4), view(1, 4), view(2, 4)]), Some(1));
    assert_eq!(least(&[view(0, 4), view(2, 32)]), Some(1));
    let heavy = View { weight: 3 * WHOLE, ..view(2, 4) };
    assert_eq!(least(&[view(0, 4), heavy]), Some(1));
    assert_eq!(least(&[view(4, 4), view(4, 4)]), None);
}

#[test]
fn without_slots_the_fewest_calls_relative_to_weight_win() {
    let off = |in_use, weight| View { weight: weight * WHOLE, ..view(in_use, u32::MAX) };
    assert_eq!(least(&[off(2, 1), off(1, 1)]), Some(1));
    assert_eq!(least(&[off(1, 1), off(4, 3)]), Some(1));
    assert_eq!(least(&[off(1, 1), off(6, 3)]), Some(0));
    assert_eq!(least(&[off(0, 1), off(0, 3)]), Some(1));
}

#[test]
fn ties_are_decided_evenly_at_random() {
    for count in
        counts(&[view(1, 4), view(1, 4), view(1, 4), view(2, 4)], Balance::LeastConnections)
            .into_iter()
            .take(3)
    {
        assert!((3_000..3_700).contains(&count), "{count}");
    }
}

#[test]
fn random_goes_by_weight_and_skips_the_full() {
    let heavy = View { weight: 3 * WHOLE, ..view(0, 4) };
    let counts = counts(&[view(0, 4), view(4, 4), heavy], Balance::Random);
    assert_eq!(counts[1], 0);
    assert!((7_200..7_800).contains(&counts[2]), "{counts:?}");
}

#[test]
fn loose_fills_the_slots_of_all_before_it_grows() {
    let loose = |in_use| View { limit: 8, ..view(in_use, 4) };
    for balance in ALL {
        assert_eq!(chosen(&[loose(4), loose(3)], balance, 5), Some(1));
        assert_eq!(chosen(&[loose(8), loose(7)], balance, 5), Some(1));
        assert_eq!(chosen(&[loose(8), loose(8)], balance, 5), None);
    }
    let views = [loose(4), loose(3)];
    let picked = picked(&views, Balance::LeastConnections, 0);
    assert_eq!(picked, Pick::Endpoint { index: 1, limit: 4 });
}

#[test]
fn the_avoided_are_used_only_when_all_are() {
    let avoided = |v: View| View { avoided: true, ..v };
    assert_eq!(least(&[avoided(view(0, 4)), view(3, 4)]), Some(1));
    // The reachable one is full: wait for it rather than try the other.
    assert_eq!(least(&[avoided(view(0, 4)), view(4, 4)]), None);
    assert_eq!(least(&[avoided(view(0, 4)), avoided(view(3, 4))]), Some(0));
}

#[test]
fn each_is_tried_once() {
    let tried = |v: View| View { tried: true, ..v };
    assert_eq!(least(&[tried(view(0, 4)), view(3, 4)]), Some(1));
    let views = [tried(view(0, 4)), tried(view(0, 4))];
    assert_eq!(picked(&views, Balance::Random, 0), Pick::AllTried);
    let views = [tried(view(0, 4)), View { avoided: true, ..view(0, 4) }];
    assert_eq!(chosen(&views, Balance::Random, 0), Some(1));
}

#[test]
fn the_unhealthy_and_the_draining_are_never_used() {
    let out = |v: View| View { out: true, ..v };
    for balance in ALL {
        assert_eq!(chosen(&[out(view(0, 4)), view(3, 4)], balance, 1), Some(1));
        assert_eq!(picked(&[out(view(0, 4)), view(4, 4)], balance, 1), Pick::Full);
        assert_eq!(picked(&[out(view(0, 4)); 3], balance, 1), Pick::NoEndpoint);
        assert_eq!(picked(&[], balance, 1), Pick::NoEndpoint);
        // One was tried, the other may not be used.
        let views = [out(view(0, 4)), View { tried: true, ..view(0, 4) }];
        assert_eq!(picked(&views, balance, 1), Pick::AllTried);
        // Better one that was ejected than none.
        let views = [out(view(0, 4)), View { avoided: true, ..view(0, 4) }];
        assert_eq!(chosen(&views, balance, 1), Some(1));
    }
}

#[test]
fn round_robin_takes_turns_as_weights_say() {
    let views = [view(0, 9), view(0, 9), view(0, 9)];
    let order = |rota: &Rota, views: &[View], n: usize| -> Vec<usize> {
        let one = |seed| match pick(rota, |i| views[i], Balance::RoundRobin, None, seed) {
            Pick::Endpoint { index, .. } => index,
            other => panic!("{other:?}"),
        };
        (0..n as u64).map(one).collect()
    };
    assert_eq!(order(&rota(&views), &views, 6), [0, 1, 2, 0, 1, 2]);
    let weighted = [View { weight: 5 * WHOLE, ..views[0] }, views[1], views[2]];
    let turns = order(&rota(&weighted), &weighted, 7);
    let of = |i: usize| turns.iter().filter(|t| **t == i).count();
    assert_eq!((of(0), of(1), of(2)), (5, 1, 1));
    assert!(turns.windows(4).any(|w| w[0] == 0 && w[3] == 0 && (w[1] != 0 || w[2] != 0)));
    // What a full one misses goes to the others alike.
    let full = [view(9, 9), view(0, 9), view(0, 9), view(0, 9)];
    let turns = order(&rota(&full), &full, 300);
    for i in 1..4 {
        let share = turns.iter().filter(|t| **t == i).count();
        assert!((90..=110).contains(&share), "{i}: {share}");
    }
}

#[test]
fn p2c_prefers_the_freer_of_two() {
    let views = [view(3, 4), view(0, 4)];
    let counts = counts(&views, Balance::P2c);
    assert!((7_200..7_800).contains(&counts[1]), "{counts:?}");
}

#[test]
fn a_starting_endpoint_takes_a_part() {
    let starting = View { weight: WHOLE / 10, ..view(0, u32::MAX) };
    let views = [starting, view(0, u32::MAX)];
    let rota = Rota::new([("a:1", 1), ("b:1", 1)].into_iter());
    for balance in [Balance::Random, Balance::RoundRobin, Balance::Hash] {
        let first = (0..20_000).filter(|&seed| {
            let key = Some(scramble(seed));
            matches!(pick(&rota, |i| views[i], balance, key, seed), Pick::Endpoint { index: 0, .. })
        });
        let share = first.count();
        // 1 of 11 by weight, or 1 of 20 where it is chosen first and then refuses nine times of ten.
        assert!((800..2_100).contains(&share), "{balance:?}: {share}");
    }
    assert_eq!(
        chosen(
            &[View { weight: WHOLE / 10, ..view(0, 4) }, view(3, 4)],
            Balance::LeastConnections,
            1
        ),
        Some(1)
    );
}

#[test]
fn many_endpoints_are_sampled_and_the_last_free_one_is_found() {
    let mut views = vec![view(4, 4); 1_000];
    views[777].in_use = 3;
    for balance in ALL {
        assert_eq!(chosen(&views, balance, 3), Some(777), "{balance:?}");
    }
    // Hardly ever one of the busier half.
    let views: Vec<_> = (0..1_000).map(|i| view(i % 4, 4)).collect();
    let busy = (0..1_000).filter_map(|seed| least_of(&views, seed)).filter(|i| i % 4 > 1);
    assert!(busy.count() < 20);
}

fn least_of(views: &[View], seed: u64) -> Option<usize> {
    chosen(views, Balance::LeastConnections, seed)
}
