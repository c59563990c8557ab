//! When last known good is written: after changes, not too often, and never in the way of serving.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::config::last_known_good::{self, Saved};
use crate::metrics::config::ConfigMetrics;

/// The file, and what is to be done with it.
pub(super) struct Keep {
    path: PathBuf,
    /// Least time between two writes.
    every: Duration,
    /// When to write what has changed; none = nothing has.
    due: Option<Instant>,
    /// Not before this.
    earliest: Instant,
    /// Under way, on a thread that may block.
    writing: Option<JoinHandle<io::Result<()>>>,
    /// The last write failed, and that was said.
    failed: bool,
    metrics: ConfigMetrics,
}

impl Keep {
    pub(super) fn new(path: PathBuf, every: Duration, metrics: ConfigMetrics) -> Self {
        let earliest = Instant::now();
        Self { path, every, due: None, earliest, writing: None, failed: false, metrics }
    }

    /// There is something to write.
    pub(super) fn changed(&mut self) {
        self.due.get_or_insert(self.earliest);
    }

    /// Waits until it is time for [`Keep::write`]; for ever while there is nothing to write.
    pub(super) async fn due(&mut self) {
        loop {
            self.written().await;
            match self.due {
                Some(when) => return sleep_until(when).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Begins to write.
    pub(super) fn write(&mut self, saved: Saved) {
        self.due = None;
        self.earliest = Instant::now() + self.every;
        let path = self.path.clone();
        let write = move || last_known_good::save(&path, &saved);
        self.writing = Some(tokio::task::spawn_blocking(write));
    }

    /// Whether there is anything left to write.
    pub(super) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// Waits for a write that is under way.
    pub(super) async fn written(&mut self) {
        let Some(writing) = &mut self.writing else { return };
        let result = writing.await;
        self.writing = None;
        match result.map_err(io::Error::other).flatten() {
            Ok(()) => {
                self.failed = false;
                self.metrics.saved();
            }
            Err(e) => {
                if !std::mem::replace(&mut self.failed, true) {
                    let path = self.path.display();
                    tracing::error!(
                        "cannot keep the configuration in {path}: {e}; \
                         a restart without the admin would serve an older one"
                    );
                }
                self.due = Some(Instant::now() + 10 * self.every);
            }
        }
    }
}
