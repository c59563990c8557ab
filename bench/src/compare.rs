//! The comparison: one proxy after another between the same load and the same engine.

pub mod against;
pub mod certificates;
pub mod child;
pub mod cost;
pub mod install;
pub mod machine;
pub mod peer;
pub mod plot;
pub mod results;
pub mod run;
pub mod scale;
pub mod scenario;
pub mod summary;
pub mod table;

use std::path::PathBuf;

use anyhow::ensure;

use self::child::Children;
use self::peer::Peer;
use self::results::Results;
use self::scenario::Scenario;

/// What to compare.
#[derive(Debug)]
pub struct Settings {
    /// Which work.
    pub scenarios: Vec<&'static Scenario>,
    /// Which proxies, and the floors.
    pub peers: Vec<Peer>,
    /// How often each is measured.
    pub rounds: u32,
    /// How long each time, seconds.
    pub seconds: f64,
    /// Calls per second of the latency scenario; None: half of what HAProxy manages.
    pub rate: Option<f64>,
    /// The proxy under test.
    pub pigeon: PathBuf,
    /// Core of the proxy, and core of load and engine; None: no pinning.
    pub cores: Option<(usize, usize)>,
    /// Where results go as JSON.
    pub json: Option<PathBuf>,
    /// Where charts go.
    pub svg: Option<PathBuf>,
    /// A stored result to compare with.
    pub against: Option<PathBuf>,
    /// Install what is missing.
    pub install: bool,
    /// With an access log of every call.
    pub logs: bool,
}

/// Runs everything, prints the table, writes the files.
///
/// # Errors
/// When nothing can be measured, or a file cannot be written.
pub fn compare(settings: &Settings) -> anyhow::Result<()> {
    let children = Children::default();
    children.end_on_signals()?;
    let earlier = settings.against.as_deref().map(Results::read).transpose()?;
    if settings.install {
        install::install(&settings.peers)?;
    }
    let mut results = Results::new(settings.rounds, settings.seconds);
    results.logs = settings.logs;
    let found = |peer: &Peer| match peer.program(&settings.pigeon) {
        Ok(_) => true,
        Err(why) => {
            eprintln!("{peer} is left out: {why}");
            false
        }
    };
    let peers: Vec<Peer> = settings.peers.iter().copied().filter(found).collect();
    ensure!(!peers.is_empty(), "there is nobody to measure");
    results.versions = peers.iter().map(|p| (p.to_string(), p.version(&settings.pigeon))).collect();
    for group in Scenario::groups(&settings.scenarios) {
        run::group(&group, &peers, settings, &children, &mut results)?;
        for scenario in &group {
            let summary = summary::of(&results, scenario.name);
            println!("{}", table::of(scenario, &summary));
            if let Some(folder) = &settings.svg {
                plot::write(folder, scenario, &summary)?;
            }
        }
        for scenario in &group[1..] {
            let costs = cost::of(&results, group[0].name, scenario.name);
            println!("{}", cost::table(group[0], scenario, &costs));
        }
        // Kept after each, so that a run that is cut short is not for nothing.
        if let Some(path) = &settings.json {
            results.write(path)?;
        }
    }
    if let Some(earlier) = earlier {
        println!("{}", against::table(&results, &earlier));
    }
    Ok(())
}
