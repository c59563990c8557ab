//! What the configuration says about an engine, prepared for picking.

use std::sync::Arc;

use pigeon_proto::model::{self, Balance, Pool, PoolMode, Protocol};

use super::Endpoint;

/// The settings of an engine at one time. Replaced whole.
#[derive(Debug)]
pub struct Settings {
    /// Slots and connections.
    pub pool: Pool,
    /// What the endpoints speak.
    pub protocol: Protocol,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// The endpoints, in the order of the configuration; none once the engine is gone.
    pub members: Vec<Member>,
}

/// An endpoint with what the settings say about it.
#[derive(Debug)]
pub struct Member {
    /// What lives on across settings.
    pub endpoint: Arc<Endpoint>,
    /// Its share relative to the others.
    pub weight: u32,
    /// Its slots; `u32::MAX` without a limit.
    pub slots: u32,
    /// How many calls it may have at most.
    pub limit: u32,
}

impl Settings {
    /// Of an engine that is not known yet.
    pub(super) fn empty() -> Self {
        Self {
            pool: Pool::default(),
            protocol: Protocol::default(),
            balance: Balance::default(),
            members: Vec::new(),
        }
    }

    pub(super) fn new(
        spec: &model::Engine,
        mut endpoint: impl FnMut(&model::Endpoint) -> Arc<Endpoint>,
    ) -> Self {
        let pool = spec.pool.clone();
        let member = |e: &model::Endpoint| {
            let slots = match pool.mode {
                PoolMode::Off => u32::MAX,
                // Validation demands pool.slots in these modes.
                PoolMode::Strict | PoolMode::Loose => e.slots.or(pool.slots).unwrap_or(1),
            };
            let limit = match pool.mode {
                PoolMode::Loose => slots.saturating_mul(pool.loose_factor.max(1)),
                PoolMode::Off | PoolMode::Strict => slots,
            };
            Member { endpoint: endpoint(e), weight: e.weight.max(1), slots, limit }
        };
        let members = spec.endpoints.iter().map(member).collect();
        Self { protocol: spec.protocol, balance: spec.balance, members, pool }
    }

    /// The slots of all endpoints together.
    pub(super) fn slots(&self) -> u64 {
        self.members.iter().map(|m| u64::from(m.limit)).sum()
    }
}
