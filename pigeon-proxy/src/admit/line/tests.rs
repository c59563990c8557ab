//! The line against a naive reference, and its promises one by one.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The same rules by plain sums: every waiter in one list, all shares ever seen.
#[derive(Default)]
struct Reference {
    next_ticket: u64,
    now: u64,
    due: BTreeMap<u64, u64>,
    weight: BTreeMap<u64, u64>,
    /// Share and ticket.
    waiting: Vec<(u64, u64)>,
}

impl Reference {
    fn join(&mut self, share: Share, place: Option<u64>) -> u64 {
        let ticket = place.unwrap_or(self.next_ticket);
        self.next_ticket = self.next_ticket.max(ticket + 1);
        self.weight.insert(share.key, u64::from(share.weight));
        let alone = self.waiting.iter().all(|(key, _)| *key != share.key);
        let (now, cost) = (self.now, CALL / u64::from(share.weight));
        let due = self.due.entry(share.key).or_insert(now);
        // A share that is paid for and has nobody is as good as new.
        if alone && *due <= now {
            *due = now;
        }
        if place.is_some() {
            *due = due.saturating_sub(cost);
        }
        if alone {
            *due = (*due).max(now);
        }
        self.waiting.push((share.key, ticket));
        ticket
    }

    fn first(&self) -> Option<(u64, u64)> {
        let oldest = |key: u64| self.waiting.iter().filter(|w| w.0 == key).map(|w| w.1).min();
        let turn = |w: &&(u64, u64)| (self.due[&w.0], oldest(w.0), w.1);
        self.waiting.iter().min_by_key(turn).copied()
    }

    fn serve(&mut self) -> Option<(u64, u64)> {
        let (key, ticket) = self.first()?;
        self.now = self.now.max(self.due[&key]);
        *self.due.get_mut(&key).expect("known") += CALL / self.weight[&key];
        self.leave(ticket);
        Some((key, ticket))
    }

    fn leave(&mut self, ticket: u64) {
        self.waiting.retain(|w| w.1 != ticket);
        if self.waiting.is_empty() {
            self.now = 0;
            self.due.clear();
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Join {
        key: u64,
        weight: u32,
    },
    /// The call served last comes back with its place.
    Return,
    Leave(usize),
    Serve,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..4_u64, 1..4_u32).prop_map(|(key, weight)| Event::Join { key, weight }),
        1 => Just(Event::Return),
        2 => any::<usize>().prop_map(Event::Leave),
        5 => Just(Event::Serve),
    ]
}

fn serve(line: &mut Line<u64>) -> Option<(u64, u64)> {
    let (key, ticket, _) = line.next(&BTreeSet::new())?;
    let waiter = line.served(key, ticket);
    assert_eq!(waiter, Some(key), "somebody else was there");
    Some((key, ticket))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn serves_as_the_reference_does(events in prop::collection::vec(event(), 1..120)) {
        let (mut line, mut reference) = (Line::default(), Reference::default());
        let mut last = None;
        for event in events {
            match event {
                Event::Join { key, weight } => {
                    let share = Share { key, weight };
                    prop_assert_eq!(line.join(share, None, false, key), reference.join(share, None));
                }
                Event::Return => if let Some((key, ticket)) = last.take() {
                    let weight = u32::try_from(reference.weight[&key]).expect("small");
                    let share = Share { key, weight };
                    line.join(share, Some(ticket), true, key);
                    reference.join(share, Some(ticket));
                },
                Event::Leave(n) => if !reference.waiting.is_empty() {
                    let (key, ticket) = reference.waiting[n % reference.waiting.len()];
                    prop_assert_eq!(line.leave(key, ticket), Some(key));
                    prop_assert_eq!(line.leave(key, ticket), None);
                    reference.leave(ticket);
                },
                Event::Serve => {
                    let served = serve(&mut line);
                    prop_assert_eq!(served, reference.serve());
                    last = served.or(last);
                }
            }
            prop_assert_eq!(line.len(), reference.waiting.len());
            let active: BTreeSet<u64> = reference.waiting.iter().map(|w| w.0).collect();
            prop_assert_eq!(line.weights, active.iter().map(|k| reference.weight[k]).sum::<u64>());
            prop_assert_eq!(line.order.len(), active.len());
        }
        while let Some(served) = serve(&mut line) {
            prop_assert_eq!(Some(served), reference.serve());
        }
        prop_assert!(line.shares.is_empty() && line.picky.is_empty() && line.idle.is_empty());
    }

    /// Whoever has calls waiting all the time gets what its weight says, to within one call of each.
    #[test]
    fn slots_are_divided_by_weight(weights in prop::collection::vec(1..20_u32, 2..6)) {
        let mut line = Line::default();
        let shares: Vec<_> = weights.iter().zip(0..).map(|(&weight, key)| Share { key, weight }).collect();
        let sum: u32 = weights.iter().sum();
        for share in &shares {
            for _ in 0..share.weight * 10 {
                line.join(*share, None, false, share.key);
            }
        }
        let mut got = vec![0; weights.len()];
        for _ in 0..sum * 10 {
            let (key, _) = serve(&mut line).expect("somebody waits");
            got[usize::try_from(key).expect("small")] += 1;
            let served: u32 = got.iter().sum();
            for (got, weight) in got.iter().zip(&weights) {
                // Rounding of 1 / weight moves a share by less than one call.
                let ideal = f64::from(served) * f64::from(*weight) / f64::from(sum);
                prop_assert!((f64::from(*got) - ideal).abs() < weights.len() as f64 + 1.0);
            }
        }
    }
}

#[test]
fn one_share_is_first_come_first_served() {
    let mut line = Line::default();
    let tickets: Vec<_> = (0..5).map(|_| line.join(Share::default(), None, false, 0)).collect();
    let served: Vec<_> = std::iter::from_fn(|| serve(&mut line)).map(|(_, t)| t).collect();
    assert_eq!(served, tickets);
}

#[test]
fn a_newcomer_is_not_behind_a_crowd_of_another_share() {
    let mut line = Line::default();
    for _ in 0..100 {
        line.join(Share { key: 1, weight: 1 }, None, false, 1);
    }
    for _ in 0..10 {
        serve(&mut line);
    }
    let ticket = line.join(Share { key: 2, weight: 1 }, None, false, 2);
    let two: Vec<_> = (0..2).filter_map(|_| serve(&mut line)).map(|(_, t)| t).collect();
    assert!(two.contains(&ticket), "{two:?}");
}

#[test]
fn a_share_does_not_save_up_what_it_leaves_unused() {
    let mut line = Line::default();
    let (busy, late) = (Share { key: 1, weight: 1 }, Share { key: 2, weight: 1 });
    line.join(late, None, false, 2);
    for _ in 0..100 {
        line.join(busy, None, false, 1);
    }
    for _ in 0..50 {
        serve(&mut line);
    }
    for _ in 0..50 {
        line.join(late, None, false, 2);
    }
    let late = (0..20).filter_map(|_| serve(&mut line)).filter(|(key, _)| *key == 2).count();
    assert!((9..=11).contains(&late), "{late}");
}

#[test]
fn what_is_ahead_goes_by_the_weights() {
    let mut line = Line::default();
    let (crowd, few) = (Share { key: 1, weight: 1 }, Share { key: 2, weight: 3 });
    assert_eq!(line.ahead(crowd), 1);
    for _ in 0..100 {
        line.join(crowd, None, false, 1);
    }
    assert_eq!(line.ahead(crowd), 101);
    assert_eq!(line.ahead(few), 1, "4/3 of one");
    for _ in 0..5 {
        line.join(few, None, false, 2);
    }
    assert_eq!(line.ahead(few), 8);
    assert_eq!(line.ahead(crowd), 106, "never more than all");
}
