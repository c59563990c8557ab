//! How cost grows: one thing larger from point to point, everything else the same.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::child::Children;
use super::peer::{Peer, Shape};
use super::plot;
use super::results::{Results, Run};
use super::run::Bench;
use super::scenario::{Scenario, unary};
use super::table::number;
use crate::load::Report;
use crate::subscribers;

/// What becomes larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Connections,
    Streams,
    Size,
    Routes,
    Endpoints,
    Workers,
    Subscribers,
}

/// A curve.
#[derive(Debug)]
pub struct Curve {
    /// As given on the command line.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    axis: Axis,
    points: &'static [u64],
    peers: &'static [Peer],
}

const BESIDE: &[Peer] = &[Peer::Splice, Peer::Pigeon, Peer::Haproxy];
const ALONE: &[Peer] = &[Peer::Pigeon];

/// All of them.
pub const CURVES: [Curve; 7] = [
    Curve {
        name: "connections",
        about: "gRPC unary, 16 B, N connections x 1 stream",
        axis: Axis::Connections,
        points: &[1, 10, 100, 1_000, 10_000],
        peers: BESIDE,
    },
    Curve {
        name: "streams",
        about: "gRPC unary, 16 B, 1 connection x N streams",
        axis: Axis::Streams,
        points: &[1, 4, 16, 64, 256, 1_000],
        peers: BESIDE,
    },
    Curve {
        name: "size",
        about: "gRPC unary, N bytes each way, 4 connections x 4 streams",
        axis: Axis::Size,
        points: &[16, 256, 4_096, 65_536, 1_048_576, 4_194_304],
        peers: BESIDE,
    },
    Curve {
        name: "routes",
        about: "gRPC unary, 16 B, 8 x 16, N routes",
        axis: Axis::Routes,
        points: &[10, 100, 1_000, 10_000, 100_000],
        peers: ALONE,
    },
    Curve {
        name: "endpoints",
        about: "gRPC unary, 16 B, 8 x 16, an engine of N endpoints",
        axis: Axis::Endpoints,
        points: &[1, 10, 100, 1_000],
        peers: ALONE,
    },
    Curve {
        name: "workers",
        about: "gRPC unary, 16 B, 8 x 16, N workers (not pinned)",
        axis: Axis::Workers,
        points: &[1, 2, 4, 8, 16, 32, 64],
        peers: ALONE,
    },
    Curve {
        name: "subscribers",
        about: "a change of one route until N subscribers of the admin have acknowledged it",
        axis: Axis::Subscribers,
        points: &[1, 10, 100, 1_000],
        peers: &[],
    },
];

impl Curve {
    /// The one of that name.
    ///
    /// # Errors
    /// When there is none; says which there are.
    pub fn find(name: &str) -> Result<&'static Self, String> {
        CURVES.iter().find(|curve| curve.name == name).ok_or_else(|| {
            let names: Vec<_> = CURVES.iter().map(|curve| curve.name).collect();
            format!("\"{}\" is no curve; there are {}", name.escape_debug(), names.join(", "))
        })
    }

    /// The work at one point.
    fn scenario(&self, at: u64) -> (Scenario, Shape) {
        let mut scenario = unary(self.name, self.about, 8, 16);
        let mut shape = Shape::default();
        let many = at as usize;
        match self.axis {
            Axis::Connections => (scenario.connections, scenario.streams) = (many, 1),
            Axis::Streams => (scenario.connections, scenario.streams) = (1, many),
            Axis::Size => {
                (scenario.connections, scenario.streams, scenario.size) = (4, 4, many);
            }
            Axis::Routes => shape.routes = at,
            Axis::Endpoints => shape.endpoints = at as u32,
            Axis::Workers => shape.workers = at,
            Axis::Subscribers => {}
        }
        (scenario, shape)
    }

    /// The points of this machine.
    fn points(&self, most: u64) -> Vec<u64> {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let fits = |at: &u64| *at <= most && (self.axis != Axis::Workers || *at <= cores);
        self.points.iter().copied().filter(fits).collect()
    }
}

/// What to measure.
#[derive(Debug)]
pub struct Settings {
    /// Which curves.
    pub curves: Vec<&'static Curve>,
    /// Points above this are left out.
    pub most: u64,
    /// How long each time, seconds.
    pub seconds: f64,
    /// The proxy under test.
    pub pigeon: PathBuf,
    /// The admin under test.
    pub admin: PathBuf,
    /// Routes of the admin that has subscribers.
    pub routes: u32,
    /// Changes that its subscribers are told of.
    pub changes: u32,
    /// Core of the proxy, and core of load and engine; None: no pinning.
    pub cores: Option<(usize, usize)>,
    /// Where results go as JSON.
    pub json: Option<PathBuf>,
    /// Where plots go.
    pub svg: Option<PathBuf>,
}

/// A file of curves.
#[derive(Debug, serde::Serialize)]
struct Scaling {
    #[serde(flatten)]
    results: Results,
    subscribers: Vec<subscribers::Point>,
}

/// Measures, prints tables, writes files.
///
/// # Errors
/// When nothing can be measured, or a file cannot be written.
pub fn scale(settings: &Settings) -> anyhow::Result<()> {
    let children = Children::default();
    children.end_on_signals()?;
    if settings.curves.iter().any(|curve| curve.axis != Axis::Subscribers) {
        Peer::Pigeon.program(&settings.pigeon).map_err(anyhow::Error::msg)?;
    }
    let mut results = Results::new(1, settings.seconds);
    let there = |peer: Peer| peer.program(&settings.pigeon).is_ok();
    let peers = BESIDE.iter().copied().filter(|peer| there(*peer));
    results.versions = peers.map(|p| (p.to_string(), p.version(&settings.pigeon))).collect();
    let mut scaling = Scaling { results, subscribers: Vec::new() };
    for curve in &settings.curves {
        println!("## {}: {}", curve.name, curve.about);
        let lines = if curve.axis == Axis::Subscribers {
            let points = of_subscribers(curve, settings)?;
            let p = |value: fn(&subscribers::Point) -> f64| {
                points.iter().map(|p| (u64::from(p.subscribers), value(p))).collect()
            };
            let lines =
                vec![("p50".to_owned(), p(|p| p.p50_ms)), ("p99".to_owned(), p(|p| p.p99_ms))];
            scaling.subscribers = points;
            lines
        } else {
            of_calls(curve, settings, &children, &mut scaling.results)
        };
        if let Some(folder) = &settings.svg {
            let unit = match curve.axis {
                Axis::Subscribers => "milliseconds",
                Axis::Workers => "calls per second",
                _ => "CPU of the proxy per call, microseconds",
            };
            plot::curve(folder, curve.name, curve.about, unit, &lines)?;
        }
        if let Some(path) = &settings.json {
            write(&scaling, path)?;
        }
    }
    Ok(())
}

fn write(scaling: &Scaling, path: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(scaling)?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// A name, and a value at each point.
pub type Curved = (String, Vec<(u64, f64)>);

fn of_calls(
    curve: &Curve,
    settings: &Settings,
    children: &Children,
    results: &mut Results,
) -> Vec<Curved> {
    let mut lines: Vec<Curved> = Vec::new();
    println!(
        "{:>10}  {:8}  {:>9}  {:>9}  {:>9}  {:>9}",
        "", "", "CPU us", "per s", "p50 us", "p99 us"
    );
    for at in curve.points(settings.most) {
        let (scenario, shape) = curve.scenario(at);
        let pinned = settings.cores.filter(|_| curve.axis != Axis::Workers);
        let bench = Bench {
            scenario: &scenario,
            pigeon: &settings.pigeon,
            cores: pinned,
            logs: false,
            shape,
            children,
        };
        for &peer in curve.peers {
            let (report, error) = match bench.one(peer, None, settings.seconds) {
                Ok(report) => (Some(report), None),
                Err(error) => (None, Some(format!("{error:#}"))),
            };
            let value = report.as_ref().and_then(|report| bench.value(peer, report));
            println!("{at:>10}  {peer:8}  {}", cells(value, report.as_ref(), error.as_deref()));
            let shown = match curve.axis {
                Axis::Workers => report.as_ref().map(|report| report.per_second),
                _ => value,
            };
            if let Some(shown) = shown {
                let name = peer.to_string();
                match lines.iter_mut().find(|line| line.0 == name) {
                    Some(line) => line.1.push((at, shown)),
                    None => lines.push((name, vec![(at, shown)])),
                }
            }
            results.runs.push(Run {
                scenario: curve.name.to_owned(),
                peer: peer.to_string(),
                at: Some(at),
                round: 1,
                value,
                report,
                error,
            });
        }
    }
    println!();
    lines
}

fn cells(value: Option<f64>, report: Option<&Report>, error: Option<&str>) -> String {
    let Some(report) = report else { return error.unwrap_or_default().to_owned() };
    let failed: u64 = report.failures.values().sum();
    let failed = if failed > 0 { format!("  {failed} failed") } else { String::new() };
    format!(
        "{:>9}  {:>9}  {:>9}  {:>9}{failed}",
        value.map(number).unwrap_or_default(),
        number(report.per_second),
        number(report.latency.p50),
        number(report.latency.p99),
    )
}

fn of_subscribers(curve: &Curve, settings: &Settings) -> anyhow::Result<Vec<subscribers::Point>> {
    let many: Vec<u32> = curve.points(settings.most).into_iter().map(|n| n as u32).collect();
    let points = subscribers::curve(&settings.admin, settings.routes, &many, settings.changes)?;
    println!("{:>10}  {:>8}  {:>8}  {:>8}  {:>12}", "", "p50 ms", "p99 ms", "max ms", "admin KiB");
    for p in &points {
        println!(
            "{:>10}  {:>8}  {:>8}  {:>8}  {:>12}",
            p.subscribers,
            number(p.p50_ms),
            number(p.p99_ms),
            number(p.max_ms),
            p.resident_kib
        );
    }
    println!();
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_changes_one_thing() {
        let at = |name| Curve::find(name).expect("a curve").scenario(100);
        let (plain, shape) = at("subscribers");
        assert_eq!(shape, Shape::default());
        assert_eq!(at("connections").0.connections, 100);
        assert_eq!(at("streams").0.streams, 100);
        assert_eq!(at("size").0.size, 100);
        let (scenario, shape) = at("routes");
        assert_eq!((scenario.connections, shape.routes), (plain.connections, 100));
        assert_eq!(at("endpoints").1.endpoints, 100);
        assert_eq!(at("workers").1.workers, 100);
    }

    #[test]
    fn points_end_where_they_are_told_to() {
        assert_eq!(Curve::find("routes").expect("a curve").points(150), [10, 100]);
        assert!(Curve::find("ruotes").expect_err("none").contains("routes"));
    }
}
