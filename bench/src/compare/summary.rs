//! Medians, spreads and ratios.

use super::results::{Results, Run};
use super::scenario::{Measure, Scenario};
use crate::load::Report;

/// A median and what it lies between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of some values; None of none.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Some(Self { min, median, max })
    }
}

/// What a peer did in a scenario.
#[derive(Clone, Debug)]
pub struct Line {
    /// The peer.
    pub peer: String,
    /// What counts.
    pub value: Option<Spread>,
    /// Pigeon's value divided by this peer's, round by round.
    pub ratio: Option<Spread>,
    /// Calls or messages per second.
    pub per_second: Option<f64>,
    /// 50th, 99th and 99.9th percentile, microseconds; none where none were measured.
    pub latency: Option<[f64; 3]>,
    /// Resident memory of the proxy at the end, MiB; none of what has no process of its own.
    pub resident_mib: Option<f64>,
    /// Failed calls of all rounds.
    pub failures: u64,
    /// What else there is to say.
    pub notes: Vec<String>,
}

/// The lines of a scenario, in the order of the first round.
pub fn of(results: &Results, scenario: &str) -> Vec<Line> {
    let runs: Vec<&Run> = results.runs.iter().filter(|run| run.scenario == scenario).collect();
    let mut peers: Vec<&str> = Vec::new();
    for run in &runs {
        if !peers.contains(&run.peer.as_str()) {
            peers.push(&run.peer);
        }
    }
    let known = Scenario::find(scenario).ok();
    peers.into_iter().map(|peer| line(peer, &runs, known)).collect()
}

fn line(peer: &str, runs: &[&Run], scenario: Option<&Scenario>) -> Line {
    let of =
        |peer: &str| -> Vec<&Run> { runs.iter().filter(|run| run.peer == peer).copied().collect() };
    let own = of(peer);
    let pigeon = of("pigeon");
    let reports: Vec<&Report> = own.iter().filter_map(|run| run.report.as_ref()).collect();
    let median = |value: fn(&Report) -> f64| {
        Spread::of(reports.iter().map(|report| value(report))).map(|spread| spread.median)
    };
    let ratios = own.iter().filter_map(|run| {
        let same = pigeon.iter().find(|p| p.round == run.round)?;
        Some(same.value? / run.value.filter(|value| *value > 0.0)?)
    });
    let mut notes: Vec<String> = own.iter().filter_map(|run| run.error.clone()).collect();
    notes.extend(reports.iter().flat_map(|report| report.notes.clone()));
    let unsent: u64 = reports.iter().map(|report| report.unsent).sum();
    if unsent > 0 {
        notes.push(format!("{unsent} calls were due and not sent: slower than the rate"));
    }
    for report in &reports {
        notes.extend(report.failures.iter().map(|(kind, n)| format!("{n} x {kind}")));
    }
    notes.sort();
    notes.dedup();
    let resident = reports.iter().filter(|_| peer != "direct").filter_map(|report| {
        report.watched.map(|watched| watched.resident_after as f64 / f64::from(1 << 20))
    });
    // Nothing is timed while everything is opened.
    let idle = scenario.is_some_and(|s| s.measure == Measure::Memory);
    let latency =
        [median(|r| r.latency.p50), median(|r| r.latency.p99), median(|r| r.latency.p999)];
    Line {
        peer: peer.to_owned(),
        value: Spread::of(own.iter().filter_map(|run| run.value)),
        ratio: if peer == "pigeon" { None } else { Spread::of(ratios) },
        per_second: median(|r| r.per_second).filter(|n| *n > 0.0 && !idle),
        latency: match latency {
            [Some(p50), Some(p99), Some(p999)] if p999 > 0.0 && !idle => Some([p50, p99, p999]),
            _ => None,
        },
        resident_mib: Spread::of(resident).map(|spread| spread.median),
        failures: reports.iter().flat_map(|report| report.failures.values()).sum(),
        notes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let run = |peer: &str, round, value| Run {
            scenario: "s".to_owned(),
            peer: peer.to_owned(),
            at: None,
            round,
            value,
            report: None,
            error: None,
        };
        // The machine was twice as slow in the second round; the ratio does not see it.
        let runs = [
            run("pigeon", 1, Some(1.0)),
            run("envoy", 1, Some(4.0)),
            run("pigeon", 2, Some(2.0)),
            run("envoy", 2, Some(8.0)),
            run("envoy", 3, Some(100.0)),
        ];
        let runs: Vec<&Run> = runs.iter().collect();
        let ratio = line("envoy", &runs, None).ratio.expect("two rounds");
        assert_eq!(ratio, Spread { min: 0.25, median: 0.25, max: 0.25 });
        assert_eq!(line("pigeon", &runs, None).ratio, None);
    }
}
