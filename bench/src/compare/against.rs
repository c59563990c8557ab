//! A run beside an earlier one: how the ratios to the peers have changed. What a machine does to all of
//! them cancels.

use std::collections::BTreeSet;

use super::results::Results;
use super::summary::{self, Line};

/// For each scenario and peer of both: Pigeon's ratio then and now, and the one divided by the other.
pub fn table(now: &Results, then: &Results) -> String {
    let mut text = format!("## against {}: pigeon / peer, then -> now (change)\n", then.date);
    let scenarios: BTreeSet<&str> = now.runs.iter().map(|run| run.scenario.as_str()).collect();
    for scenario in scenarios {
        let before = summary::of(then, scenario);
        for line in summary::of(now, scenario) {
            let ratio = |line: &Line| line.ratio.map(|ratio| ratio.median);
            let same = before.iter().find(|other| other.peer == line.peer);
            let (Some(old), Some(new)) = (same.and_then(ratio), ratio(&line)) else { continue };
            let change = (new / old - 1.0) * 100.0;
            text +=
                &format!("{scenario:18} {:8} {old:.2} -> {new:.2}  ({change:+.0} %)\n", line.peer);
        }
    }
    text
}
