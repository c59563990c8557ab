//! Notices that files were saved: written in place, replaced by an editor, or swapped behind a symbolic link
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
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::restless::Looks;
use crate::config::{Timings, durable};

/// A file that never rests is read all the same, after so many waits.
const SETTLE_ROUNDS: usize = 50;
/// Earlier, if something good and whole is seen of it.
const PATIENT_ROUNDS: usize = 10;
/// Looks at a file that does not rest, in one wait: so many that all of them fall on its halves by no chance.
const LOOKS: u32 = 16;

/// Changes of files.
pub(crate) struct Changes {
    paths: Vec<PathBuf>,
    timings: Timings,
    event: Arc<Notify>,
    /// Reports as long as it lives; none where the system cannot.
    _watcher: Option<RecommendedWatcher>,
    /// What was there when the files were last read (`None`: no file); at first not even that is known.
    seen: Option<Vec<Option<Stamp>>>,
}

/// What differs after a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What a content of a file could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// Nothing that can be used.
    Bad,
    /// Good as it is, or the beginning of what it was before.
    Part,
    /// Good.
    Good,
}

/// What became of a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The file has rested for as long as it takes, and is no good: it is to be read as it is.
    Rested,
    /// This is what it says, or the last of it that was seen whole.
    Whole(Vec<u8>),
    /// It goes on changing, and was never seen whole.
    Never,
}

impl Changes {
    /// Of one file, from now on.
    pub(super) fn of(path: &Path, timings: Timings) -> Self {
        Self::of_all(vec![path.to_owned()], timings)
    }

    /// From now on.
    pub(crate) fn of_all(paths: Vec<PathBuf>, timings: Timings) -> Self {
        let event = Arc::new(Notify::new());
        let watcher = match watch(&paths, Arc::clone(&event)) {
            Ok(watcher) => Some(watcher),
            Err(e) => {
                let every = timings.file_poll;
                tracing::warn!(
                    "the system reports no changes of {paths:?} ({e}); looking every {every:?} instead"
                );
                None
            }
        };
        // What was saved between reading the file and watching it must be noticed: nothing was seen yet.
        Self { paths, timings, event, _watcher: watcher, seen: None }
    }

    /// Waits until one has changed and then all rested for a moment.
    pub(crate) async fn next(&mut self) {
        self.changed().await;
        for _ in 0..SETTLE_ROUNDS {
            let before = self.look();
            sleep(self.timings.file_settle).await;
            if stamps(&self.paths) == before {
                return;
            }
        }
    }

    /// Waits until one has changed.
    async fn changed(&mut self) {
        while Some(stamps(&self.paths)) == self.seen {
            // Nothing is lost between the two: a permit stays with `event`.
            let _ = timeout(self.timings.file_poll, self.event.notified()).await;
        }
    }

    fn look(&mut self) -> Vec<Option<Stamp>> {
        let now = stamps(&self.paths);
        self.seen = Some(now.clone());
        now
    }

    /// Waits until the first file, of at most `limit` bytes, has changed, and then rested for a moment. One that is
    /// no good may be half of one that is, and gets more time. If it goes on changing: until something good
    /// was seen of it, whole, or for as long as [`Changes::next`] waits.
    pub(super) async fn found(&mut self, limit: u64, judge: impl Fn(&[u8]) -> Judged) -> Found {
        self.changed().await;
        let (mut last, mut bad) = (Found::Never, None);
        for round in 0..SETTLE_ROUNDS {
            let before = self.look();
            if round < PATIENT_ROUNDS {
                sleep(self.timings.file_settle).await;
            } else if let Some(whole) = self.looks(limit).await {
                if judge(&whole) == Judged::Good {
                    return Found::Whole(whole);
                }
                last = Found::Whole(whole);
            }
            if stamps(&self.paths) != before {
                continue;
            }
            if round >= PATIENT_ROUNDS {
                return Found::Rested;
            }
            if bad.as_ref() == Some(&before) {
                continue;
            }
            match self.read(limit).await.filter(|content| judge(content) != Judged::Bad) {
                Some(content) => return Found::Whole(content),
                None => bad = Some(before),
            }
        }
        last
    }

    /// Looks at the first file several times while it could rest.
    async fn looks(&self, limit: u64) -> Option<Vec<u8>> {
        let mut looks = Looks::default();
        for _ in 0..LOOKS {
            // Half of the time more or less: who writes in the same rhythm is not met at the same place.
            sleep((self.timings.file_settle / LOOKS).mul_f64(0.5 + fastrand::f64())).await;
            if let Some(content) = self.read(limit).await {
                looks.note(content);
            }
        }
        looks.whole()
    }

    /// The first file, if it can be read; if it cannot and that stays so, it is told by whoever reads it then.
    async fn read(&self, limit: u64) -> Option<Vec<u8>> {
        let path = self.paths.first()?.clone();
        spawn_blocking(move || durable::read_limited(&path, limit)).await.ok()?.ok()
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    // Follows links: it is the content that counts.
    let of = |m: Metadata| Stamp {
        file: (m.dev(), m.ino()),
        size: m.size(),
        modified: (m.mtime(), m.mtime_nsec()),
        changed: (m.ctime(), m.ctime_nsec()),
    };
    paths.iter().map(|path| std::fs::metadata(path).ok().map(of)).collect()
}

fn watch(paths: &[PathBuf], event: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let report = move |result: notify::Result<notify::Event>| {
        // Reading the file is an event, too, and would wake us for ever.
        if result.is_ok_and(|e| !e.kind.is_access()) {
            event.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(report)?;
    // Where the name is, and where a link leads.
    let real: Vec<_> = paths.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let folders: BTreeSet<PathBuf> = paths.iter().chain(&real).map(|p| folder(p)).collect();
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
