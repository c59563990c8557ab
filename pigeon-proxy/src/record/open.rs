//! An open call as the access log sees it before its end: only where lines before the end were asked for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::LoggedHead;
use super::line::Facts;
use crate::engine::{Endpoint, Engine};
use crate::table::RouteEntry;

/// What is known of it. The transports count into it while the call runs; one task reads.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) head: Arc<LoggedHead>,
    pub(super) started: Instant,
    pub(super) counts: Counts,
    place: Mutex<Place>,
    /// Lines so far.
    lines: AtomicU64,
}

/// What has passed.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) messages_in: AtomicU64,
    pub(super) messages_out: AtomicU64,
}

#[derive(Default)]
pub(super) struct Place {
    pub(super) route: Option<Arc<RouteEntry>>,
    pub(super) engine: Option<Arc<Engine>>,
    pub(super) endpoint: Option<Arc<Endpoint>>,
    pub(super) http_status: Option<u16>,
    pub(super) waited_us: Option<u64>,
    pub(super) first_us: Option<u64>,
    pub(super) attempts: u32,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

impl Open {
    pub(super) fn new(head: Arc<LoggedHead>, started: Instant) -> Self {
        let (counts, place) = (Counts::default(), Mutex::default());
        Self { head, started, counts, place, lines: AtomicU64::new(0) }
    }

    /// Changes where the call is.
    pub(super) fn set(&self, change: impl FnOnce(&mut Place)) {
        change(&mut self.place.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether the next line is due; then it counts as written.
    pub(super) fn is_due(&self, now: Instant, interval: Duration) -> bool {
        let age = now.saturating_duration_since(self.started).as_nanos();
        let due = u64::try_from(age / interval.as_nanos().max(1)).unwrap_or(u64::MAX);
        self.lines.fetch_max(due, Ordering::Relaxed) < due
    }

    /// What a line shows now.
    pub(super) fn with(&self, write: impl FnOnce(&Facts<'_>)) {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        write(&Facts {
            route: place.route.as_ref().map(|route| route.name.as_str()),
            engine: place.engine.as_ref().map(|engine| engine.name().as_str()),
            endpoint: place.endpoint.as_ref().map(|endpoint| endpoint.address().as_str()),
            http_status: place.http_status,
            waited_us: place.waited_us,
            first_us: place.first_us,
            attempts: place.attempts,
            bytes_in: count(&self.counts.bytes_in),
            bytes_out: count(&self.counts.bytes_out),
            messages: self
                .head
                .grpc
                .then(|| (count(&self.counts.messages_in), count(&self.counts.messages_out))),
            ..Facts::default()
        });
    }
}
