//! The slot counter of one endpoint, shared by all workers.

use super::sync::{AtomicU32, Ordering};

/// How many slots of an endpoint are taken.
#[derive(Debug, Default)]
pub struct SlotCounter(AtomicU32);

impl SlotCounter {
    /// Slots taken now.
    #[inline]
    pub fn in_use(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    /// Takes one slot if fewer than `limit` are taken.
    #[inline]
    pub fn try_take(&self, limit: u32) -> bool {
        let more = |n: u32| (n < limit).then_some(n + 1);
        // SeqCst: the other half is `Queue::waiting`; see queue.rs.
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// Takes every slot that is free below `limit`; says how many.
    pub(crate) fn take_free(&self, limit: u32) -> u32 {
        let full = |n: u32| (n < limit).then_some(limit);
        self.0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, full)
            .map_or(0, |before| limit - before)
    }

    /// Counts a slot as taken that somebody else has taken already, whatever the limit.
    pub(crate) fn count_taken(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Gives one slot back; only ever called by the permit that took it.
    #[inline]
    pub(crate) fn give_back(&self) {
        let before = self.0.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "a slot was given back twice");
    }
}
