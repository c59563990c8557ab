//! What the configuration says about an engine, prepared for picking.

use std::sync::Arc;

use pigeon_proto::model::{
    self, Balance, Ejection, Health, HealthCheck, Millis, Pool, PoolMode, Protocol,
};

use super::Endpoint;
use super::balance::{Rota, View, WHOLE};
use super::condition::flag;
use crate::admit::Tried;
use crate::tls::Outbound;

/// The settings of an engine at one time. Replaced whole.
#[derive(Debug)]
pub struct Settings {
    /// Slots and connections.
    pub pool: Pool,
    /// What the endpoints speak.
    pub protocol: Protocol,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// What the calls of [`Balance::Hash`] are told apart by.
    pub hash_key: Option<model::HashKey>,
    /// Active checks.
    pub health: Health,
    /// When endpoints that fail calls are left out.
    pub ejection: Ejection,
    /// How the endpoints are spoken to by TLS; none = in the clear.
    pub tls: Option<Arc<Outbound>>,
    /// How long a new or returning endpoint takes less than its share, in microseconds.
    pub(super) slow_start_us: u64,
    /// The endpoints, in the order of the configuration; none once the engine is gone.
    pub members: Vec<Member>,
    pub(super) rota: Rota,
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
    /// Takes no new calls.
    pub drain: bool,
}

impl Settings {
    /// Of an engine that is not known yet, or not any more.
    pub(super) fn empty() -> Self {
        Self {
            pool: Pool::default(),
            protocol: Protocol::default(),
            balance: Balance::default(),
            hash_key: None,
            health: Health { check: HealthCheck::None, ..Health::default() },
            ejection: Ejection::default(),
            tls: None,
            slow_start_us: 0,
            members: Vec::new(),
            rota: Rota::new(std::iter::empty()),
        }
    }

    pub(super) fn new(
        spec: &model::Engine,
        tls: Option<Arc<Outbound>>,
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
            let (endpoint, weight) = (endpoint(e), e.weight.max(1));
            Member { endpoint, weight, slots, limit, drain: e.drain }
        };
        let members: Vec<_> = spec.endpoints.iter().map(member).collect();
        let rota = Rota::new(members.iter().map(|m| (m.endpoint.address().as_str(), m.weight)));
        Self {
            protocol: spec.protocol,
            balance: spec.balance,
            hash_key: spec.hash_key.clone(),
            health: spec.health.clone(),
            ejection: spec.ejection.clone(),
            tls,
            slow_start_us: us(spec.slow_start),
            members,
            rota,
            pool,
        }
    }

    /// Which TLS settings connections are opened under; 0 = in the clear.
    pub(crate) fn tls_id(&self) -> u64 {
        self.tls.as_ref().map_or(0, |tls| tls.id())
    }

    /// The slots of all endpoints that take calls.
    pub(super) fn slots(&self) -> u64 {
        self.members.iter().filter(|m| !m.is_out()).map(|m| u64::from(m.limit)).sum()
    }
}

impl Member {
    /// Whether it is to get no calls at all.
    pub(super) fn is_out(&self) -> bool {
        self.drain || self.endpoint.is_unhealthy()
    }

    /// What balancing sees of it. `now_us` is asked for only if something is not as usual.
    #[inline]
    pub(super) fn view(&self, tried: &Tried, slow_start_us: u64, now_us: impl Fn() -> u64) -> View {
        let endpoint = &self.endpoint;
        let mut view = View {
            in_use: endpoint.in_use(),
            slots: self.slots,
            limit: self.limit,
            weight: self.weight * WHOLE,
            avoided: false,
            out: self.drain,
            tried: tried.contains(endpoint.id()),
        };
        let flags = endpoint.condition.flags();
        if flags == 0 {
            return view;
        }
        view.out |= flags & flag::UNHEALTHY != 0;
        let now_us = now_us();
        view.avoided = endpoint.condition.ejected_until(now_us).is_some()
            || flags & flag::AVOIDED != 0 && endpoint.avoid.until(now_us).is_some();
        view.weight = self.weight * endpoint.condition.started(now_us, slow_start_us);
        view
    }
}

/// In microseconds, as the engine's clock counts.
pub(super) fn us(time: Millis) -> u64 {
    u64::try_from(time.duration().as_micros()).unwrap_or(u64::MAX)
}
