//! A call whose answer has begun, until it has ended: shared by the body, which the caller's connection
//! asks for more, and the watchdog of its deadline.

use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::CutOff;
use crate::gateway::OpenCall;
use crate::grpc::MessageScanner;
use crate::http::blame::blame;
use crate::http::leg::Leg;
use crate::http::transcode::Translator;
use crate::record::Record;
use crate::reject::{GRPC_STATUS, Rejection, grpc_trailers, http_of_grpc};
use crate::transcode::status;

type Polled = Poll<Option<Result<Frame<Bytes>, CutOff>>>;

/// A call whose answer has begun.
pub(in crate::http) struct Live {
    pub(in crate::http) body: Incoming,
    pub(in crate::http) leg: Leg,
    pub(in crate::http) record: Record,
    pub(in crate::http) grpc: bool,
    pub(in crate::http) messages: Messages,
    /// Of a call that came as JSON.
    pub(in crate::http) translator: Option<Box<Translator>>,
    pub(in crate::http) deadline: Option<Instant>,
    pub(in crate::http) _open: OpenCall,
}

/// Counts an answer's messages, and keeps them within their limit.
pub(in crate::http) struct Messages {
    scanner: MessageScanner,
    grpc: bool,
    max: Option<u32>,
}

impl Messages {
    /// Nothing is counted of what has no messages.
    pub(in crate::http) fn new(grpc: bool, max: Option<u32>) -> Self {
        Self { scanner: MessageScanner::default(), grpc, max }
    }

    /// How many messages begin in these bytes.
    fn pass(&mut self, data: &[u8]) -> Result<u32, Rejection> {
        if !self.grpc {
            return Ok(0);
        }
        let too_long = |_| Rejection::MessageTooLarge { limit: self.max.unwrap_or_default() };
        self.scanner.feed(data, self.max).map_err(too_long)
    }
}

enum Stage {
    Live(Box<Live>),
    /// We ended it; these trailers, or for HTTP the cut, are still to be told.
    Ending(Option<HeaderMap>),
    Ended,
}

pub(in crate::http) struct Shared {
    stage: Mutex<Stage>,
    /// The caller's connection, to be told of the deadline.
    reader: AtomicWaker,
}

impl Shared {
    pub(in crate::http) fn new(live: Live) -> Self {
        Self { stage: Mutex::new(Stage::Live(Box::new(live))), reader: AtomicWaker::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn poll_frame(&self, cx: &mut Context<'_>) -> Polled {
        let mut stage = self.lock();
        let live = match &mut *stage {
            Stage::Live(live) => live,
            Stage::Ending(_) => return told(std::mem::replace(&mut *stage, Stage::Ended)),
            Stage::Ended => return Poll::Ready(None),
        };
        match Pin::new(&mut live.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let noted = live.note(&frame).and_then(|()| live.translate(frame));
                let frame = match noted {
                    Ok(frame) => frame,
                    Err(rejection) => {
                        end(&mut stage, |live| live.broken(&rejection));
                        return told(std::mem::replace(&mut *stage, Stage::Ended));
                    }
                };
                if let Some(rejection) = live.lacks(&frame) {
                    end(&mut stage, |live| live.failed(&rejection));
                    return told(std::mem::replace(&mut *stage, Stage::Ended));
                }
                if frame.is_trailers() || live.body.is_end_stream() {
                    end(&mut stage, Live::completed);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "the engine broke an answer off");
                match live.leg.fault() {
                    Some(rejection) => end(&mut stage, |live| live.broken(&rejection)),
                    None => {
                        let rejection = blame(&error).or_deadline(live.deadline, Instant::now());
                        end(&mut stage, |live| live.failed(&rejection));
                    }
                }
                told(std::mem::replace(&mut *stage, Stage::Ended))
            }
            // hyper takes RST_STREAM with NO_ERROR for a proper end; a gRPC answer without a status is none.
            Poll::Ready(None) if live.grpc && !live.record.has_grpc_status() => {
                let broke_off = Rejection::EngineReset { code: Some(0) };
                end(&mut stage, |live| live.failed(&broke_off));
                told(std::mem::replace(&mut *stage, Stage::Ended))
            }
            Poll::Ready(None) => {
                end(&mut stage, Live::completed);
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.reader.register(cx.waker());
                Poll::Pending
            }
        }
    }

    /// The deadline is over, or the endpoint waits no longer: ends the call even if nobody asks for more.
    pub(in crate::http) fn break_off(&self, rejection: &Rejection) {
        let mut stage = self.lock();
        if matches!(*stage, Stage::Live(_)) {
            end(&mut stage, |live| live.broken(rejection));
            drop(stage);
            self.reader.wake();
        }
    }

    /// Waits until the call was broken off.
    pub(in crate::http) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        // First registered, then looked: an end in between wakes.
        self.reader.register(cx.waker());
        if matches!(*self.lock(), Stage::Live(_)) { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Bytes of the caller, once the call goes on as another protocol.
    pub(in crate::http) fn came(&self, bytes: usize) {
        if let Stage::Live(live) = &*self.lock() {
            live.leg.came(bytes);
        }
    }

    /// Bytes of the engine, likewise.
    pub(in crate::http) fn went(&self, bytes: usize) {
        if let Stage::Live(live) = &mut *self.lock() {
            live.record.sent(bytes);
        }
    }

    /// The engine has ended the call.
    pub(in crate::http) fn complete(&self) {
        end(&mut self.lock(), Live::completed);
    }

    /// The caller is gone, or the gateway stops.
    pub(in crate::http) fn leave(&self) {
        end(&mut self.lock(), Live::left);
    }

    /// The caller went away, or the answer has been handed over whole.
    pub(super) fn abandon(&self) {
        end(&mut self.lock(), Live::let_go);
    }

    pub(super) fn is_end_stream(&self) -> bool {
        matches!(*self.lock(), Stage::Ended)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match &*self.lock() {
            Stage::Live(live) => live.body.size_hint(),
            Stage::Ending(_) | Stage::Ended => SizeHint::default(),
        }
    }
}

/// Takes the call out, if it is still there, and lets `how` end it.
fn end(stage: &mut Stage, how: impl FnOnce(Box<Live>) -> Stage) {
    if let Stage::Live(live) = std::mem::replace(stage, Stage::Ended) {
        *stage = how(live);
    }
}

/// What a caller is told of a call that we ended.
fn told(stage: Stage) -> Polled {
    Poll::Ready(match stage {
        Stage::Ending(Some(trailers)) => Some(Ok(Frame::trailers(trailers))),
        Stage::Ending(None) => Some(Err(CutOff)),
        Stage::Live(_) | Stage::Ended => None,
    })
}

impl Live {
    fn note(&mut self, frame: &Frame<Bytes>) -> Result<(), Rejection> {
        if let Some(data) = frame.data_ref() {
            let begun = self.messages.pass(data)?;
            self.record.sent(data.len());
            if begun > 0 {
                self.record.messages_sent(begun);
            }
        }
        if let Some(trailers) = frame.trailers_ref() {
            note_status(&mut self.record, trailers);
        }
        Ok(())
    }

    /// What a caller gets of this part who called in JSON: nothing, of half a message.
    fn translate(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Rejection> {
        let Some(translator) = &mut self.translator else { return Ok(frame) };
        match frame.into_data() {
            Ok(data) => {
                let text = translator.feed(&data)?;
                if translator.streams() && !text.is_empty() {
                    self.record.answers(200);
                }
                Ok(Frame::data(text))
            }
            Err(frame) => Ok(frame),
        }
    }

    /// Why this end of the answer to a JSON call is none.
    fn lacks(&mut self, frame: &Frame<Bytes>) -> Option<Rejection> {
        let translator = self.translator.as_ref()?;
        let code = status::code(frame.trailers_ref()?)?;
        if code == 0 && !translator.is_whole() {
            return Some(Rejection::EngineProtocolError);
        }
        self.record.answers(http_of_grpc(code));
        None
    }

    /// The answer ended with its head.
    pub(in crate::http) fn complete(self) {
        Box::new(self).completed();
    }

    /// The engine has ended the call.
    fn completed(self: Box<Self>) -> Stage {
        let Self { leg, mut record, grpc, .. } = *self;
        record.received_in_all(leg.inbound());
        record.complete();
        // The slot is free before the caller reads that the call has ended.
        leg.completed(grpc);
        Stage::Ended
    }

    /// The engine broke off.
    fn failed(self: Box<Self>, rejection: &Rejection) -> Stage {
        let Self { leg, mut record, grpc, .. } = *self;
        record.received_in_all(leg.inbound());
        record.rejected(rejection);
        drop(leg.broken_off());
        Stage::Ending(grpc.then(|| grpc_trailers(rejection, record.about())))
    }

    /// We break off: the slot rests (see [`Leg`]).
    fn broken(self: Box<Self>, rejection: &Rejection) -> Stage {
        let Self { leg, mut record, grpc, .. } = *self;
        record.received_in_all(leg.inbound());
        record.rejected(rejection);
        Stage::Ending(grpc.then(|| grpc_trailers(rejection, record.about())))
    }

    /// The body is asked for no more: the caller broke off, or has the last byte that `content-length`
    /// promised.
    fn let_go(mut self: Box<Self>) -> Stage {
        if self.body.size_hint().exact() == Some(0) {
            let mut nobody = Context::from_waker(Waker::noop());
            if let Poll::Ready(None) = Pin::new(&mut self.body).poll_frame(&mut nobody) {
                return self.completed();
            }
            self.record.complete();
        }
        self.left()
    }

    /// The record says how it ended when it is dropped, and the slot rests (see [`Leg`]).
    fn left(mut self: Box<Self>) -> Stage {
        self.record.received_in_all(self.leg.inbound());
        Stage::Ended
    }
}

/// Notes the gRPC status, from trailers or from the headers of an answer without a body.
pub(in crate::http) fn note_status(record: &mut Record, headers: &HeaderMap) {
    let status = headers.get(GRPC_STATUS).and_then(|value| value.to_str().ok());
    if let Some(status) = status.and_then(|status| status.parse().ok()) {
        record.grpc_status(status);
    }
}
