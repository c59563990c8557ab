//! One end of an HTTP/2 connection: what comes in becomes events, what is called becomes bytes.
//!
//! Receiving is in `receive` (a `match` by frame type) with `headers`, `settings` and `late` (frames of streams
//! that are gone); sending in `send`; resets, errors and shutdown in `closing`.

mod closing;
mod headers;
mod late;
mod receive;
mod room;
mod send;
mod settings;

use std::borrow::Cow;

use super::error::{Error, PROTOCOL_ERROR};
use super::fields::Fields;
use super::flow::{ConnectionWindow, DEFAULT_WINDOW, MAX_WINDOW, SendWindow, StreamWindow};
use super::frame;
use super::guard::Guard;
use super::hpack::{DecodeError, Decoder, Encoder};
use super::output::Output;
use super::streams::{Key, Streams};
use closing::Shutdown;
use headers::Block;
use late::Resets;

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

/// HPACK table the peer may use (SETTINGS_HEADER_TABLE_SIZE): the default.
const TABLE_SIZE: u32 = 4096;
/// Streams a client opens at most before it knows the server's limit.
const MAX_STREAMS_BEFORE_SETTINGS: u32 = 100;

/// One end of a connection.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    /// The peer's preface, but for its SETTINGS, came (server).
    preface: bool,
    /// The peer's first SETTINGS came.
    settings: bool,
    /// Our SETTINGS were acknowledged.
    acknowledged: bool,
    /// `send_data` was short of the connection's window.
    short: bool,
    /// `WritableAll` is the next event.
    writable_all: bool,
    shutdown: Shutdown,
    max_streams: u32,
    initial_window: u32,
    stream_window: u32,
    max_header_list: u32,
    peer_max_streams: u32,
    peer_initial_window: u32,
    /// The highest stream that was opened (server: also those ignored after the last GOAWAY).
    last: u32,
    /// The highest stream of the peer that was served or refused.
    served: u32,
    /// Streams the caller reset for a rule that the peer broke, before they were answered, and that the guard has
    /// yet to count.
    blamed: u32,
    /// The last stream of the peer's GOAWAY.
    goaway: Option<u32>,
    /// A stream that ended on both sides with the event just returned: the caller may still ask for its tag.
    leaving: Option<Key>,
    failed: Option<Error>,
    send: SendWindow,
    receive: ConnectionWindow,
    streams: Streams,
    resets: Resets,
    block: Option<Box<Block>>,
    kept: Vec<u8>,
    output: Output,
    guard: Guard,
    decoder: Decoder,
    encoder: Encoder,
}

impl Connection {
    /// A new connection. Queued are (client) the preface, SETTINGS, and a WINDOW_UPDATE for the connection.
    pub fn new(config: &Config) -> Self {
        let initial_window = config.initial_window.min(MAX_WINDOW);
        let mut connection = Self {
            role: config.role,
            preface: config.role == Role::Client,
            settings: false,
            acknowledged: false,
            short: false,
            writable_all: false,
            shutdown: Shutdown::No,
            max_streams: config.max_concurrent_streams,
            initial_window,
            stream_window: config.stream_window.clamp(initial_window, MAX_WINDOW),
            max_header_list: config.max_header_list,
            peer_max_streams: MAX_STREAMS_BEFORE_SETTINGS,
            peer_initial_window: DEFAULT_WINDOW,
            last: 0,
            served: 0,
            blamed: 0,
            goaway: None,
            leaving: None,
            failed: None,
            send: SendWindow::new(DEFAULT_WINDOW),
            receive: ConnectionWindow::new(config.connection_window, config.connection_budget),
            streams: Streams::default(),
            resets: Resets::default(),
            block: None,
            kept: Vec::new(),
            output: Output::default(),
            guard: Guard::default(),
            decoder: Decoder::new(TABLE_SIZE),
            encoder: Encoder::new(),
        };
        connection.introduce();
        connection
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
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.let_leave();
        let event = self.advance(input, now_ms);
        event.map_err(|rule| self.fail(rule.code, rule.reason))
    }

    fn advance<'a>(
        &mut self,
        input: &mut &'a [u8],
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, frame::Rule> {
        if self.writable_all {
            self.writable_all = false;
            return Ok(Some(Event::WritableAll));
        }
        if !self.preface && !self.take_preface(input)? {
            return Ok(None);
        }
        while let Some(frame) = frame::take(input)? {
            let event = self.take_frame(frame, now_ms)?;
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Takes the client's preface off `input`. False: it is not all there. What cannot become one is an error at
    /// its first byte.
    fn take_preface(&mut self, input: &mut &[u8]) -> Result<bool, frame::Rule> {
        if let Some(rest) = input.strip_prefix(frame::PREFACE) {
            *input = rest;
            self.preface = true;
            return Ok(true);
        }
        if frame::PREFACE.starts_with(input) {
            return Ok(false);
        }
        Err(frame::rule(PROTOCOL_ERROR, "the client's preface is not that of HTTP/2"))
    }

    /// Removes the stream whose last event the caller has seen.
    #[inline]
    fn let_leave(&mut self) {
        if let Some(key) = self.leaving.take() {
            self.streams.remove(key);
        }
    }

    /// Keeps the beginning of a frame until more is read. Nothing to keep frees the memory.
    pub fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.kept = Vec::new();
        } else {
            self.kept.clear();
            self.kept.extend_from_slice(rest);
        }
    }

    /// What is kept.
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Moves what is kept to the front of `buffer` and returns its length: at most 9 + 16,384 bytes if only
    /// beginnings of frames are kept. What does not fit stays.
    pub fn take_kept_into(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.kept.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.kept[..count]);
        // The capacity stays for the next beginning; `keep` of nothing frees it.
        self.kept.drain(..count);
        count
    }

    /// Appends the fields of a block to `fields`.
    ///
    /// # Errors
    /// `Malformed`: call [`Connection::fail`] with COMPRESSION_ERROR. `TooLarge`: the list is larger than allowed;
    /// only this stream need suffer.
    #[inline]
    pub fn decode(&mut self, block: &[u8], fields: &mut Fields) -> Result<(), DecodeError> {
        self.decoder.decode(block, fields, self.max_header_list as usize)
    }

    /// Changes whenever the decoder's table changes.
    #[inline]
    pub fn decoder_generation(&self) -> u32 {
        self.decoder.generation()
    }

    /// Changes whenever the encoder's table changes, and while a change of its size has yet to be told.
    #[inline]
    pub fn encoder_generation(&self) -> u32 {
        self.encoder.generation()
    }

    /// The number the caller gave a stream (0 for a stream the peer opened just now). A stream that ended with the
    /// event just returned still has it until [`Connection::next`] is called again.
    #[inline]
    pub fn tag(&self, key: Key) -> Option<u32> {
        self.streams.get(key).map(|stream| stream.tag)
    }

    /// Gives a stream a number: the caller's own index of it.
    pub fn set_tag(&mut self, key: Key, tag: u32) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.tag = tag;
        }
    }

    /// Whether the stream is there and at least one side has not ended it.
    pub fn is_open(&self, key: Key) -> bool {
        self.streams.get(key).is_some_and(|stream| !stream.is_ended())
    }

    /// How many streams are open.
    #[inline]
    pub fn streams(&self) -> usize {
        self.streams.len() - usize::from(self.leaving.is_some())
    }

    /// The open streams and their tags, in no order.
    pub fn iter_streams(&self) -> impl Iterator<Item = (Key, u32)> {
        let open = self.streams.iter().filter(|(_, stream)| !stream.is_ended());
        open.map(|(key, stream)| (key, stream.tag))
    }

    /// What content-length promised: DATA that disagrees resets the stream. Call it only when the head does not
    /// end the stream (a response to HEAD names a length and has no body).
    pub fn expect_length(&mut self, key: Key, length: u64) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.length = length;
        }
    }

    /// The last stream of the peer's GOAWAY.
    pub fn peer_goaway(&self) -> Option<u32> {
        self.goaway
    }

    /// Whether our SETTINGS are not yet acknowledged.
    pub fn awaits_settings_ack(&self) -> bool {
        !self.acknowledged
    }

    /// Whether a header block has begun and not ended: no other frame may come.
    pub fn in_header_block(&self) -> bool {
        self.block.is_some()
    }

    /// Whether the peer's preface, with its SETTINGS, came.
    pub fn preface_done(&self) -> bool {
        self.preface && self.settings
    }

    /// How many streams the peer lets us open: 100 until its SETTINGS came.
    pub fn peer_max_concurrent_streams(&self) -> u32 {
        self.peer_max_streams
    }

    /// The highest stream of the peer that was served or refused; 0 if none.
    pub fn last_peer_stream(&self) -> u32 {
        self.served
    }

    /// Queued output.
    #[inline]
    pub fn out(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Gives memory back that an idle connection does not need. Call it when no stream has been open for longer
    /// than a round trip: what comes late for a stream that was reset is not expected any more.
    pub fn trim(&mut self) {
        self.let_leave();
        self.streams.trim();
        if self.streams.is_empty() {
            self.resets.trim();
        }
    }

    /// What the peer may send on a stream that opens now. A peer that has not seen our SETTINGS may take the
    /// default for granted.
    fn receive_window(&self) -> StreamWindow {
        let size = match self.acknowledged {
            true => self.initial_window,
            false => self.initial_window.max(DEFAULT_WINDOW),
        };
        StreamWindow::new(size)
    }
}
