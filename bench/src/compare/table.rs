//! The table for people.

use super::scenario::Scenario;
use super::summary::{Line, Spread};

/// A scenario's lines as text.
pub fn of(scenario: &Scenario, lines: &[Line]) -> String {
    let mut rows = vec![
        [
            "",
            scenario.measure.unit(),
            "",
            "per s",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "MiB",
            "pigeon /",
            "",
            "failed",
        ]
        .map(str::to_owned),
    ];
    rows.extend(lines.iter().map(row));
    let columns = rows[0].len();
    let width = |n: usize| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = format!("## {}: {}\n", scenario.name, scenario.about);
    for row in &rows {
        for (n, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let width = *width;
            text += &if n == 0 { format!("{cell:width$}") } else { format!("  {cell:>width$}") };
        }
        text = text.trim_end().to_owned() + "\n";
    }
    for line in lines {
        let notes = line.notes.iter().take(4).map(|note| format!("  {}: {note}\n", line.peer));
        text.extend(notes);
    }
    text
}

fn row(line: &Line) -> [String; 11] {
    let range = |spread: &Spread| format!("[{}-{}]", number(spread.min), number(spread.max));
    let or_empty = |value: Option<f64>| value.map(number).unwrap_or_default();
    let percentile = |n: usize| or_empty(line.latency.map(|latency| latency[n]));
    let ratio = |value: f64| format!("{value:.2}");
    [
        line.peer.clone(),
        or_empty(line.value.map(|value| value.median)),
        line.value.as_ref().map(range).unwrap_or_default(),
        or_empty(line.per_second),
        percentile(0),
        percentile(1),
        percentile(2),
        or_empty(line.resident_mib),
        line.ratio.map(|r| ratio(r.median)).unwrap_or_default(),
        line.ratio.map(|r| format!("[{}-{}]", ratio(r.min), ratio(r.max))).unwrap_or_default(),
        if line.failures > 0 { line.failures.to_string() } else { String::new() },
    ]
}

/// Three digits or so.
pub fn number(value: f64) -> String {
    match value.abs() {
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
