//! What was measured, and on what.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::Settings;
use super::machine::Machine;
use crate::load::Report;

/// A file of results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    /// When it was begun (UTC).
    pub date: String,
    /// On what.
    pub machine: Machine,
    /// What each peer says its version is.
    pub versions: BTreeMap<String, String>,
    /// How often, and how long each time in seconds.
    pub rounds: u32,
    /// Seconds measured each time.
    pub seconds: f64,
    /// Every single measurement.
    pub runs: Vec<Run>,
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The scenario.
    pub scenario: String,
    /// The peer.
    pub peer: String,
    /// The round, counted from 1.
    pub round: u32,
    /// What counts in this scenario, in its unit; none for what has no process.
    pub value: Option<f64>,
    /// What the load generator found.
    pub report: Option<Report>,
    /// Why there is nothing.
    pub error: Option<String>,
}

impl Results {
    /// None yet.
    pub fn new(settings: &Settings) -> Self {
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            machine: Machine::this(),
            versions: BTreeMap::new(),
            rounds: settings.rounds,
            seconds: settings.seconds,
            runs: Vec::new(),
        }
    }

    /// Reads a file that `--json` wrote.
    ///
    /// # Errors
    /// When there is none, or it is something else.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} was not written by --json", path.display()))
    }
}
