//! Says that something has changed, but not too often.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::app::AppState;

/// The shortest time between two looks.
const PACE: Duration = Duration::from_secs(1);

/// Watches the configuration and the proxies for one reader.
pub struct Pace {
    catalog: watch::Receiver<u64>,
    proxies: watch::Receiver<u64>,
    /// Something has changed since the last look; at first, everything has.
    changed: bool,
    earliest: Instant,
}

impl Pace {
    /// Due at once, then whenever something changes.
    pub fn new(app: &AppState) -> Self {
        let (catalog, proxies) = (app.catalog.changed(), app.proxies.changed());
        Self { catalog, proxies, changed: true, earliest: Instant::now() }
    }

    /// Whether it is time to look; then the next time is after the next change, and a second from now at the
    /// earliest.
    pub fn is_due(&mut self) -> bool {
        // Seen before it is looked at: what changes meanwhile makes another look.
        let moved = [&mut self.catalog, &mut self.proxies].map(|watched| {
            let moved = watched.has_changed().unwrap_or(false);
            watched.mark_unchanged();
            moved
        });
        self.changed |= moved.contains(&true);
        let due = self.changed && Instant::now() >= self.earliest;
        if due {
            self.changed = false;
            self.earliest = Instant::now() + PACE;
        }
        due
    }

    /// Waits until it may be due; `None` if it never will be.
    pub async fn wait(&mut self) -> Option<()> {
        if !self.changed {
            tokio::select! {
                changed = self.catalog.changed() => changed.ok()?,
                changed = self.proxies.changed() => changed.ok()?,
            }
            self.changed = true;
        }
        sleep_until(self.earliest).await;
        Some(())
    }
}
