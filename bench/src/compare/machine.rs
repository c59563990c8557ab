//! What it was measured on.

use std::fs::read_to_string;

use serde::{Deserialize, Serialize};

/// A machine.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// What the processor calls itself.
    pub cpu: String,
    /// Its cores.
    pub cores: usize,
    /// Memory, GiB.
    pub memory_gib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// Processes that ran or wanted to, on average of the last minute, when the comparison began: above 0.5
    /// somebody else was at work, and the figures are worth less.
    pub load_before: f64,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let field = |file: &str, name: &str| {
            let text = read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let kib: u64 = memory.trim_end_matches("kB").trim().parse().unwrap_or(0);
        let load = read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib.div_ceil(1024 * 1024),
            kernel: read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                // Without what a distribution or a cloud adds.
                .split('-')
                .next()
                .unwrap_or_default()
                .to_owned(),
            load_before: load.split(' ').next().and_then(|l| l.parse().ok()).unwrap_or(0.0),
        }
    }
}
