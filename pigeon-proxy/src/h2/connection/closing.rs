//! Ends: of streams (proper, reset, refused) and of the connection (error, shutdown).

use super::super::error::{ENHANCE_YOUR_CALM, Error, NO_ERROR, PROTOCOL_ERROR};
use super::super::flow::MAX_WINDOW;
use super::super::frame::{self, Rule, kind, rule};
use super::super::guard::{Cost, MAX_UNSENT_REPLIES};
use super::super::streams::{Key, seen};
use super::{Connection, Event, Role};

/// Highest stream id, for the first GOAWAY of a graceful end (RFC 9113 section 6.8).
const ANY_STREAM: u32 = MAX_WINDOW;
/// Payload of the PING by which `shutdown` learns that the peer has seen the first GOAWAY. Not for callers.
pub const SHUTDOWN_PROBE: [u8; 8] = *b"shutdown";

/// How far a graceful end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shutdown {
    No,
    /// Server: the first GOAWAY is sent, streams may still come.
    Probing,
    /// No more streams.
    Done,
}

impl Connection {
    /// Ends the connection: queues GOAWAY. [`Connection::next`] returns this error from now on.
    pub fn fail(&mut self, code: u32, reason: &'static str) -> Error {
        *self.failed.get_or_insert_with(|| {
            frame::put_goaway(&mut self.output.buffer, self.served, code, reason);
            Error { code, reason }
        })
    }

    /// Begins a graceful end. Server: GOAWAY(2^31-1) and a probe; when that is answered, or this is called again,
    /// GOAWAY(last stream), and later streams are ignored. Client: no more streams are opened.
    pub fn shutdown(&mut self) {
        if self.shutdown == Shutdown::No && self.role == Role::Server {
            self.shutdown = Shutdown::Probing;
            let out = &mut self.output.buffer;
            frame::put_goaway(out, ANY_STREAM, NO_ERROR, "");
            frame::put_ping(out, 0, SHUTDOWN_PROBE);
        } else {
            self.finish_shutdown();
        }
    }

    /// Says which stream is the last.
    pub(super) fn finish_shutdown(&mut self) {
        if self.shutdown != Shutdown::Done {
            self.shutdown = Shutdown::Done;
            frame::put_goaway(&mut self.output.buffer, self.served, NO_ERROR, "");
        }
    }

    /// Whether an answered PING is that of `shutdown`.
    pub(super) fn is_probe(&self, payload: [u8; 8]) -> bool {
        self.shutdown == Shutdown::Probing && payload == SHUTDOWN_PROBE
    }

    /// Whether [`Connection::shutdown`] was called.
    pub fn is_shutting_down(&self) -> bool {
        self.shutdown != Shutdown::No
    }

    /// Queues RST_STREAM; the stream is gone. What still comes on it is swallowed.
    pub fn reset(&mut self, key: Key, code: u32) {
        let Some(stream) = self.streams.get(key).filter(|stream| !stream.is_ended()) else {
            return;
        };
        if code == PROTOCOL_ERROR && self.role == Role::Server && !stream.has(seen::HEAD_SENT) {
            self.blamed += 1;
        }
        self.discard(key, code);
    }

    /// Removes a stream and tells the peer, if it knows of it. Returns its tag.
    fn discard(&mut self, key: Key, code: u32) -> Option<u32> {
        let stream = self.streams.get(key)?;
        let known = self.role == Role::Server || stream.has(seen::HEAD_SENT);
        let ended = stream.has(seen::RECEIVE_ENDED);
        if known {
            frame::put_word(&mut self.output.buffer, kind::RST_STREAM, key.id, code);
            if !ended {
                self.resets.remember(key.id);
            }
        }
        self.streams.remove(key)
    }

    /// The peer broke a rule of one stream, which ends.
    #[cold]
    pub(super) fn break_stream<'a>(
        &mut self,
        key: Key,
        code: u32,
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, Rule> {
        self.count_reset(key, now_ms)?;
        self.spend(Cost::ForcedReset, now_ms)?;
        let Some(tag) = self.discard(key, code) else { return Ok(None) };
        self.replied(frame::HEADER + 4)?;
        Ok(Some(Event::Reset { stream: key, tag, code, local: true }))
    }

    /// A stream ends by the peer's doing: before it was answered this is limited.
    pub(super) fn count_reset(&mut self, key: Key, now_ms: u64) -> Result<(), Rule> {
        match self.streams.get(key) {
            Some(stream) if self.role == Role::Server && !stream.has(seen::HEAD_SENT) => {
                self.spend(Cost::PrematureReset, now_ms)
            }
            _ => Ok(()),
        }
    }

    /// Resets a stream that is not open. `more`: the peer may have sent more on it.
    pub(super) fn refuse(
        &mut self,
        id: u32,
        code: u32,
        more: bool,
        now_ms: u64,
    ) -> Result<(), Rule> {
        self.spend(Cost::ForcedReset, now_ms)?;
        frame::put_word(&mut self.output.buffer, kind::RST_STREAM, id, code);
        if more {
            self.resets.remember(id);
        }
        self.replied(frame::HEADER + 4)
    }

    /// The peer ended its side. If that was the last, the stream leaves when the caller has seen the event.
    #[inline]
    pub(super) fn end_received(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.seen |= seen::RECEIVE_ENDED;
        if stream.is_ended() {
            self.guard.stream_ended();
            self.leaving = Some(key);
        }
    }

    /// We ended our side. If that was the last, the stream leaves.
    #[inline]
    pub(super) fn end_sent(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.seen |= seen::SEND_ENDED;
        if stream.is_ended() {
            self.guard.stream_ended();
            self.streams.remove(key);
        }
    }

    /// Takes a token for a frame that is worth nothing.
    #[inline]
    pub(super) fn spend(&mut self, cost: Cost, now_ms: u64) -> Result<(), Rule> {
        match self.guard.spend(cost, now_ms) {
            true => Ok(()),
            false => Err(rule(ENHANCE_YOUR_CALM, cost.reason())),
        }
    }

    /// Counts a reply that was queued.
    #[inline]
    pub(super) fn replied(&mut self, bytes: usize) -> Result<(), Rule> {
        match self.output.replied(bytes) > MAX_UNSENT_REPLIES {
            true => Err(rule(ENHANCE_YOUR_CALM, "the peer does not read our replies")),
            false => Ok(()),
        }
    }
}
