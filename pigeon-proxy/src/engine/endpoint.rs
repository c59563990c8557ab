//! One address of an engine, as all workers share it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use pigeon_proto::model::Address;

use super::Engine;
use super::avoid::Avoid;
use super::condition::{Condition, flag};
use super::stats::Stats;
use crate::admit::{Permit, SlotCounter};

/// No such moment.
const NEVER: u64 = u64::MAX;

/// One address of an engine: its slots, and how it does. Lives as long as a configuration names it or a
/// call is on it, so that its slots are never counted anew while some are taken. About 2.5 KiB.
///
/// It holds its engine, and the engine its endpoints until it is removed: so a permit is one pointer, and
/// an engine whose calls still run is the same when it comes back.
// In this order: what a call changes lies together, beside the count of an `Arc<Endpoint>`, so that workers
// hand each other one cache line per call and not three.
#[repr(C)]
pub struct Endpoint {
    pub(super) slots: SlotCounter,
    /// Where it stands in the settings.
    pub(super) index: AtomicU32,
    engine: Arc<Engine>,
    pub(super) condition: Condition,
    /// Calls in a row that failed.
    pub(super) failed_in_a_row: AtomicU32,
    pub(super) avoid: Avoid,
    id: u64,
    address: Address,
    draining_since_us: AtomicU64,
    cut_at_us: AtomicU64,
    pub(super) stats: Stats,
}

impl Endpoint {
    pub(super) fn new(engine: Arc<Engine>, address: Address) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            slots: SlotCounter::default(),
            index: AtomicU32::new(0),
            engine,
            condition: Condition::default(),
            failed_in_a_row: AtomicU32::new(0),
            avoid: Avoid::default(),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            address,
            draining_since_us: AtomicU64::new(NEVER),
            cut_at_us: AtomicU64::new(NEVER),
            stats: Stats::default(),
        }
    }

    /// Whose it is.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Unique in this process; pools of connections are keyed by it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Slots taken now.
    pub fn in_use(&self) -> u32 {
        self.slots.in_use()
    }

    /// Takes all slots that are free below `limit`, for a successor; says how many. Each is given back by
    /// [`Engine::release`].
    pub(crate) fn take_free(&self, limit: u32) -> u32 {
        self.slots.take_free(limit)
    }

    /// A permit for a slot that a call of the predecessor holds already, whatever the limit.
    pub(crate) fn inherit(self: &Arc<Self>) -> Permit {
        self.slots.count_taken();
        Permit::new(Arc::clone(self))
    }

    /// Whether its checks say that it is unhealthy.
    pub fn is_unhealthy(&self) -> bool {
        self.condition.flags() & flag::UNHEALTHY != 0
    }

    /// When the calls that still run on it are to be reset, because it was removed or set to drain and
    /// `pool.drain_timeout` says so: a time of the engine's clock, in microseconds. It may come and go
    /// with the configuration, so whoever holds connections to the endpoint looks once a second, at its
    /// endpoints and not at its calls: one load each.
    pub fn cut_at(&self) -> Option<u64> {
        Some(self.cut_at_us.load(Ordering::Relaxed)).filter(|at| *at != NEVER)
    }

    /// Notes whether it is to take no more calls, and how long those it has may go on.
    pub(super) fn drain(&self, draining: bool, now_us: u64, timeout_us: Option<u64>) {
        if !draining {
            self.draining_since_us.store(NEVER, Ordering::Relaxed);
            self.cut_at_us.store(NEVER, Ordering::Relaxed);
            return;
        }
        let since = self.draining_since_us.load(Ordering::Relaxed).min(now_us);
        self.draining_since_us.store(since, Ordering::Relaxed);
        let at = timeout_us.map_or(NEVER, |timeout| since.saturating_add(timeout));
        self.cut_at_us.store(at, Ordering::Relaxed);
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the engine, which holds this one again.
        let mut shown = f.debug_struct("Endpoint");
        shown.field("id", &self.id).field("address", &self.address).field("in_use", &self.in_use());
        shown.finish_non_exhaustive()
    }
}
