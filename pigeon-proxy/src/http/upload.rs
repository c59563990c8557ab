//! The request's body on its way to the engine: counted, kept for sending again, and broken off when the
//! call ends.

mod source;

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::{Body, Frame, SizeHint};

pub(super) use self::source::Limits;
use self::source::{Fault, Source};
use super::caller::{BrokenOff, CallerBody};
use crate::record::Inbound;
use crate::reject::Rejection;

/// The body of one call, over all its attempts.
pub(super) struct Upload {
    source: Mutex<Source>,
    inbound: Inbound,
}

/// The body on the way to one endpoint.
pub(super) struct Uplink {
    upload: Arc<Upload>,
    /// Which attempt it is of; only the last one gets anything.
    round: u32,
    state: AtomicU8,
    waker: AtomicWaker,
}

const FLOWING: u8 = 0;
/// We broke the call off.
const CANCELLED: u8 = 1;
/// The engine has ended the call and needs no more of it.
const NOT_NEEDED: u8 = 2;

impl Upload {
    /// `buffer` = most bytes kept for sending again.
    pub(super) fn new(
        body: CallerBody,
        buffer: usize,
        limits: Limits,
        inbound: Inbound,
    ) -> Arc<Self> {
        let source = Mutex::new(Source::new(body, buffer, limits));
        Arc::new(Self { source, inbound })
    }

    /// The body from its beginning, for the next attempt. Not to be called once [`Upload::repeatable`] is
    /// false, but for the first attempt.
    pub(super) fn attempt(self: &Arc<Self>) -> Arc<Uplink> {
        let round = self.lock().rewind();
        let (state, waker) = (AtomicU8::new(FLOWING), AtomicWaker::new());
        Arc::new(Uplink { upload: Arc::clone(self), round, state, waker })
    }

    /// Whether all that came so far can be sent once more.
    pub(super) fn repeatable(&self) -> bool {
        self.lock().repeatable()
    }

    /// There is an answer: nothing is sent again.
    pub(super) fn settle(&self) {
        let mut source = self.lock();
        source.settled = true;
        source.settle();
    }

    /// No attempt is left, or (`settled`) the only one is over: what the caller still sends is let go, and no
    /// longer takes room of its connection's window. An engine that does not read would keep it for ever.
    pub(super) fn end(&self, settled: bool) {
        let mut source = self.lock();
        if source.settled == settled {
            source.end();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Uplink {
    /// What was taken from the caller.
    pub(super) fn inbound(&self) -> &Inbound {
        &self.upload.inbound
    }

    /// Bytes that the caller has sent after its request, as another protocol.
    pub(super) fn came(&self, bytes: usize) {
        self.upload.inbound.took(bytes, 0);
    }

    /// What is wrong with the request's body, if it is the reason why the call failed.
    pub(super) fn fault(&self) -> Option<Rejection> {
        self.upload.lock().fault().map(|fault| match fault {
            Fault::BrokenOff(BrokenOff::Gone) => {
                Rejection::BadRequest { why: "the body of the request broke off" }
            }
            Fault::BrokenOff(BrokenOff::NotBase64) => {
                Rejection::BadRequest { why: "the body of the request is not base64" }
            }
            Fault::TooLong { limit } => Rejection::MessageTooLarge { limit },
            Fault::BodyTooLong { limit } => Rejection::BodyTooLarge { limit },
        })
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
            self.upload.end(true);
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

/// The body, as hyper asks for it.
pub(super) struct RequestBody(pub(super) Arc<Uplink>);

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
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        let uplink = &self.0;
        // First registered, then looked: a stop in between wakes.
        uplink.waker.register(cx.waker());
        if let Some(stopped) = uplink.stopped() {
            return Poll::Ready(Some(Err(stopped)));
        }
        let polled = uplink.upload.lock().poll(uplink.round, cx, |bytes, messages| {
            uplink.upload.inbound.took(bytes, messages);
        });
        polled.map_err(|()| Stopped(h2::Reason::CANCEL.into()))
    }

    fn is_end_stream(&self) -> bool {
        self.0.upload.lock().is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.upload.lock().size_hint()
    }
}
