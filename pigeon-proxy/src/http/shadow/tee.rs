//! A body that is read once and goes to two places; the second may fall behind, but not for ever.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use crate::http::caller::{BrokenOff, CallerBody};
use crate::metrics;

/// What may wait for the engine of the copy.
const ROOM: usize = 256 << 10;
/// What a part takes beside its bytes, so that many small ones are no way around that.
const PART: usize = 64;

/// What goes from the call to its copy.
pub(super) struct Flow {
    inner: Mutex<Inner>,
    reader: AtomicWaker,
    ended: Notify,
    given_up: Notify,
}

#[derive(Default)]
struct Inner {
    parts: VecDeque<Part>,
    bytes: usize,
    stage: Stage,
}

enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Flowing,
    /// All of it is there.
    Ended,
    /// There is no more: it has fallen behind, or the call itself broke off.
    GivenUp(metrics::Copied),
}

/// The body of the call itself.
pub(super) struct Tee {
    body: CallerBody,
    /// What is left of the length that it says, if it says one.
    left: Option<u64>,
    flow: Arc<Flow>,
}

/// The body of its copy.
pub(super) struct Copied(Arc<Flow>);

impl Flow {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, frame: &Frame<Bytes>) {
        let mut inner = self.lock();
        if inner.stage != Stage::Flowing {
            return;
        }
        let size = PART + frame.data_ref().map_or(0, Bytes::len);
        if inner.bytes + size > ROOM {
            drop(inner);
            return self.give_up(metrics::Copied::Behind);
        }
        inner.bytes += size;
        // Copied: parts of a caller's read buffer would hold all of it in memory.
        let part = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Part::Data(Bytes::copy_from_slice(data)),
            (None, Some(trailers)) => Part::Trailers(trailers.clone()),
            (None, None) => return,
        };
        inner.parts.push_back(part);
        drop(inner);
        self.reader.wake();
    }

    fn end(&self) {
        let mut inner = self.lock();
        if inner.stage == Stage::Flowing {
            inner.stage = Stage::Ended;
            drop(inner);
            self.ended.notify_one();
            self.reader.wake();
        }
    }

    fn give_up(&self, why: metrics::Copied) {
        let mut inner = self.lock();
        if inner.stage == Stage::Flowing {
            *inner = Inner { stage: Stage::GivenUp(why), ..Inner::default() };
            drop(inner);
            self.given_up.notify_one();
            self.reader.wake();
        }
    }

    /// Why there is no more, if the request did not come to its end.
    pub(super) fn cause(&self) -> Option<metrics::Copied> {
        match self.lock().stage {
            Stage::GivenUp(why) => Some(why),
            Stage::Flowing | Stage::Ended => None,
        }
    }

    /// Resolves once all of the request is there; for one waiter.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Resolves once there is no more; for one waiter.
    pub(super) async fn given_up(&self) -> metrics::Copied {
        self.given_up.notified().await;
        self.cause().unwrap_or(metrics::Copied::Abandoned)
    }
}

impl Tee {
    pub(super) fn new(body: CallerBody) -> (Self, Copied) {
        let flow = Arc::new(Flow {
            inner: Mutex::default(),
            reader: AtomicWaker::new(),
            ended: Notify::new(),
            given_up: Notify::new(),
        });
        if body.is_end_stream() {
            flow.end();
        }
        let left = body.size_hint().exact();
        (Self { body, left, flow: Arc::clone(&flow) }, Copied(flow))
    }
}

impl Copied {
    pub(super) fn flow(&self) -> &Arc<Flow> {
        &self.0
    }
}

impl Body for Tee {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let polled = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &polled {
            Some(Ok(frame)) => {
                self.flow.push(frame);
                let size = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.left = self.left.map(|left| left.saturating_sub(size));
                // Nobody may ask for more of a body whose length is known.
                if frame.is_trailers() || self.left == Some(0) || self.body.is_end_stream() {
                    self.flow.end();
                }
            }
            Some(Err(_)) => self.flow.give_up(metrics::Copied::Abandoned),
            None => self.flow.end(),
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        // No effect on what has ended.
        self.flow.give_up(metrics::Copied::Abandoned);
    }
}

impl Body for Copied {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let flow = &self.0;
        // First registered, then looked: what comes in between wakes.
        flow.reader.register(cx.waker());
        let mut inner = flow.lock();
        match inner.parts.pop_front() {
            Some(Part::Data(data)) => {
                inner.bytes -= PART + data.len();
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Part::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            None => match inner.stage {
                Stage::Flowing => Poll::Pending,
                Stage::Ended => Poll::Ready(None),
                Stage::GivenUp(_) => Poll::Ready(Some(Err(BrokenOff::Gone))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        let inner = self.0.lock();
        inner.parts.is_empty() && inner.stage == Stage::Ended
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn of(parts: Vec<usize>) -> (Tee, Copied) {
        let parts = parts.into_iter().map(|n| Ok(Frame::data(Bytes::from(vec![b'x'; n]))));
        Tee::new(CallerBody::Boxed(Box::pin(StreamBody::new(tokio_stream::iter(parts)))))
    }

    fn next(body: &mut Copied) -> Poll<Option<Result<usize, ()>>> {
        let mut cx = Context::from_waker(Waker::noop());
        let polled = Pin::new(body).poll_frame(&mut cx);
        polled.map(|f| f.map(|f| f.map(|f| f.data_ref().map_or(0, Bytes::len)).map_err(|_| ())))
    }

    #[tokio::test]
    async fn both_get_all_of_it() {
        let (tee, mut copy) = of(vec![3, 0, 5]);
        assert_eq!(tee.collect().await.expect("whole").to_bytes().len(), 8);
        assert_eq!(copy.flow().cause(), None);
        let got = [(); 4].map(|()| next(&mut copy));
        let part = |n| Poll::Ready(Some(Ok(n)));
        assert_eq!(got, [part(3), part(0), part(5), Poll::Ready(None)]);
        copy.flow().ended().await;
    }

    #[tokio::test]
    async fn a_copy_that_falls_behind_is_given_up_and_the_call_goes_on() {
        for parts in [vec![ROOM / 2; 4], vec![1; ROOM / PART]] {
            let whole: usize = parts.iter().sum();
            let (tee, mut copy) = of(parts);
            assert_eq!(tee.collect().await.expect("whole").to_bytes().len(), whole);
            assert_eq!(copy.flow().given_up().await, metrics::Copied::Behind);
            assert_eq!(next(&mut copy), Poll::Ready(Some(Err(()))));
            assert_eq!(copy.flow().lock().bytes, 0, "nothing is kept");
        }
    }

    #[tokio::test]
    async fn a_call_that_breaks_off_takes_its_copy_with_it() {
        let (mut tee, mut copy) = of(vec![3, 5]);
        tee.frame().await.expect("a part").expect("whole");
        assert_eq!(next(&mut copy), Poll::Ready(Some(Ok(3))));
        assert_eq!(next(&mut copy), Poll::Pending);
        drop(tee);
        assert_eq!(copy.flow().given_up().await, metrics::Copied::Abandoned);
        assert_eq!(next(&mut copy), Poll::Ready(Some(Err(()))));
    }
}
