//! A place in line, as the waiting call holds it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Grant, Refusal, Share};
use crate::engine::Engine;

/// A place in line; a future of the permit. Dropping it leaves the line at once.
#[derive(Debug)]
pub struct Waiting {
    engine: Arc<Engine>,
    share: Share,
    ticket: u64,
    grant: oneshot::Receiver<Grant>,
}

impl Waiting {
    pub(super) fn new(
        engine: Arc<Engine>,
        share: Share,
        ticket: u64,
        grant: oneshot::Receiver<Grant>,
    ) -> Self {
        Self { engine, share, ticket, grant }
    }

    /// The place, to be kept when the call has to ask again.
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// After which time an endpoint that is avoided now may be tried again, so that the line should be
    /// served once more ([`Engine::serve_line`]); none if none is avoided.
    pub fn recheck(&self) -> Option<Duration> {
        self.engine.recheck()
    }
}

impl Future for Waiting {
    type Output = Grant;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Grant> {
        // A sender is only ever dropped by serving; the engine outlives its line.
        let polled = Pin::new(&mut self.grant).poll(cx);
        polled.map(|grant| grant.unwrap_or(Err(Refusal::NoEndpoint)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // The queue goes first: afterwards nobody sends any more, or the permit sent already is in the
        // receiver, whose drop frees it.
        let gone = self.engine.queue().lock().leave(self.share.key, self.ticket);
        drop(gone);
    }
}
