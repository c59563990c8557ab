//! Notices that a file was saved: written in place, replaced by an editor, or swapped behind a symbolic link
//! as Kubernetes does with a mounted ConfigMap.
//!
//! The folders are watched, not the file, for a replaced file is another one. The file is also looked at now
//! and then, because network file systems report nothing.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::config::Timings;

/// A file that never rests is read all the same, after so many waits.
const SETTLE_ROUNDS: usize = 50;

/// Changes of one file.
pub(super) struct Changes {
    path: PathBuf,
    timings: Timings,
    event: Arc<Notify>,
    /// Reports as long as it lives; none where the system cannot.
    _watcher: Option<RecommendedWatcher>,
    /// What was there when the file was last read (`None`: no file); at first not even that is known.
    seen: Option<Option<Stamp>>,
}

/// What differs after a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Changes {
    /// From now on.
    pub(super) fn of(path: &Path, timings: Timings) -> Self {
        let event = Arc::new(Notify::new());
        let watcher = match watch(path, Arc::clone(&event)) {
            Ok(watcher) => Some(watcher),
            Err(e) => {
                let every = timings.file_poll;
                tracing::warn!(
                    "the system reports no changes of {} ({e}); looking every {every:?} instead",
                    path.display()
                );
                None
            }
        };
        // What was saved between reading the file and watching it must be noticed: nothing was seen yet.
        Self { path: path.to_owned(), timings, event, _watcher: watcher, seen: None }
    }

    /// Waits until the file has changed and then rested for a moment.
    pub(super) async fn next(&mut self) {
        while Some(stamp(&self.path)) == self.seen {
            // Nothing is lost between the two: a permit stays with `event`.
            let _ = timeout(self.timings.file_poll, self.event.notified()).await;
        }
        for _ in 0..SETTLE_ROUNDS {
            let before = stamp(&self.path);
            self.seen = Some(before);
            sleep(self.timings.file_settle).await;
            if stamp(&self.path) == before {
                return;
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    // Follows links: it is the content that counts.
    let of = |m: Metadata| Stamp {
        file: (m.dev(), m.ino()),
        size: m.size(),
        modified: (m.mtime(), m.mtime_nsec()),
        changed: (m.ctime(), m.ctime_nsec()),
    };
    std::fs::metadata(path).ok().map(of)
}

fn watch(path: &Path, event: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let report = move |result: notify::Result<notify::Event>| {
        // Reading the file is an event, too, and would wake us for ever.
        if result.is_ok_and(|e| !e.kind.is_access()) {
            event.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(report)?;
    // Where the name is, and where a link leads.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folders: BTreeSet<PathBuf> = [path, real.as_path()].into_iter().map(folder).collect();
    for folder in folders {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
