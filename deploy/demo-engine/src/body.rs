//! The bodies of a call, watched on their way: the request's for breaking off, the answer's for its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use crate::stats::Call;

type Polled = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

/// A request's body that notes when the client broke it off.
pub(crate) struct Upload {
    inner: Body,
    broken: Arc<AtomicBool>,
}

impl Upload {
    pub(crate) fn new(inner: Body, broken: Arc<AtomicBool>) -> Self {
        Self { inner, broken }
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if matches!(polled, Poll::Ready(Some(Err(_)))) {
            self.broken.store(true, Ordering::Release);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body that adds to the trailers and holds the call open until they are out.
pub(crate) struct Answer {
    inner: Body,
    trailers: HeaderMap,
    call: Option<Call>,
}

impl Answer {
    /// `call`: none for one that does not count.
    pub(crate) fn new(inner: Body, trailers: HeaderMap, call: Option<Call>) -> Self {
        Self { inner, trailers, call }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let mut polled = Pin::new(&mut self.inner).poll_frame(cx);
        let ended = match &mut polled {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(frame))) => match frame.trailers_mut() {
                Some(trailers) => {
                    trailers.extend(std::mem::take(&mut self.trailers));
                    true
                }
                None => false,
            },
            Poll::Ready(Some(Err(_)) | None) => true,
        };
        // Before the trailers are on the wire: who has read them may use the slot again at once.
        if ended && let Some(call) = self.call.take() {
            call.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
