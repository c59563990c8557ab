//! What nobody asks for: connections that are past their time are closed, warm ones opened, and calls at
//! endpoints that have drained for long enough ended.

use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use pigeon_proto::model::Protocol;
use tokio::time::MissedTickBehavior;

use super::pool::Pool;
use super::{Upstreams, h1, h2};
use crate::engine::lifetime::Lifetime;
use crate::engine::{Engine, Member, Settings};
use crate::gateway::Gateway;

/// How often.
const SWEEP: Duration = Duration::from_secs(1);

impl Upstreams {
    /// Looks after the connections as long as `all` and `gateway` live.
    pub(crate) async fn sweep(all: Weak<Upstreams>, gateway: Weak<Gateway>) {
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (Some(upstreams), Some(gateway)) = (all.upgrade(), gateway.upgrade()) else {
                return;
            };
            upstreams.tend(Instant::now());
            let table = gateway.table();
            for engine in table.iter().flat_map(|table| table.engines.values()) {
                upstreams.warm_up(engine, gateway.relays());
            }
        }
    }

    fn tend(&self, now: Instant) {
        let mut overdue = Vec::new();
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|_, pool| match (pool.endpoint.upgrade(), pool.engine.upgrade()) {
            (Some(endpoint), Some(engine)) => {
                let settings = engine.settings();
                let member = settings.members.iter().find(|m| m.endpoint.id() == endpoint.id());
                if pool.tend(now, &settings, member) {
                    overdue.push(Arc::clone(pool));
                }
                true
            }
            // Calls that still run on its connections hold those themselves.
            _ => false,
        });
        drop(pools);
        for pool in overdue {
            pool.cut_calls();
        }
    }

    /// Opens connections ahead of calls. The relay sees to its own, which are HTTP/2.
    fn warm_up(&self, engine: &Arc<Engine>, relays: bool) {
        let settings = engine.settings();
        if settings.pool.warm == 0 {
            return;
        }
        let lifetime = Lifetime::from(&settings.pool);
        for member in settings.members.iter().filter(|m| takes_calls(m)) {
            let endpoint = &member.endpoint;
            let pool = self.pool(engine, endpoint);
            let free = member.limit.saturating_sub(endpoint.in_use());
            let http1 = match settings.protocol {
                Protocol::H2c | Protocol::H2 => false,
                Protocol::Http1 => true,
                // Both are spoken; the last call says what is wanted.
                Protocol::Auto => pool.speaks_http1(),
            };
            if http1 {
                h1::warm_up(&pool, endpoint, &settings.pool, &lifetime, free);
            } else if !relays {
                h2::warm_up(&pool, endpoint, &settings.pool, &lifetime, free);
            }
        }
    }
}

impl Pool {
    /// Closes what is to be closed. True if the calls that run are to end.
    fn tend(&self, now: Instant, settings: &Settings, member: Option<&Member>) -> bool {
        let wanted = member.is_some_and(takes_calls);
        let mut lifetime = Lifetime::from(&settings.pool);
        if !wanted {
            lifetime = Lifetime { idle_timeout: Duration::ZERO, warm: 0, ..lifetime };
        }
        self.h1.tend(now, &lifetime, settings.tls_id());
        self.h2.tend(now, &lifetime, settings);
        let limit = settings.pool.drain_timeout.map(|limit| limit.duration());
        self.overdue(now, wanted, !settings.members.is_empty(), limit)
    }
}

/// Whether new calls go to this endpoint.
fn takes_calls(member: &Member) -> bool {
    !member.drain
}
