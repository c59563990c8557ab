//! The answer's body on its way to the caller, and the end of the call.

mod live;

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;

pub(super) use self::live::{Live, Messages, Shared, note_status};
use super::upstream::{Enlisted, Hold};
use crate::reject::Rejection;

/// The body of every answer.
pub(crate) struct CallBody(Kind);

enum Kind {
    /// Nothing, or all of it at once.
    Full(Option<Bytes>),
    /// As the engine sends it.
    Relayed(Relayed),
    /// One of these, as the caller understands it, who speaks gRPC-Web or JSON.
    Translated(Pin<Box<dyn Body<Data = Bytes, Error = CutOff> + Send>>),
}

struct Relayed {
    shared: Arc<Shared>,
    /// Ends the call at its deadline even when nobody asks for more of the body.
    watchdog: Option<AbortHandle>,
    /// Known to the endpoint's pool, which ends the call when it drains no longer.
    _enlisted: Option<Enlisted>,
}

/// The answer was cut off after it had begun; the caller must not take it for complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CutOff;

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer was cut off")
    }
}

impl Error for CutOff {}

impl CallBody {
    pub(super) fn empty() -> Self {
        Self(Kind::Full(None))
    }

    pub(super) fn full(bytes: Bytes) -> Self {
        Self(Kind::Full(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// `body` is another, in other clothes.
    pub(super) fn translated(
        body: Pin<Box<dyn Body<Data = Bytes, Error = CutOff> + Send>>,
    ) -> Self {
        Self(Kind::Translated(body))
    }

    /// The body of a call that goes on until its engine ends it, its caller goes away, or its deadline.
    pub(super) fn relayed(live: Live) -> Self {
        let deadline = live.deadline;
        let hold = live.leg.hold().map(Hold::pool).cloned();
        let shared = Arc::new(Shared::new(live));
        let _enlisted = hold.map(|pool| Enlisted::new(pool, &shared));
        let watchdog = deadline.map(|deadline| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                tokio::time::sleep_until(deadline.into()).await;
                shared.break_off(&Rejection::Deadline);
            })
            .abort_handle()
        });
        Self(Kind::Relayed(Relayed { shared, watchdog, _enlisted }))
    }
}

impl Body for CallBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match &mut self.0 {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Relayed(relayed) => relayed.shared.poll_frame(cx),
            Kind::Translated(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Relayed(relayed) => relayed.shared.is_end_stream(),
            Kind::Translated(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Relayed(relayed) => relayed.shared.size_hint(),
            Kind::Translated(body) => body.size_hint(),
        }
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.abort();
        }
        // Not left to the last owner: the watchdog may hold it until the worker's next turn.
        self.shared.abandon();
    }
}
