//! What TLS costs: the same work with it and without, of the same round.

use super::results::{Results, Run};
use super::scenario::Scenario;
use super::summary::Spread;
use super::table::number;

/// A peer's work with TLS and without.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Who.
    pub peer: String,
    /// In the clear.
    pub clear: Spread,
    /// By TLS.
    pub tls: Spread,
    /// The one less the other, round by round.
    pub more: Spread,
    /// Pigeon's difference divided by this peer's, round by round; none where that is nothing, and none of the
    /// splicer, which does no TLS.
    pub ratio: Option<Spread>,
}

/// Of every peer that did both, in the order of their turns.
pub fn of(results: &Results, clear: &str, tls: &str) -> Vec<Cost> {
    let mut peers: Vec<&str> = Vec::new();
    for run in &results.runs {
        if !peers.contains(&run.peer.as_str()) {
            peers.push(&run.peer);
        }
    }
    let pigeon = Pairs::of(&results.runs, "pigeon", clear, tls);
    let cost = |peer: &str| {
        let own = Pairs::of(&results.runs, peer, clear, tls);
        let ratios = own.0.iter().filter_map(|(round, without, with)| {
            let (_, p_without, p_with) = pigeon.0.iter().find(|pair| pair.0 == *round)?;
            (with > without).then(|| (p_with - p_without) / (with - without))
        });
        Some(Cost {
            peer: peer.to_owned(),
            clear: Spread::of(own.0.iter().map(|pair| pair.1))?,
            tls: Spread::of(own.0.iter().map(|pair| pair.2))?,
            more: Spread::of(own.0.iter().map(|pair| pair.2 - pair.1))?,
            ratio: Spread::of(ratios).filter(|_| !["pigeon", "splice"].contains(&peer)),
        })
    };
    peers.into_iter().filter_map(cost).collect()
}

/// Rounds, and what they found without and with.
struct Pairs(Vec<(u32, f64, f64)>);

impl Pairs {
    fn of(runs: &[Run], peer: &str, clear: &str, tls: &str) -> Self {
        let value = |scenario: &str, round| {
            let same =
                |run: &&Run| run.scenario == scenario && run.peer == peer && run.round == round;
            runs.iter().find(same)?.value
        };
        let last = runs.iter().map(|run| run.round).max().unwrap_or(0);
        let pair = |round| Some((round, value(clear, round)?, value(tls, round)?));
        Self((1..=last).filter_map(pair).collect())
    }
}

/// The table for people; nothing when nobody did both.
pub fn table(clear: &Scenario, tls: &Scenario, costs: &[Cost]) -> String {
    if costs.is_empty() {
        return String::new();
    }
    let range = |spread: &Spread| format!("[{}-{}]", number(spread.min), number(spread.max));
    let mut text = format!(
        "## cost of TLS: {} less {}\n{:8}  {:>8}  {:>8}  {:>10}  {:>15}  {:>8}\n",
        tls.name,
        clear.name,
        "",
        "clear",
        "TLS",
        format!("more {}", tls.measure.unit().trim_start_matches("CPU ")),
        "",
        "pigeon /"
    );
    for cost in costs {
        let ratio = cost.ratio.map(|r| format!("{:.2}  [{:.2}-{:.2}]", r.median, r.min, r.max));
        let line = format!(
            "{:8}  {:>8}  {:>8}  {:>10}  {:>15}  {:>8}",
            cost.peer,
            number(cost.clear.median),
            number(cost.tls.median),
            number(cost.more.median),
            range(&cost.more),
            ratio.unwrap_or_default()
        );
        text += line.trim_end();
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(scenario: &str, peer: &str, round: u32, value: Option<f64>) -> Run {
        Run {
            scenario: scenario.to_owned(),
            peer: peer.to_owned(),
            at: None,
            round,
            value,
            report: None,
            error: None,
        }
    }

    #[test]
    fn the_cost_of_tls_is_the_difference_within_a_round() {
        let mut results = Results::new(3, 1.0);
        for (peer, round, clear, tls) in [
            ("pigeon", 1, Some(2.0), Some(3.0)),
            ("haproxy", 1, Some(10.0), Some(14.0)),
            // Twice as slow: the differences double, the ratio does not change.
            ("pigeon", 2, Some(4.0), Some(6.0)),
            ("haproxy", 2, Some(20.0), Some(28.0)),
            // One of both failed, or TLS seemed to cost nothing: no ratio.
            ("pigeon", 3, Some(2.0), Some(3.0)),
            ("haproxy", 3, Some(10.0), None),
            ("nginx", 1, Some(9.0), Some(8.0)),
            ("direct", 1, None, None),
        ] {
            results.runs.push(run("8x16", peer, round, clear));
            results.runs.push(run("8x16-tls", peer, round, tls));
        }
        let costs = of(&results, "8x16", "8x16-tls");
        let names: Vec<&str> = costs.iter().map(|cost| cost.peer.as_str()).collect();
        assert_eq!(names, ["pigeon", "haproxy", "nginx"]);
        assert_eq!(costs[0].more, Spread { min: 1.0, median: 1.0, max: 2.0 });
        assert_eq!((costs[0].ratio, costs[2].ratio), (None, None));
        assert_eq!(costs[1].ratio, Some(Spread { min: 0.25, median: 0.25, max: 0.25 }));

        let [clear, tls] = ["8x16", "8x16-tls"].map(|name| Scenario::find(name).expect("one"));
        let text = table(clear, tls, &costs);
        assert!(text.contains("more us") && text.contains("0.25  [0.25-0.25]"), "{text}");
        assert_eq!(text.lines().count(), 5, "{text}");
        assert_eq!(table(clear, tls, &of(&results, "50x1", "50x1-tls")), "");
    }
}
