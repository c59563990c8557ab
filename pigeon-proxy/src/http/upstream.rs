//! The connections of one worker to the endpoints: found, opened, shared, kept, closed.

mod dial;
mod h1;
mod h2;
mod link;
mod pool;
mod sweep;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::Version;

pub(crate) use self::dial::{DialError, Dialled, dial, is_exhausted, keep_alive, unreachable};
pub(super) use self::link::{Attempt, Hold, Link};
pub(super) use self::pool::Enlisted;
use self::pool::Pool;
use crate::admit::Permit;
use crate::engine::{Endpoint, Engine};

/// The connections of one worker, by endpoint.
#[derive(Default)]
pub struct Upstreams {
    pools: Mutex<HashMap<u64, Arc<Pool>>>,
}

impl Upstreams {
    /// A connection for a call that holds `permit`. `fresh` = not one that was idle.
    pub(super) async fn link(
        &self,
        permit: &Permit,
        version: Version,
        fresh: bool,
    ) -> Result<Link, DialError> {
        let pool = self.pool(permit.engine(), permit.endpoint());
        let settings = Arc::clone(&permit.engine().settings());
        pool.speaks(version);
        let endpoint = permit.endpoint();
        if version == Version::HTTP_2 {
            h2::link(&pool, endpoint, &settings).await
        } else {
            h1::link(&pool, endpoint, &settings, fresh).await
        }
    }

    /// Waits until the calls of the endpoint that `permit` is for are to end.
    pub(crate) fn cut(&self, permit: &Permit) -> impl Future<Output = ()> + Send + 'static {
        let pool = self.pool(permit.engine(), permit.endpoint());
        Arc::clone(&pool.cut).notified_owned()
    }

    fn pool(&self, engine: &Arc<Engine>, endpoint: &Arc<Endpoint>) -> Arc<Pool> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = pools.entry(endpoint.id());
        Arc::clone(pool.or_insert_with(|| Arc::new(Pool::new(engine, endpoint))))
    }
}
