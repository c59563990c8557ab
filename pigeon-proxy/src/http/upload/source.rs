//! Where the body of a request comes from: first what was kept of it, then the caller.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::{Body as _, Frame, SizeHint};

use crate::grpc::MessageScanner;
use crate::http::caller::{BrokenOff, CallerBody};
use crate::http::forward::drop_ours;

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no more of it.
    BrokenOff(BrokenOff),
    /// It has a message longer than this.
    TooLong {
        /// The limit, in bytes.
        limit: u32,
    },
    /// It is longer than this.
    BodyTooLong {
        /// The limit, in bytes.
        limit: u64,
    },
}

/// How long a body may be; none = as long as it likes.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::http) struct Limits {
    /// It consists of gRPC messages, which are counted.
    pub(in crate::http) grpc: bool,
    /// One gRPC message of it.
    pub(in crate::http) message: Option<u32>,
    /// All of it.
    pub(in crate::http) body: Option<u64>,
}

/// A body that may be asked for from its beginning again, as long as it is short and no answer is there.
pub(super) struct Source {
    /// None = it has been read to its end.
    body: Option<CallerBody>,
    /// What was read. Copied: parts of a caller's read buffer would hold all of it in memory.
    kept: BytesMut,
    kept_trailers: Option<HeaderMap>,
    /// How much of it the current attempt has sent, and whether its trailers.
    sent: usize,
    sent_trailers: bool,
    /// Whether everything that was read is in `kept`, and is to be.
    keeping: bool,
    /// There is an answer.
    pub(super) settled: bool,
    /// It was ended before its end.
    ended: bool,
    buffer: usize,
    round: u32,
    scanner: MessageScanner,
    limits: Limits,
    /// Bytes that came from the caller.
    came: u64,
    fault: Option<Fault>,
}

type Polled = Poll<Option<Result<Frame<Bytes>, ()>>>;

impl Source {
    pub(super) fn new(body: CallerBody, buffer: usize, limits: Limits) -> Self {
        Self {
            body: Some(body),
            kept: BytesMut::new(),
            kept_trailers: None,
            sent: 0,
            sent_trailers: false,
            keeping: true,
            settled: false,
            ended: false,
            buffer,
            round: 0,
            scanner: MessageScanner::default(),
            limits,
            came: 0,
            fault: None,
        }
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    pub(super) fn repeatable(&self) -> bool {
        self.keeping && self.fault.is_none()
    }

    /// Back to the beginning; the number of the attempt that now gets the body.
    pub(super) fn rewind(&mut self) -> u32 {
        self.sent = 0;
        self.sent_trailers = false;
        self.round += 1;
        self.round
    }

    /// Nothing is asked for again.
    pub(super) fn settle(&mut self) {
        self.keeping = false;
        self.forget();
    }

    /// Whoever asks for more gets an error.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.body = None;
        self.kept = BytesMut::new();
        self.sent = 0;
    }

    /// Lets go of what was kept, once it has been sent.
    fn forget(&mut self) {
        if !self.keeping && self.sent == self.kept.len() {
            self.kept = BytesMut::new();
            self.sent = 0;
        }
    }

    /// The next part for attempt `round`; `count` is told how many bytes came from the caller,
    /// and how many messages began in them.
    pub(super) fn poll(
        &mut self,
        round: u32,
        cx: &mut Context<'_>,
        count: impl Fn(usize, u32),
    ) -> Polled {
        if self.ended || round != self.round || self.fault.is_some() {
            return Poll::Ready(Some(Err(())));
        }
        if let Some(again) = self.kept_part() {
            return Poll::Ready(Some(Ok(again)));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    drop_ours(trailers);
                }
                let checked = self.check(&frame);
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                count(bytes, checked.unwrap_or_default());
                Poll::Ready(Some(checked.map(|_| {
                    self.keep(&frame);
                    frame
                })))
            }
            Poll::Ready(Some(Err(why))) => {
                self.fault = Some(Fault::BrokenOff(why));
                Poll::Ready(Some(Err(())))
            }
            Poll::Ready(None) => {
                self.body = None;
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// What is left of what an attempt before had sent.
    fn kept_part(&mut self) -> Option<Frame<Bytes>> {
        if self.sent < self.kept.len() {
            let rest = Bytes::copy_from_slice(&self.kept[self.sent..]);
            self.sent = self.kept.len();
            self.forget();
            return Some(Frame::data(rest));
        }
        let trailers = self.kept_trailers.clone().filter(|_| !self.sent_trailers)?;
        self.sent_trailers = true;
        Some(Frame::trailers(trailers))
    }

    fn check(&mut self, frame: &Frame<Bytes>) -> Result<u32, ()> {
        let Some(data) = frame.data_ref() else { return Ok(0) };
        self.came += data.len() as u64;
        if let Some(limit) = self.limits.body.filter(|limit| self.came > *limit) {
            self.fault = Some(Fault::BodyTooLong { limit });
            return Err(());
        }
        if !self.limits.grpc {
            return Ok(0);
        }
        let max = self.limits.message;
        self.scanner.feed(data, max).map_err(|_| {
            self.fault = Some(Fault::TooLong { limit: max.unwrap_or_default() });
        })
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if !self.keeping {
            return;
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.kept_trailers = Some(trailers.clone());
            self.sent_trailers = true;
        }
        let Some(data) = frame.data_ref() else { return };
        if self.kept.len() + data.len() <= self.buffer {
            self.kept.extend_from_slice(data);
            self.sent = self.kept.len();
        } else {
            self.settle();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        let kept = self.sent < self.kept.len();
        let trailers = self.kept_trailers.is_some() && !self.sent_trailers;
        !self.ended
            && !kept
            && !trailers
            && self.body.as_ref().is_none_or(CallerBody::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let kept = (self.kept.len() - self.sent) as u64;
        let rest = self.body.as_ref().map_or(SizeHint::with_exact(0), CallerBody::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint
    }
}

#[cfg(test)]
mod tests;
