//! Pools between calls: connections past their time are retired, warm ones opened, and calls at endpoints that
//! have drained for long enough ended.

use std::time::Duration;

use super::conn::{Conn, Peer};
use super::pool::Pool;
use super::state::State;
use crate::engine::lifetime::{Fate, Lifetime};
use crate::engine::{Endpoint, Engine, Member};
use crate::reject::Rejection;
use std::sync::Arc;

impl State {
    pub(super) fn tend_pools(&mut self) {
        let ids: Vec<u64> = self.pools.keys().copied().collect();
        for id in ids {
            self.tend(id);
        }
        self.pools.retain(|_, pool| !pool.is_idle());
        self.warm_up();
    }

    fn tend(&mut self, id: u64) {
        let now = self.now;
        let Some(pool) = self.pools.get_mut(&id) else { return };
        let settings = pool.engine.settings();
        let member = settings.members.iter().find(|member| member.endpoint.id() == id);
        let wanted = member.is_some_and(takes_calls);
        if !settings.members.is_empty() {
            pool.drain_limit = settings.pool.drain_timeout.map(|limit| limit.duration());
        }
        let since = if wanted { None } else { Some(pool.drains_since.unwrap_or(now)) };
        pool.drains_since = since;
        let over = |limit| since.is_some_and(|since| now.saturating_duration_since(since) >= limit);
        let overdue = pool.drain_limit.is_some_and(over);
        let mut lifetime = Lifetime::from(&settings.pool);
        if !wanted {
            lifetime = Lifetime { idle_timeout: Duration::ZERO, warm: 0, ..lifetime };
        }
        self.retire_old(id, &lifetime);
        if overdue {
            self.cut_calls_at(id);
        }
    }

    fn retire_old(&mut self, id: u64, lifetime: &Lifetime) {
        let now = self.now;
        let Some(pool) = self.pools.get(&id) else { return };
        // An engine that is gone lets its calls end.
        let settings = pool.engine.settings();
        let tls = settings.tls_id();
        let (mut old, mut idle, mut ready) = (Vec::new(), Vec::new(), 0);
        for &at in &pool.conns {
            let Some(conn) = self.conns.get(at) else { continue };
            let Peer::Engine(upstream) = &conn.peer else { continue };
            if upstream.tls != tls {
                old.push(at);
                continue;
            }
            match lifetime.fate(&upstream.age(conn.h2.streams()), now) {
                Fate::Keep => ready += 1,
                Fate::Retire | Fate::Close => old.push(at),
                Fate::Idle => {
                    ready += 1;
                    idle.push(at);
                }
            }
        }
        let close = lifetime.to_close(idle.len(), ready);
        for at in old.into_iter().chain(idle.into_iter().take(close)) {
            self.retire(at);
        }
    }

    /// Ends the calls of an endpoint that has drained for long enough.
    fn cut_calls_at(&mut self, id: u64) {
        let at_endpoint = |conn: &Conn| match &conn.peer {
            Peer::Engine(upstream) => upstream.endpoint.id() == id,
            Peer::Client(_) => false,
        };
        let conns = self.conns.numbers().filter_map(|at| self.conns.get(at));
        let calls: Vec<u32> = conns
            .filter(|conn| at_endpoint(conn))
            .flat_map(|conn| conn.h2.iter_streams().map(|(_, call)| call))
            .collect();
        for call in calls {
            self.reject(call, &Rejection::EndpointDrained);
        }
    }

    /// Opens connections ahead of calls.
    fn warm_up(&mut self) {
        let (Some(table), true) = (self.gateway.table(), self.gateway.relays()) else { return };
        for engine in table.engines.values() {
            let settings = engine.settings();
            if settings.pool.warm == 0 || !settings.protocol.is_http2(true) {
                continue;
            }
            for member in settings.members.iter().filter(|member| takes_calls(member)) {
                let free = member.limit.saturating_sub(member.endpoint.in_use());
                self.warm_endpoint(engine, &member.endpoint, free);
            }
        }
    }

    fn warm_endpoint(&mut self, engine: &Arc<Engine>, endpoint: &Arc<Endpoint>, free: u32) {
        let Some(relay) = self.me.upgrade() else { return };
        let settings = engine.settings();
        let lifetime = Lifetime::from(&settings.pool);
        let most = super::pool::per_connection(&settings.pool);
        let new = || Pool::new(Arc::clone(engine), Arc::clone(endpoint));
        let pool = self.pools.entry(endpoint.id()).or_insert_with(new);
        let conns = pool.conns.iter().filter_map(|at| self.conns.get(*at));
        let ready = conns.filter(|conn| conn.h2.streams() < most).count();
        for _ in 0..lifetime.to_open(ready, pool.dials, free) {
            pool.dial(Arc::clone(&relay));
        }
    }
}

/// Whether new calls go to this endpoint.
fn takes_calls(member: &Member) -> bool {
    !member.drain
}
