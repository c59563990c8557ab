//! The connections of one worker to the endpoints: found, opened, shared, kept, closed.

mod dial;
mod h1;
mod h2;
mod link;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::Version;

pub(super) use self::dial::DialError;
pub(super) use self::link::{Attempt, Hold, Link};
use crate::admit::Permit;
use crate::engine::{Endpoint, Engine};

/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// The connections of one worker, by endpoint.
#[derive(Default)]
pub struct Upstreams {
    pools: Mutex<HashMap<u64, Arc<Pool>>>,
}

/// The connections to one endpoint.
struct Pool {
    /// Not kept alive by its connections.
    endpoint: Weak<Endpoint>,
    engine: Weak<Engine>,
    h1: h1::Idle,
    h2: h2::Shared,
}

impl Upstreams {
    /// A connection for a call that holds `permit`. `fresh` = not one that was idle.
    pub(super) async fn link(
        &self,
        permit: &Permit,
        version: Version,
        fresh: bool,
    ) -> Result<Link, DialError> {
        let pool = self.pool(permit);
        let dial_timeout = permit.engine().settings().pool.dial_timeout.duration();
        let address = permit.endpoint().address();
        if version == Version::HTTP_2 {
            h2::link(&pool, address, dial_timeout).await
        } else {
            h1::link(&pool, address, dial_timeout, fresh).await
        }
    }

    fn pool(&self, permit: &Permit) -> Arc<Pool> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = pools.entry(permit.endpoint().id()).or_insert_with(|| {
            Arc::new(Pool {
                endpoint: Arc::downgrade(permit.endpoint()),
                engine: Arc::downgrade(permit.engine()),
                h1: h1::Idle::default(),
                h2: h2::Shared::default(),
            })
        });
        Arc::clone(pool)
    }

    /// Closes connections that were idle for too long, or whose endpoint is gone, as long as `all` lives.
    pub(crate) async fn sweep(all: Weak<Upstreams>) {
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(upstreams) = all.upgrade() else { return };
            upstreams.close_idle(Instant::now());
        }
    }

    fn close_idle(&self, now: Instant) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|_, pool| match (pool.endpoint.upgrade(), pool.engine.upgrade()) {
            (Some(endpoint), Some(engine)) => {
                let settings = engine.settings();
                let wanted = settings.members.iter().any(|m| m.endpoint.id() == endpoint.id());
                let idle = settings.pool.idle_timeout.duration();
                let idle = if wanted { idle } else { Duration::ZERO };
                pool.h1.close_idle(now, idle);
                pool.h2.close_idle(now, idle);
                true
            }
            // Calls that still run on its connections hold those themselves.
            _ => false,
        });
    }
}
