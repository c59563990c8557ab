//! Looks at the memory and the descriptors of the process, now and then.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Level;
use crate::gateway::Gateway;

/// How often memory is looked at, and after how many looks descriptors are.
const PERIOD: Duration = Duration::from_millis(250);
const EVERY: u32 = 4;

/// Raises the soft limit of descriptors to the hard one, for the whole process.
///
/// # Errors
/// The system does not allow it.
pub fn raise_descriptors() -> std::io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(())
}

/// How many descriptors the process may have.
pub fn descriptor_limit() -> Option<u32> {
    getrlimit(Resource::Nofile).current.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX))
}

/// How many descriptors the process has.
pub fn descriptors_open() -> Option<u32> {
    let folder = Path::new("/proc/self/fd");
    // Since Linux 6.2 the size of the folder is their number; before, it is 0.
    match fs::metadata(folder).map_or(0, |m| m.len()) {
        0 => u32::try_from(fs::read_dir(folder).ok()?.count()).ok(),
        open => u32::try_from(open).ok(),
    }
}

/// What the process may use: what it was told, or the least limit of its control groups.
pub fn memory_limit(told: Option<u64>) -> Option<u64> {
    told.or_else(|| {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path =
            groups.lines().find_map(|line| line.strip_prefix("0::"))?.trim_start_matches('/');
        let root = Path::new("/sys/fs/cgroup");
        let limit = |group: &Path| {
            fs::read_to_string(group.join("memory.max")).ok()?.trim().parse::<u64>().ok()
        };
        let full = root.join(path);
        full.ancestors().take_while(|group| group.starts_with(root)).filter_map(limit).min()
    })
}

/// Resident memory of the process, in bytes.
pub fn memory_used() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Looks until told to stop.
pub async fn run(gateway: Arc<Gateway>, limit: Option<u64>, stop: CancellationToken) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0_u32;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let guard = gateway.guard();
        if let (Some(limit), Some(used)) = (limit, memory_used()) {
            let (before, level) = (guard.memory(), guard.memory().next(used, limit));
            if level != before {
                say(level, before, used, limit);
                guard.set_memory(level);
            }
        }
        if looks.is_multiple_of(EVERY)
            && guard.is_short()
            && let Some(open) = descriptors_open()
        {
            guard.descriptors_in_use(open);
        }
        looks = looks.wrapping_add(1);
    }
}

fn say(level: Level, before: Level, used: u64, limit: u64) {
    let (used, limit) = (used >> 20, limit >> 20);
    match level {
        Level::Fine => tracing::info!("memory is enough again: {used} of {limit} MiB"),
        Level::Shed if before == Level::Tight => {
            tracing::info!("memory is less short: {used} of {limit} MiB; still no new calls");
        }
        Level::Shed => tracing::warn!(
            "memory runs short: {used} of {limit} MiB; no new connections, and new calls are answered \
             overloaded"
        ),
        Level::Tight => tracing::warn!(
            "memory is very short: {used} of {limit} MiB; connections without a call are closed, too"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells() {
        let open = descriptors_open().expect("counted");
        let more: Vec<_> = (0..10).map(|_| fs::File::open("/dev/null").expect("opened")).collect();
        assert!(open > 2 && descriptors_open().expect("counted") >= open.saturating_sub(50));
        drop(more);
        assert!(descriptor_limit().is_none_or(|limit| limit >= open));
        assert!(memory_used().expect("read") > 1 << 20);
        assert_eq!(memory_limit(Some(7)), Some(7));
    }
}
