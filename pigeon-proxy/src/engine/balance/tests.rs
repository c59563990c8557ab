//! Balancing, case by case and by frequency.

use super::*;

fn view(in_use: u32, slots: u32) -> View {
    View { in_use, slots, limit: slots, weight: 1, avoided: false, tried: false }
}

fn chosen(views: &[View], balance: Balance, seed: u64) -> Option<usize> {
    match pick(views.len(), |i| views[i], balance, seed) {
        Pick::Endpoint { index, .. } => Some(index),
        Pick::Full | Pick::AllTried => None,
    }
}

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
    let heavy = View { weight: 3, ..view(2, 4) };
    assert_eq!(least(&[view(0, 4), heavy]), Some(1));
    assert_eq!(least(&[view(4, 4), view(4, 4)]), None);
}

#[test]
fn without_slots_the_fewest_calls_relative_to_weight_win() {
    let off = |in_use, weight| View { weight, ..view(in_use, u32::MAX) };
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
    let heavy = View { weight: 3, ..view(0, 4) };
    let counts = counts(&[view(0, 4), view(4, 4), heavy], Balance::Random);
    assert_eq!(counts[1], 0);
    assert!((7_200..7_800).contains(&counts[2]), "{counts:?}");
}

#[test]
fn loose_fills_the_slots_of_all_before_it_grows() {
    let loose = |in_use| View { limit: 8, ..view(in_use, 4) };
    for balance in [Balance::LeastConnections, Balance::Random] {
        assert_eq!(chosen(&[loose(4), loose(3)], balance, 5), Some(1));
        assert_eq!(chosen(&[loose(8), loose(7)], balance, 5), Some(1));
        assert_eq!(chosen(&[loose(8), loose(8)], balance, 5), None);
    }
    let views = [loose(4), loose(3)];
    let picked = pick(2, |i| views[i], Balance::LeastConnections, 0);
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
    assert_eq!(pick(2, |i| views[i], Balance::Random, 0), Pick::AllTried);
    let views = [tried(view(0, 4)), View { avoided: true, ..view(0, 4) }];
    assert_eq!(chosen(&views, Balance::Random, 0), Some(1));
}
