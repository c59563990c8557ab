//! What rendezvous and its bound promise, for any engines and keys.

use proptest::prelude::*;

use super::*;

const KEYS: u64 = 400;

/// Where each of some keys goes while nothing is busy.
fn places(members: &[(String, u32)]) -> Vec<String> {
    let rota = Rota::new(members.iter().map(|(a, w)| (a.as_str(), *w)));
    let idle = |i: usize| View { weight: members[i].1 * WHOLE, ..view(0, u32::MAX) };
    let place = |key| match pick(&rota, idle, Balance::Hash, Some(key), 0) {
        Pick::Endpoint { index, .. } => members[index].0.clone(),
        other => panic!("{other:?}"),
    };
    (0..KEYS).map(|key| place(scramble(key))).collect()
}

fn members(weights: &[u32]) -> Vec<(String, u32)> {
    weights.iter().enumerate().map(|(i, w)| (address(i), *w)).collect()
}

proptest! {
    #[test]
    fn only_the_keys_of_a_removed_endpoint_move(
        weights in prop::collection::vec(1..5_u32, 2..12),
        gone in any::<prop::sample::Index>(),
        even in any::<bool>(),
    ) {
        let weights = if even { vec![1; weights.len()] } else { weights };
        let mut all = members(&weights);
        let before = places(&all);
        let (gone, _) = all.remove(gone.index(all.len()));
        for (before, after) in before.iter().zip(places(&all)) {
            prop_assert!(*before == gone || *before == after);
        }
    }

    #[test]
    fn an_added_endpoint_gets_its_share_and_nothing_else_moves(n in 1..20_usize) {
        let before = places(&members(&vec![1; n]));
        let after = places(&members(&vec![1; n + 1]));
        let added = address(n);
        let moved = before.iter().zip(&after).filter(|(b, a)| b != a);
        prop_assert!(moved.clone().all(|(_, after)| *after == added));
        // 1 / (n + 1), and four standard deviations of chance.
        let p = 1.0 / (n + 1) as f64;
        let most = KEYS as f64 * p + 4.0 * (KEYS as f64 * p * (1.0 - p)).sqrt();
        prop_assert!((moved.count() as f64) <= most);
    }

    #[test]
    fn an_endpoint_that_is_out_moves_only_its_own_keys(
        weights in prop::collection::vec(1..5_u32, 2..12),
        out in any::<prop::sample::Index>(),
    ) {
        let all = members(&weights);
        let out = out.index(all.len());
        let rota = Rota::new(all.iter().map(|(a, w)| (a.as_str(), *w)));
        let before = places(&all);
        for (key, before) in (0..KEYS).zip(before) {
            let view = |i: usize| {
                View { weight: weights[i] * WHOLE, out: i == out, ..view(0, u32::MAX) }
            };
            match pick(&rota, view, Balance::Hash, Some(scramble(key)), 0) {
                Pick::Endpoint { index, .. } => {
                    prop_assert!(index != out);
                    prop_assert!(before == all[out].0 || before == all[index].0);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Calls of few keys, none of which end: no endpoint gets above 1.25 times its part, rounded up, and
    /// each call goes to the first of its order that was below.
    #[test]
    fn a_hot_key_spills(
        weights in prop::collection::vec(1..5_u32, 1..12),
        keys in prop::collection::vec(0..3_u64, 1..200),
    ) {
        let all = members(&weights);
        let rota = Rota::new(all.iter().map(|(a, w)| (a.as_str(), *w)));
        let mut in_use = vec![0_u32; weights.len()];
        let sum: u32 = weights.iter().sum();
        for (key, total) in keys.into_iter().zip(1_u32..) {
            let view = |i: usize| View { weight: weights[i] * WHOLE, ..view(in_use[i], u32::MAX) };
            let Pick::Endpoint { index, .. } = pick(&rota, view, Balance::Hash, Some(scramble(key)), 0)
            else { panic!("nothing is full") };
            let bound = |i: usize| (5 * total * weights[i]).div_ceil(4 * sum);
            let score = |i: usize| {
                let u = ((scramble(scramble(key) ^ rota.hashes[i]) >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
                f64::from(weights[i]) / -u.ln()
            };
            let first = (0..weights.len()).filter(|&i| in_use[i] < bound(i));
            let first = first.max_by(|a, b| score(*a).total_cmp(&score(*b)));
            prop_assert_eq!(Some(index), first);
            in_use[index] += 1;
            prop_assert!(in_use[index] <= bound(index));
        }
    }

    /// Whatever the state of the endpoints, every method gives one that may be used and has a free slot,
    /// and says that there is none only if there is none.
    #[test]
    fn every_method_finds_what_there_is(
        states in prop::collection::vec((0..4_u32, 0..4_u32, any::<[bool; 3]>(), 1..4_u32), 0..100),
        seed in any::<u64>(),
    ) {
        let views: Vec<_> = states.iter().map(|&(in_use, extra, [avoided, out, tried], weight)| View {
            in_use, slots: 2, limit: 2 + extra / 3, weight: weight * WHOLE, avoided, out, tried,
        }).collect();
        let may = |v: &&View| !v.out && !v.tried;
        let open = views.iter().filter(may).any(|v| !v.avoided);
        let can = |v: &View| may(&v) && v.avoided != open && v.in_use < v.limit;
        let below = views.iter().any(|v| can(v) && v.in_use < v.slots);
        for balance in ALL {
            for key in [None, Some(seed)] {
                match pick(&rota(&views), |i| views[i], balance, key, seed) {
                    Pick::Endpoint { index, limit } => {
                        let v = &views[index];
                        prop_assert!(can(v) && v.in_use < limit && limit <= v.limit, "{balance:?}");
                        prop_assert_eq!(v.in_use < v.slots, below, "slots first");
                    }
                    Pick::Full => prop_assert!(views.iter().any(|v| may(&v)) && !views.iter().any(can)),
                    Pick::AllTried => prop_assert!(!views.iter().any(|v| may(&v)) && views.iter().any(|v| !v.out)),
                    Pick::NoEndpoint => prop_assert!(views.iter().all(|v| v.out)),
                }
            }
        }
    }
}
