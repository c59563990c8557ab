//! The slot counter of one endpoint, shared by all workers.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many slots of an endpoint are taken.
#[derive(Debug, Default)]
pub struct SlotCounter(AtomicU32);

impl SlotCounter {
    /// Slots taken now.
    pub fn in_use(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    /// Takes one slot if fewer than `limit` are taken.
    pub fn try_take(&self, limit: u32) -> bool {
        let more = |n: u32| (n < limit).then_some(n + 1);
        // SeqCst: the other half is `Queue::waiting`; see `Engine::release`.
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// Gives one slot back; only ever called by the permit that took it.
    pub(crate) fn give_back(&self) {
        let before = self.0.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "a slot was given back twice");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_above_the_limit() {
        let slots = SlotCounter::default();
        assert!(slots.try_take(2) && slots.try_take(2));
        assert!(!slots.try_take(2));
        assert!(slots.try_take(3));
        slots.give_back();
        // Lowered below what is in use: nothing until it is below again.
        assert!(!slots.try_take(1));
        assert_eq!(slots.in_use(), 2);
    }
}
