//! Bar charts as SVG, one per scenario.

use std::path::Path;

use anyhow::Context as _;

use super::scenario::{Measure, Scenario};
use super::summary::{Line, Spread};
use super::table::number;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 56.0;
const BAR: f64 = 22.0;
const STEP: f64 = 32.0;

/// Writes `SCENARIO.svg` into a folder.
///
/// # Errors
/// When it cannot be written.
pub fn write(folder: &Path, scenario: &Scenario, lines: &[Line]) -> anyhow::Result<()> {
    let path = folder.join(format!("{}.svg", scenario.name));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, chart(scenario, lines)))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The chart: a bar to the median, a thin line from the least to the most.
fn chart(scenario: &Scenario, lines: &[Line]) -> String {
    let bars: Vec<(&str, Spread)> =
        lines.iter().filter_map(|line| Some((line.peer.as_str(), line.value?))).collect();
    let most = bars.iter().map(|(_, spread)| spread.max).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / most;
    let height = TOP + STEP * bars.len() as f64 + 12.0;
    let what = match scenario.measure {
        Measure::Cpu => "CPU of the proxy per call or message, microseconds",
        Measure::Memory => "memory of the proxy, KiB each",
        Measure::Latency => "99th percentile of latency, microseconds",
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"12\" y=\"22\" font-size=\"15\" font-weight=\"600\">{}</text>\n\
         <text x=\"12\" y=\"42\" fill=\"#666\">{what}; less is better</text>\n",
        escape(scenario.about)
    );
    for (n, (peer, spread)) in bars.iter().enumerate() {
        let y = TOP + STEP * n as f64;
        let middle = y + BAR / 2.0;
        let at = |value: f64| LEFT + value.max(0.0) * scale;
        let colour = match *peer {
            "pigeon" => "#0b7285",
            "direct" | "splice" => "#ced4da",
            _ => "#868e96",
        };
        svg += &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"/>\n\
             <path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"#212529\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            LEFT - 8.0,
            middle + 4.5,
            escape(peer),
            at(spread.median) - LEFT,
            at(spread.min),
            at(spread.max),
            at(spread.max) + 8.0,
            middle + 4.5,
            number(spread.median),
        );
    }
    svg + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_is_within_the_picture() {
        let line = |peer: &str, median: f64| Line {
            peer: peer.to_owned(),
            value: Some(Spread { min: median / 2.0, median, max: median * 1.5 }),
            ratio: None,
            per_second: None,
            latency: None,
            failures: 0,
            notes: Vec::new(),
        };
        let lines = [line("pigeon", 2.0), line("a<b", 100.0), line("haproxy", -1.0)];
        let svg = chart(Scenario::find("8x16").expect("a scenario"), &lines);
        assert_eq!(svg.matches("<path").count(), 3);
        assert!(svg.contains("a&lt;b") && svg.contains("viewBox=\"0 0 760 164\""), "{svg}");
        let widths = svg.split("width=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let widths: Vec<f64> = widths.filter_map(|width| width.parse().ok()).collect();
        assert!(widths.iter().all(|w| (0.0..=WIDTH).contains(w)), "{widths:?}");
    }
}
