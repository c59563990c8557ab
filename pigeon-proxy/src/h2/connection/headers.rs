//! HEADERS and CONTINUATION (RFC 9113 sections 6.2 and 6.10): blocks are put together, and given to the stream
//! they belong to or open.

use std::borrow::Cow;

use super::super::error::{
    COMPRESSION_ERROR, ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR, PROTOCOL_ERROR, REFUSED_STREAM,
    STREAM_CLOSED,
};
use super::super::fields::Fields;
use super::super::flow::SendWindow;
use super::super::frame::{Frame, Rule, flag, rule};
use super::super::guard::{Cost, MAX_CONTINUATIONS, MAX_EMPTY_CONTINUATIONS};
use super::super::hpack::DecodeError;
use super::super::streams::{Key, Stream, seen};
use super::closing::Shutdown;
use super::{Connection, Event, Role};

/// What a HEADERS frame says besides its block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) stream: u32,
    pub(super) end: bool,
    /// Its priority names the stream itself, which is an error of the stream (RFC 7540 section 5.3.1).
    self_dependent: bool,
}

/// A block whose end has not come.
#[derive(Debug)]
pub(super) struct Block {
    head: Head,
    frames: u16,
    empty: u16,
    bytes: Vec<u8>,
}

impl Connection {
    #[inline]
    pub(super) fn on_headers<'a>(
        &mut self,
        frame: Frame<'a>,
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, Rule> {
        if frame.stream == 0 {
            return Err(rule(PROTOCOL_ERROR, "HEADERS belong to a stream"));
        }
        let mut block = frame.unpadded()?;
        let mut self_dependent = false;
        if frame.has(flag::PRIORITY) {
            let Some((&[d3, d2, d1, d0, _weight], rest)) = block.split_first_chunk() else {
                return Err(rule(FRAME_SIZE_ERROR, "HEADERS have no room for their priority"));
            };
            block = rest;
            self_dependent = u32::from_be_bytes([d3 & 0x7f, d2, d1, d0]) == frame.stream;
        }
        let head = Head { stream: frame.stream, end: frame.has(flag::END_STREAM), self_dependent };
        self.check_block_size(block.len())?;
        if frame.has(flag::END_HEADERS) {
            return self.on_block(head, Cow::Borrowed(block), now_ms);
        }
        let bytes = block.to_vec();
        self.block = Some(Box::new(Block { head, frames: 0, empty: 0, bytes }));
        Ok(None)
    }

    #[cold]
    pub(super) fn on_continuation<'a>(
        &mut self,
        frame: Frame<'a>,
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, Rule> {
        let Some(mut block) = self.block.take_if(|block| block.head.stream == frame.stream) else {
            return Err(rule(PROTOCOL_ERROR, "CONTINUATION without HEADERS before it"));
        };
        self.check_block_size(block.bytes.len() + frame.payload.len())?;
        block.frames += 1;
        block.empty += u16::from(frame.payload.is_empty());
        if block.frames > MAX_CONTINUATIONS || block.empty > MAX_EMPTY_CONTINUATIONS {
            return Err(rule(ENHANCE_YOUR_CALM, "too many CONTINUATIONs"));
        }
        block.bytes.extend_from_slice(frame.payload);
        if frame.has(flag::END_HEADERS) {
            return self.on_block(block.head, Cow::Owned(block.bytes), now_ms);
        }
        self.block = Some(block);
        Ok(None)
    }

    fn check_block_size(&self, size: usize) -> Result<(), Rule> {
        match size / 2 > self.max_header_list as usize {
            true => Err(rule(ENHANCE_YOUR_CALM, "the header block is much larger than we allow")),
            false => Ok(()),
        }
    }

    /// A whole block came.
    #[inline]
    fn on_block<'a>(
        &mut self,
        head: Head,
        block: Cow<'a, [u8]>,
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, Rule> {
        match (self.streams.find(head.stream), self.role) {
            (Some(key), _) => self.on_stream_block(key, head, block, now_ms),
            (None, Role::Server) if head.stream > self.last => self.on_opening(head, block, now_ms),
            (None, _) => self.on_late_block(head, &block, now_ms).map(|()| None),
        }
    }

    /// A block for an open stream: the head of a response, or trailers.
    fn on_stream_block<'a>(
        &mut self,
        key: Key,
        head: Head,
        block: Cow<'a, [u8]>,
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, Rule> {
        let role = self.role;
        let Some(stream) = self.streams.get_mut(key) else { return Ok(None) };
        if let Err(code) = check_stream_block(stream, role, head) {
            self.swallow_block(&block)?;
            return self.break_stream(key, code, now_ms);
        }
        stream.seen |= seen::HEAD_RECEIVED;
        if head.end {
            self.end_received(key);
        }
        Ok(Some(Event::Headers { stream: key, opened: false, end: head.end, block }))
    }

    /// A block that opens a stream.
    #[inline]
    fn on_opening<'a>(
        &mut self,
        head: Head,
        block: Cow<'a, [u8]>,
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, Rule> {
        let id = head.stream;
        if id.is_multiple_of(2) {
            return Err(rule(PROTOCOL_ERROR, "a client opens streams of odd ids"));
        }
        while self.blamed > 0 {
            self.blamed -= 1;
            self.spend(Cost::PrematureReset, now_ms)?;
        }
        self.last = id;
        if self.shutdown == Shutdown::Done {
            self.swallow_block(&block)?;
            return Ok(None);
        }
        self.served = id;
        let refusal = match () {
            () if head.self_dependent => PROTOCOL_ERROR,
            () if self.streams() >= self.max_streams as usize => REFUSED_STREAM,
            () => {
                let (send, receive) =
                    (SendWindow::new(self.peer_initial_window), self.receive_window());
                let key = self.streams.insert(id, 0, send, receive);
                if let Some(stream) = self.streams.get_mut(key) {
                    let ended = if head.end { seen::RECEIVE_ENDED } else { 0 };
                    stream.seen = seen::HEAD_RECEIVED | ended;
                }
                return Ok(Some(Event::Headers {
                    stream: key,
                    opened: true,
                    end: head.end,
                    block,
                }));
            }
        };
        self.swallow_block(&block)?;
        self.refuse(id, refusal, !head.end, now_ms)?;
        Ok(None)
    }

    /// Decodes a block for nobody: the tables of both sides must stay the same.
    #[cold]
    pub(super) fn swallow_block(&mut self, block: &[u8]) -> Result<(), Rule> {
        match self.decoder.decode(block, &mut Fields::new(), 0) {
            Err(DecodeError::Malformed(reason)) => Err(rule(COMPRESSION_ERROR, reason)),
            Ok(()) | Err(DecodeError::TooLarge) => Ok(()),
        }
    }
}

/// Whether a block may come on an open stream; else the code to reset it with.
#[inline]
fn check_stream_block(stream: &mut Stream, role: Role, head: Head) -> Result<(), u32> {
    if stream.has(seen::RECEIVE_ENDED) {
        return Err(STREAM_CLOSED);
    }
    // A server's second block is trailers; a client's may be the head after an interim one, but not after DATA.
    let trailers = match role {
        Role::Server => true,
        Role::Client => stream.has(seen::DATA_RECEIVED),
    };
    let early = role == Role::Client && !stream.has(seen::HEAD_SENT);
    let short = head.end && !stream.count_body(0, true);
    match head.self_dependent || early || short || (trailers && !head.end) {
        true => Err(PROTOCOL_ERROR),
        false => Ok(()),
    }
}
