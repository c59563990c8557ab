//! One address of an engine, as all workers share it.

use std::sync::atomic::{AtomicU64, Ordering};

use pigeon_proto::model::Address;

use super::avoid::Avoid;
use crate::admit::SlotCounter;

/// One address of an engine: its slots, and whether it is avoided. Lives as long as a configuration
/// names it or a call is on it, so that its slots are never counted anew while some are taken.
#[derive(Debug)]
pub struct Endpoint {
    id: u64,
    address: Address,
    pub(super) slots: SlotCounter,
    pub(super) avoid: Avoid,
}

impl Endpoint {
    pub(super) fn new(address: Address) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, address, slots: SlotCounter::default(), avoid: Avoid::default() }
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
}
