//! The permit: one slot of one endpoint, given back exactly once, whatever happens to the call.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Endpoint, Engine};

/// One slot, held by one call. Dropping it gives the slot back and lets the next waiter in.
#[derive(Debug)]
pub struct Permit {
    endpoint: Arc<Endpoint>,
}

impl Permit {
    /// Wraps a slot that has just been taken on `endpoint`.
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint }
    }

    /// Where the call is to go.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Whose endpoint it is.
    pub fn engine(&self) -> &Arc<Engine> {
        self.endpoint.engine()
    }

    /// To be called instead of dropping when *we* broke off a call that the engine had not ended: the
    /// engine needs a moment to notice. The slot stays taken until the answer is dropped, which the
    /// transport does after [`Rest::time`].
    pub fn rest(self) -> Rest {
        let time = self.engine().cancel_cooldown();
        Rest { time, _permit: self }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.engine().release(&self.endpoint);
    }
}

/// A slot that rests after its call was broken off; free when this is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the rest"]
pub struct Rest {
    time: Duration,
    _permit: Permit,
}

impl Rest {
    /// How long it is to rest.
    pub fn time(&self) -> Duration {
        self.time
    }
}
