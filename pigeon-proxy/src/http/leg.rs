//! A call's stay at an endpoint: the slot, the connection, and who ended it.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::upload::Uplink;
use super::upstream::Hold;
use crate::admit::Permit;
use crate::record::Inbound;
use crate::reject::Rejection;

/// From the first byte sent to the engine until the slot is given back. However it ends, that happens
/// exactly once: at once if the engine has ended the call, else after a rest.
pub(super) struct Leg {
    permit: Option<Permit>,
    hold: Option<Hold>,
    uplink: Arc<Uplink>,
}

impl Leg {
    /// From here on the engine may have seen the call.
    pub(super) fn begin(permit: Permit, uplink: Arc<Uplink>) -> Self {
        Self { permit: Some(permit), hold: None, uplink }
    }

    /// Keeps what the answer comes in on.
    pub(super) fn holds(&mut self, hold: Hold) {
        self.hold = Some(hold);
    }

    /// What the answer comes in on.
    pub(super) fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// What the client has sent.
    pub(super) fn inbound(&self) -> &Inbound {
        self.uplink.inbound()
    }

    /// Bytes that the client has sent after its request, as another protocol.
    pub(super) fn came(&self, bytes: usize) {
        self.uplink.came(bytes);
    }

    /// What is wrong with the request's body, if that is why the call failed.
    pub(super) fn fault(&self) -> Option<Rejection> {
        self.uplink.fault()
    }

    /// The engine has ended the call with a complete answer. `grpc` calls need no more from the client.
    pub(super) fn completed(mut self, grpc: bool) {
        self.permit = None;
        if grpc {
            self.uplink.not_needed();
        }
        if let Some(hold) = self.hold.take() {
            hold.done();
        }
    }

    /// The engine broke the call off, or its connection is gone. The slot may be used again by the same
    /// call; else it is free.
    pub(super) fn broken_off(mut self) -> Option<Permit> {
        self.uplink.cancel();
        self.permit.take()
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        // We break it off: the client is gone, or the deadline is over.
        self.uplink.cancel();
        rest(permit);
    }
}

/// Gives back the slot of a call that we broke off, after its rest.
pub(crate) fn rest(permit: Permit) {
    let rest = permit.rest();
    // Without a runtime the process is ending. Dropping the rest ends it.
    if let (false, Ok(runtime)) = (rest.time().is_zero(), Handle::try_current()) {
        runtime.spawn(async move {
            tokio::time::sleep(rest.time()).await;
            drop(rest);
        });
    }
}
