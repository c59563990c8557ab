//! One end of an HTTP/2 connection: what comes in becomes events, what is called becomes bytes.
//!
//! Receiving is in `receive` (a `match` by frame type) with `headers` and `settings`; sending in `send`; resets,
//! errors and shutdown in `closing`.

use std::borrow::Cow;

use super::error::Error;
use super::fields::Fields;
use super::hpack::{DecodeError, Encoder};
use super::output::Output;
use super::streams::Key;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It opens streams.
    Client,
    /// It answers streams.
    Server,
}

/// What an end allows its peer. All sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which end this is.
    pub role: Role,
    /// Streams the peer may have open at a time; 0 for clients (they refuse push).
    pub max_concurrent_streams: u32,
    /// What the peer may send on a new stream (SETTINGS_INITIAL_WINDOW_SIZE).
    pub initial_window: u32,
    /// A stream's window grows up to this while its reader keeps up.
    pub stream_window: u32,
    /// What the peer may have under way on all streams together; at least 65,535.
    pub connection_window: u32,
    /// Received bytes that may wait for `release` before the peer's connection window shrinks by them. At most
    /// `connection_budget + connection_window` bytes can wait.
    pub connection_budget: u32,
    /// The largest header list (SETTINGS_MAX_HEADER_LIST_SIZE). A block of more than twice as many encoded bytes
    /// ends the connection.
    pub max_header_list: u32,
}

/// What the peer did.
#[derive(Debug)]
pub enum Event<'a> {
    /// A complete header block, not decoded. The caller must call [`Connection::decode`] for it before the next
    /// one, unless it knows the very bytes from before under the same [`Connection::decoder_generation`] and
    /// knows that they did not change it.
    Headers {
        /// Of which stream.
        stream: Key,
        /// The peer opened this stream just now.
        opened: bool,
        /// Nothing more will come on this stream.
        end: bool,
        /// The encoded fields; owned only if they came in several frames.
        block: Cow<'a, [u8]>,
    },
    /// A part of a body.
    Data {
        /// Of which stream.
        stream: Key,
        /// The bytes without padding; empty only if `end`.
        bytes: &'a [u8],
        /// Nothing more will come on this stream.
        end: bool,
        /// To be given back with [`Connection::release`] when the bytes are taken: their number, padding included.
        flow: u32,
    },
    /// The stream is gone: the peer reset it, or (`local`) the peer broke a rule and we reset it.
    Reset {
        /// The stream; its key finds nothing any more.
        stream: Key,
        /// The stream's tag.
        tag: u32,
        /// Why (RFC 9113 section 7).
        code: u32,
        /// We reset it; RST_STREAM is queued already.
        local: bool,
    },
    /// The window of this stream opened, and [`Connection::send_data`] had been short of it before.
    Writable {
        /// Which stream.
        stream: Key,
    },
    /// Windows of many streams opened, and some had been short: whatever waits may go on.
    WritableAll,
    /// The peer serves no streams of ours above `last`. It comes again if the peer lowers it.
    GoAway {
        /// The last stream of ours that the peer may have served.
        last: u32,
        /// Why (RFC 9113 section 7).
        code: u32,
    },
    /// The peer's SETTINGS came, first or later: [`Connection::peer_max_concurrent_streams`] may have changed.
    Settings,
    /// The answer to a [`Connection::ping`].
    Pong {
        /// What had been sent.
        payload: [u8; 8],
    },
}

/// One end of a connection.
#[derive(Debug)]
pub struct Connection {
    output: Output,
}

impl Connection {
    /// A new connection. Queued are (client) the preface, SETTINGS, and a WINDOW_UPDATE for the connection.
    pub fn new(config: &Config) -> Self {
        let _ = config;
        todo!()
    }

    /// Takes whole frames off the front of `input` until one means something to the caller. `None`: what is left
    /// of `input` is the beginning of a frame; the caller keeps it (see [`Connection::keep`]) and puts it in front
    /// of what it reads next. Call it until `None`, also without input. `now_ms`: any monotonic clock in
    /// milliseconds, for the guards.
    ///
    /// # Errors
    /// The connection is over; GOAWAY is queued.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, Error> {
        let _ = (input, now_ms);
        todo!()
    }

    /// Keeps the beginning of a frame until more is read. Nothing to keep frees the memory.
    pub fn keep(&mut self, rest: &[u8]) {
        let _ = rest;
        todo!()
    }

    /// What is kept.
    pub fn kept(&self) -> &[u8] {
        todo!()
    }

    /// Moves what is kept to the front of `buffer` and returns its length. `buffer` must be long enough: a frame
    /// is at most 9 + 16,384 bytes.
    pub fn take_kept_into(&mut self, buffer: &mut [u8]) -> usize {
        let _ = buffer;
        todo!()
    }

    /// Appends the fields of a block to `fields`.
    ///
    /// # Errors
    /// `Malformed`: call [`Connection::fail`] with COMPRESSION_ERROR. `TooLarge`: the list is larger than allowed;
    /// only this stream need suffer.
    pub fn decode(&mut self, block: &[u8], fields: &mut Fields) -> Result<(), DecodeError> {
        let _ = (block, fields);
        todo!()
    }

    /// Changes whenever the decoder's table changes.
    pub fn decoder_generation(&self) -> u32 {
        todo!()
    }

    /// Changes whenever the encoder's table changes, and while a change of its size has yet to be told.
    pub fn encoder_generation(&self) -> u32 {
        todo!()
    }

    /// Ends the connection: queues GOAWAY. [`Connection::next`] returns this error from now on.
    pub fn fail(&mut self, code: u32, reason: &'static str) -> Error {
        let _ = (code, reason);
        todo!()
    }

    /// Whether [`Connection::open`] would open a stream now.
    pub fn can_open(&self) -> bool {
        todo!()
    }

    /// Opens a stream (client). Its head must be sent before another is opened. `None`: a GOAWAY came or was sent,
    /// ids are used up, or the peer allows no more streams now.
    pub fn open(&mut self, tag: u32) -> Option<Key> {
        let _ = tag;
        todo!()
    }

    /// The number the caller gave a stream (0 for a stream the peer opened just now).
    pub fn tag(&self, key: Key) -> Option<u32> {
        let _ = key;
        todo!()
    }

    /// Gives a stream a number: the caller's own index of it.
    pub fn set_tag(&mut self, key: Key, tag: u32) {
        let _ = (key, tag);
        todo!()
    }

    /// Whether the stream is still there.
    pub fn is_open(&self, key: Key) -> bool {
        let _ = key;
        todo!()
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        todo!()
    }

    /// The open streams and their tags, in no order.
    pub fn iter_streams(&self) -> impl Iterator<Item = (Key, u32)> {
        std::iter::empty()
    }

    /// What content-length promised: DATA that disagrees resets the stream. Call it only when the head does not
    /// end the stream (a response to HEAD names a length and has no body).
    pub fn expect_length(&mut self, key: Key, length: u64) {
        let _ = (key, length);
        todo!()
    }

    /// Queues HEADERS (and CONTINUATION) with the block that `write` appends. `write` is not called if the stream
    /// is gone or its sending side has ended.
    pub fn send_headers(
        &mut self,
        key: Key,
        end: bool,
        write: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) {
        let _ = (key, end, write);
        todo!()
    }

    /// Queues as much of `bytes` as the windows and `room` bytes of output (frame headers included) allow, with
    /// END_STREAM when all is taken and `end`. Returns how much was taken; an `end` without bytes is always taken.
    /// If it is less than all for want of window, a `Writable` or `WritableAll` tells when to go on.
    pub fn send_data(&mut self, key: Key, bytes: &[u8], end: bool, room: usize) -> usize {
        let _ = (key, bytes, end, room);
        todo!()
    }

    /// How many bytes of a body the windows allow now.
    pub fn can_send(&self, key: Key) -> usize {
        let _ = key;
        todo!()
    }

    /// Queues RST_STREAM; the stream is gone. What still comes on it is swallowed.
    pub fn reset(&mut self, key: Key, code: u32) {
        let _ = (key, code);
        todo!()
    }

    /// The reader took `flow` bytes of this stream (a stale key counts for the connection too). WINDOW_UPDATEs are
    /// queued when half a window is due. `behind`: the reader has not yet taken all that came, so the stream's
    /// window does not grow.
    pub fn release(&mut self, key: Key, flow: u32, behind: bool) {
        let _ = (key, flow, behind);
        todo!()
    }

    /// Queues PING; the answer is a `Pong`.
    pub fn ping(&mut self, payload: [u8; 8]) {
        let _ = payload;
        todo!()
    }

    /// Begins a graceful end. Server: GOAWAY(2^31-1) and a probe; when that is answered, GOAWAY(last stream), and
    /// later streams are ignored. Client: no more streams are opened.
    pub fn shutdown(&mut self) {
        todo!()
    }

    /// Whether [`Connection::shutdown`] was called.
    pub fn is_shutting_down(&self) -> bool {
        todo!()
    }

    /// The last stream of the peer's GOAWAY.
    pub fn peer_goaway(&self) -> Option<u32> {
        todo!()
    }

    /// Whether our SETTINGS are not yet acknowledged.
    pub fn awaits_settings_ack(&self) -> bool {
        todo!()
    }

    /// Whether a header block has begun and not ended: no other frame may come.
    pub fn in_header_block(&self) -> bool {
        todo!()
    }

    /// Whether the peer's preface, with its SETTINGS, came.
    pub fn preface_done(&self) -> bool {
        todo!()
    }

    /// How many streams the peer lets us open: 100 until its SETTINGS came.
    pub fn peer_max_concurrent_streams(&self) -> u32 {
        todo!()
    }

    /// The highest stream the peer has opened; 0 if none.
    pub fn last_peer_stream(&self) -> u32 {
        todo!()
    }

    /// Queued output.
    pub fn out(&mut self) -> &mut Output {
        &mut self.output
    }
}
