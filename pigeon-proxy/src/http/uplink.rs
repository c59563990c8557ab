//! The request's body on its way to the engine: counted, and broken off when the call ends.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// What the body and the rest of the call share.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    bytes: AtomicU64,
    state: AtomicU8,
    waker: AtomicWaker,
}

const FLOWING: u8 = 0;
/// We broke the call off.
const CANCELLED: u8 = 1;
/// The engine has ended the call and needs no more of it.
const NOT_NEEDED: u8 = 2;
/// The client broke off.
const BROKEN: u8 = 3;

impl Uplink {
    /// Bytes taken from the client.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the client broke off in the middle of its body.
    pub(super) fn broken(&self) -> bool {
        self.state.load(Ordering::Acquire) == BROKEN
    }

    /// Breaks the body off: the engine gets RST_STREAM with CANCEL, or its connection is closed.
    pub(super) fn cancel(&self) {
        self.stop(CANCELLED);
    }

    /// Ends the body after the engine has ended the call: RST_STREAM with NO_ERROR.
    pub(super) fn not_needed(&self) {
        self.stop(NOT_NEEDED);
    }

    fn stop(&self, how: u8) {
        let first = self.state.compare_exchange(FLOWING, how, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.waker.wake();
        }
    }

    fn stopped(&self) -> Option<Stopped> {
        match self.state.load(Ordering::Acquire) {
            FLOWING => None,
            NOT_NEEDED => Some(Stopped(h2::Reason::NO_ERROR.into())),
            _ => Some(Stopped(h2::Reason::CANCEL.into())),
        }
    }
}

/// The body.
pub(super) struct RequestBody {
    /// None = empty.
    inner: Option<Incoming>,
    uplink: Arc<Uplink>,
}

impl RequestBody {
    pub(super) fn new(inner: Option<Incoming>, uplink: Arc<Uplink>) -> Self {
        Self { inner, uplink }
    }

    /// For sending a request again that has no body.
    pub(super) fn empty(uplink: Arc<Uplink>) -> Self {
        Self { inner: None, uplink }
    }
}

/// The body was broken off. hyper looks for the HTTP/2 error among the sources, and resets with it.
#[derive(Debug)]
pub(super) struct Stopped(h2::Error);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's body was broken off")
    }
}

impl Error for Stopped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        // First registered, then looked: a stop in between wakes.
        self.uplink.waker.register(cx.waker());
        if let Some(stopped) = self.uplink.stopped() {
            return Poll::Ready(Some(Err(stopped)));
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.uplink.bytes.fetch_add(bytes, Ordering::Relaxed);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "the client broke its request off");
                self.uplink.stop(BROKEN);
                Poll::Ready(Some(Err(Stopped(h2::Reason::CANCEL.into()))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}
