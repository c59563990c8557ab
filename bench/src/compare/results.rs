//! What was measured, and on what.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

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
    /// Whether every call was written to an access log.
    #[serde(default)]
    pub logs: bool,
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
    /// Of a curve: how many of what it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
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
    pub fn new(rounds: u32, seconds: f64) -> Self {
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            machine: Machine::this(),
            versions: BTreeMap::new(),
            rounds,
            seconds,
            logs: false,
            runs: Vec::new(),
        }
    }

    /// Writes them to a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
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
