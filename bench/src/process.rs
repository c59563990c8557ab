//! What the system says of a process and all that it started: CPU time and memory.

use std::fs;
use std::time::Duration;

/// The kernel's clock tick on every Linux that matters (USER_HZ), for /proc/PID/stat.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time used so far, user and system, by `root` and every process below it.
///
/// The nanoseconds of each thread's schedstat where the kernel has them, else the ticks of stat. A thread
/// that ends between two readings takes its nanoseconds along, so the ticks are the lower bound.
pub fn cpu(root: u32) -> Duration {
    tree(root).into_iter().map(|pid| threads(pid).unwrap_or_default().max(ticks(pid))).sum()
}

/// Resident memory of `root` and every process below it, bytes.
pub fn resident(root: u32) -> u64 {
    let of = |pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
    };
    tree(root).into_iter().filter_map(of).sum::<u64>() * 1024
}

/// `root` and every process below it.
pub fn tree(root: u32) -> Vec<u32> {
    let pairs: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, field(pid, 4)?.parse().ok()?)))
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(pairs.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// A field of /proc/PID/stat, counted from 1 as in proc(5); after the name only, which may hold anything.
fn field(pid: u32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(") ")?;
    after.split(' ').nth(number - 3).map(str::to_owned)
}

fn ticks(pid: u32) -> Duration {
    let read = |number| field(pid, number).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((read(14) + read(15)) * 1000 / TICKS_PER_SECOND)
}

fn threads(pid: u32) -> Option<Duration> {
    let mut sum = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let path = entry.ok()?.path().join("schedstat");
        let Ok(text) = fs::read_to_string(path) else { continue };
        sum += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself_and_its_children() {
        let me = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("30").spawn().expect("sleep");
        let found = tree(me);
        let _ = child.kill();
        let _ = child.wait();
        assert!(found.contains(&me) && found.contains(&child.id()), "{found:?}");
        assert!(resident(me) > 1024 * 1024);
        let before = cpu(me);
        let mut sum = 0u64;
        while cpu(me) == before {
            sum = (0..1_000_000u64).fold(sum, |sum, n| sum ^ n.wrapping_mul(31));
        }
        assert!(cpu(me) > before, "{sum}");
    }
}
