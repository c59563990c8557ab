//! The connections to one endpoint, and the calls that run on them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::Version;
use tokio::sync::Notify;

use super::{h1, h2};
use crate::engine::{Endpoint, Engine};
use crate::http::relay::Shared;
use crate::reject::Rejection;

/// The connections of one worker to one endpoint.
pub(in crate::http) struct Pool {
    /// Not kept alive by its connections.
    pub(super) endpoint: Weak<Endpoint>,
    pub(super) engine: Weak<Engine>,
    pub(super) h1: h1::Idle,
    pub(super) h2: h2::Shared,
    /// Whether the last call was sent as HTTP/1.1.
    http1: AtomicBool,
    drain: Mutex<Drain>,
    /// Wakes the calls that wait for the head of their answer when they are to end.
    pub(super) cut: Arc<Notify>,
    /// Calls whose answer has begun.
    live: Mutex<HashMap<u64, Weak<Shared>>>,
    next: AtomicU64,
}

/// An endpoint that takes no new calls.
#[derive(Default)]
struct Drain {
    since: Option<Instant>,
    /// How long its calls may go on, by the last settings that knew it.
    limit: Option<Duration>,
}

impl Pool {
    pub(super) fn new(engine: &Arc<Engine>, endpoint: &Arc<Endpoint>) -> Self {
        Self {
            endpoint: Arc::downgrade(endpoint),
            engine: Arc::downgrade(engine),
            h1: h1::Idle::default(),
            h2: h2::Shared::default(),
            http1: AtomicBool::new(false),
            drain: Mutex::default(),
            cut: Arc::default(),
            live: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }

    /// Notes how the engine is spoken to.
    pub(super) fn speaks(&self, version: Version) {
        self.http1.store(version < Version::HTTP_2, Ordering::Relaxed);
    }

    pub(super) fn speaks_http1(&self) -> bool {
        self.http1.load(Ordering::Relaxed)
    }

    /// Notes whether the endpoint takes calls, and how long its calls may go on afterwards if so. True
    /// once that time is over.
    pub(super) fn overdue(
        &self,
        now: Instant,
        wanted: bool,
        known: bool,
        limit: Option<Duration>,
    ) -> bool {
        let mut drain = self.drain.lock().unwrap_or_else(PoisonError::into_inner);
        if known {
            drain.limit = limit;
        }
        if wanted {
            drain.since = None;
            return false;
        }
        let since = *drain.since.get_or_insert(now);
        drain.limit.is_some_and(|limit| now.saturating_duration_since(since) >= limit)
    }

    /// Ends all calls that run.
    pub(super) fn cut_calls(&self) {
        self.cut.notify_waiters();
        // Ending a call takes it off the list, so the list is not held meanwhile.
        let live: Vec<_> = self.live().values().filter_map(Weak::upgrade).collect();
        for call in live {
            call.break_off(&Rejection::EndpointDrained);
        }
    }

    fn live(&self) -> MutexGuard<'_, HashMap<u64, Weak<Shared>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call whose answer has begun, as its endpoint's pool knows it.
pub(in crate::http) struct Enlisted {
    pool: Arc<Pool>,
    id: u64,
}

impl Enlisted {
    pub(in crate::http) fn new(pool: Arc<Pool>, call: &Arc<Shared>) -> Self {
        let id = pool.next.fetch_add(1, Ordering::Relaxed);
        pool.live().insert(id, Arc::downgrade(call));
        Self { pool, id }
    }
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        self.pool.live().remove(&self.id);
    }
}
