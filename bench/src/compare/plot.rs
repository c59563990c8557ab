//! SVG: bar charts, one per scenario, and curves.

use std::path::Path;

use anyhow::Context as _;

use super::scale::Curved;
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
    let mut svg = begin(height, scenario.about, &format!("{what}; less is better"));
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

/// Writes `NAME.svg` into a folder: both axes logarithmic, a line for each name.
///
/// # Errors
/// When it cannot be written.
pub fn curve(
    folder: &Path,
    name: &str,
    about: &str,
    unit: &str,
    lines: &[Curved],
) -> anyhow::Result<()> {
    let path = folder.join(format!("{name}.svg"));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, curves(about, unit, lines)))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn curves(about: &str, unit: &str, lines: &[Curved]) -> String {
    const HEIGHT: f64 = 360.0;
    const BOTTOM: f64 = HEIGHT - 40.0;
    let all = || lines.iter().flat_map(|line| &line.1);
    let (x_least, x_most) = reach(all().map(|(at, _)| *at as f64));
    let (y_least, y_most) = reach(all().map(|(_, value)| *value));
    let x = |at: f64| {
        LEFT + (WIDTH - LEFT - RIGHT) * (at.max(x_least) / x_least).ln() / (x_most / x_least).ln()
    };
    let y = |value: f64| {
        BOTTOM - (BOTTOM - TOP) * (value.max(y_least) / y_least).ln() / (y_most / y_least).ln()
    };
    let mut svg = begin(HEIGHT, about, &format!("{unit}; both axes logarithmic"));
    let mut ticks: Vec<u64> = all().map(|(at, _)| *at).collect();
    ticks.sort_unstable();
    ticks.dedup();
    for at in ticks {
        svg += &format!(
            "<path d=\"M{0:.1} {TOP}V{BOTTOM}\" stroke=\"#e9ecef\"/>\n\
             <text x=\"{0:.1}\" y=\"{1:.1}\" text-anchor=\"middle\" fill=\"#666\">{at}</text>\n",
            x(at as f64),
            BOTTOM + 20.0
        );
    }
    for value in [y_least, (y_least * y_most).sqrt(), y_most] {
        svg += &format!(
            "<path d=\"M{LEFT} {0:.1}H{1:.1}\" stroke=\"#e9ecef\"/>\n\
             <text x=\"{2:.1}\" y=\"{3:.1}\" text-anchor=\"end\" fill=\"#666\">{4}</text>\n",
            y(value),
            WIDTH - RIGHT,
            LEFT - 8.0,
            y(value) + 4.5,
            number(value)
        );
    }
    for (name, points) in lines {
        let colour = match name.as_str() {
            "pigeon" | "p50" => "#0b7285",
            "direct" | "splice" => "#adb5bd",
            _ => "#495057",
        };
        let path: Vec<String> =
            points.iter().map(|(at, v)| format!("{:.1} {:.1}", x(*at as f64), y(*v))).collect();
        svg += &format!(
            "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
            path.join("L")
        );
        if let Some((at, value)) = points.last() {
            svg += &format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{} {}</text>\n",
                x(*at as f64) + 8.0,
                y(*value) + 4.5,
                escape(name),
                number(*value)
            );
        }
    }
    svg + "</svg>\n"
}

/// A picture with its title and a line that says what is drawn.
fn begin(height: f64, title: &str, what: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"12\" y=\"22\" font-size=\"15\" font-weight=\"600\">{}</text>\n\
         <text x=\"12\" y=\"42\" fill=\"#666\">{}</text>\n",
        escape(title),
        escape(what)
    )
}

/// The least and the most that is above nothing, never the same.
fn reach(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut least, mut most) = (f64::MAX, 0.0_f64);
    for value in values.filter(|value| *value > 0.0) {
        (least, most) = (least.min(value), most.max(value));
    }
    if most <= 0.0 {
        return (1.0, 10.0);
    }
    if least < most { (least, most) } else { (least / 2.0, most * 2.0) }
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
            resident_mib: None,
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

    #[test]
    fn every_point_is_within_the_picture() {
        let line = |name: &str, points: &[(u64, f64)]| (name.to_owned(), points.to_vec());
        for lines in [
            vec![],
            vec![line("pigeon", &[(1, 2.0)])],
            vec![line("pigeon", &[(1, 2.0), (10_000, 0.0)]), line("b", &[(7, 900.0)])],
        ] {
            let svg = curves("a & b", "us", &lines);
            assert!(
                svg.contains("a &amp; b") && !svg.contains("NaN") && !svg.contains("inf"),
                "{svg}"
            );
            let numbers =
                svg.split(['"', 'M', 'L', ' ', 'H', 'V']).filter_map(|n| n.parse::<f64>().ok());
            assert!(numbers.into_iter().all(|n| (0.0..=WIDTH).contains(&n)), "{svg}");
        }
    }
}
