//! What both ends of an HTTP/2 connection have in common: settings, windows, pings, cut frames.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::frame::{self, ACK, END_HEADERS, END_STREAM, Frame};
use super::hpack::Decoder;
use super::socket::Socket;

/// What a peer may send ahead on one stream, bytes.
pub const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// What a peer may send ahead on a connection, bytes.
pub const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
/// The windows before anybody says otherwise (RFC 9113 section 6.9.2).
const FIRST_WINDOW: u32 = 65_535;

/// One end of a connection. `T` is what it makes of header blocks.
pub struct Link<T> {
    /// The socket.
    pub socket: Socket,
    /// The peer's header blocks.
    pub decoder: Decoder<T>,
    /// How much may be sent on the connection.
    pub window: i64,
    /// How much may be sent on a new stream.
    pub initial: i64,
    /// How many streams the peer lets us open.
    pub peer_streams: u32,
    /// The table that the peer has for our header blocks.
    pub peer_table: usize,
    /// Whether the peer's SETTINGS came.
    pub settled: bool,
    max_frame: usize,
    /// Received since the connection's window was last filled up.
    taken: u32,
    /// A header block that goes on in CONTINUATION, and its stream and flags.
    block: Vec<u8>,
    head: (u32, u8),
    /// The beginning of a frame.
    cut: Vec<u8>,
}

/// What a frame means to the one who runs the streams.
#[allow(missing_docs)] // The fields are what their names say.
pub enum Event<'a> {
    /// A whole header block.
    Headers { stream: u32, block: Cow<'a, [u8]>, end: bool },
    /// Data.
    Data { stream: u32, bytes: &'a [u8], end: bool },
    /// There is more room on a stream.
    Window { stream: u32, more: i64 },
    /// There is more or less room on every stream, or more on the connection.
    Windows { more: i64 },
    /// The stream is over.
    Reset { stream: u32, code: u32 },
    /// No stream above `last` is served; no new ones.
    GoAway { last: u32 },
    /// Nothing.
    Handled,
}

/// A frame broke the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl<T: Copy> Link<T> {
    /// Greets: SETTINGS, and a large window for the connection. A client has sent the preface before.
    pub fn new(socket: Socket, more: &[(u16, u32)]) -> Self {
        let mut link = Self {
            socket,
            decoder: Decoder::default(),
            window: i64::from(FIRST_WINDOW),
            initial: i64::from(FIRST_WINDOW),
            peer_streams: u32::MAX,
            peer_table: super::hpack::TABLE,
            settled: false,
            max_frame: 16_384,
            taken: 0,
            block: Vec::new(),
            head: (0, 0),
            cut: Vec::new(),
        };
        let settings: Vec<_> =
            [(4, STREAM_WINDOW)].into_iter().chain(more.iter().copied()).collect();
        frame::put_settings(&mut link.socket.out, &settings);
        frame::put_window(&mut link.socket.out, 0, CONNECTION_WINDOW - FIRST_WINDOW);
        link
    }

    /// The cut frame of the last read followed by `bytes`, or just `bytes`.
    pub fn join<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.cut.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut joined = std::mem::take(&mut self.cut);
        joined.extend_from_slice(bytes);
        Cow::Owned(joined)
    }

    /// Keeps what is left of a read for `join`.
    pub fn keep(&mut self, rest: &[u8]) {
        self.cut.extend_from_slice(rest);
    }

    /// Does what a frame asks of the connection, and says what it means to its stream.
    ///
    /// # Errors
    /// When the frame is malformed; the connection is of no use then.
    pub fn take<'a>(&mut self, frame: &Frame<'a>) -> Result<Event<'a>, Broken> {
        let stream = frame.stream;
        match frame.kind {
            frame::DATA => {
                self.taken += frame.payload.len() as u32;
                if self.taken >= CONNECTION_WINDOW / 2 {
                    let taken = std::mem::take(&mut self.taken);
                    frame::put_window(&mut self.socket.out, 0, taken);
                }
                let bytes = frame.content().ok_or(Broken)?;
                Ok(Event::Data { stream, bytes, end: frame.has(END_STREAM) })
            }
            frame::HEADERS => {
                let block = frame.content().ok_or(Broken)?;
                if frame.has(END_HEADERS) {
                    let end = frame.has(END_STREAM);
                    return Ok(Event::Headers { stream, block: Cow::Borrowed(block), end });
                }
                self.head = (stream, frame.flags);
                self.block = block.to_vec();
                Ok(Event::Handled)
            }
            frame::CONTINUATION => {
                self.block.extend_from_slice(frame.payload);
                if !frame.has(END_HEADERS) {
                    return Ok(Event::Handled);
                }
                let (stream, flags) = self.head;
                let block = Cow::Owned(std::mem::take(&mut self.block));
                Ok(Event::Headers { stream, block, end: flags & END_STREAM != 0 })
            }
            frame::RST_STREAM => Ok(Event::Reset { stream, code: frame.word(0).ok_or(Broken)? }),
            frame::SETTINGS if frame.has(ACK) => Ok(Event::Handled),
            frame::SETTINGS => self.settings(frame),
            frame::PING if frame.has(ACK) => Ok(Event::Handled),
            frame::PING => {
                frame::put(&mut self.socket.out, frame::PING, ACK, 0, frame.payload);
                Ok(Event::Handled)
            }
            frame::GOAWAY => Ok(Event::GoAway { last: frame.word(0).ok_or(Broken)? & 0x7fff_ffff }),
            frame::WINDOW_UPDATE => {
                let more = i64::from(frame.word(0).ok_or(Broken)? & 0x7fff_ffff);
                if stream != 0 {
                    return Ok(Event::Window { stream, more });
                }
                self.window += more;
                Ok(Event::Windows { more: 0 })
            }
            _ => Ok(Event::Handled),
        }
    }

    fn settings(&mut self, frame: &Frame<'_>) -> Result<Event<'static>, Broken> {
        let before = self.initial;
        for setting in frame.payload.chunks(6) {
            let [a, b, v @ ..] = *setting.first_chunk::<6>().ok_or(Broken)?;
            let value = u32::from_be_bytes(v);
            match u16::from_be_bytes([a, b]) {
                1 => self.peer_table = value as usize,
                3 => self.peer_streams = value,
                4 => self.initial = i64::from(value),
                5 => self.max_frame = value as usize,
                _ => {}
            }
        }
        self.settled = true;
        frame::put(&mut self.socket.out, frame::SETTINGS, ACK, 0, &[]);
        Ok(Event::Windows { more: self.initial - before })
    }

    /// Writes as much of `bytes` as the windows allow; with `end` and all of it, the end of the stream.
    /// Nothing is written for no bytes, unless they end the stream. Says how much was written.
    pub fn send(&mut self, stream: u32, window: &mut i64, bytes: &[u8], end: bool) -> usize {
        let room = self.window.min(*window).max(0) as usize;
        let now = &bytes[..bytes.len().min(room)];
        let all = now.len() == bytes.len();
        if now.is_empty() && all && end {
            frame::put(&mut self.socket.out, frame::DATA, END_STREAM, stream, &[]);
        }
        let last = now.len().div_ceil(self.max_frame);
        for (n, part) in now.chunks(self.max_frame).enumerate() {
            let flags = if end && all && n + 1 == last { END_STREAM } else { 0 };
            frame::put(&mut self.socket.out, frame::DATA, flags, stream, part);
        }
        self.window -= now.len() as i64;
        *window -= now.len() as i64;
        now.len()
    }

    /// Fills a stream's window up when half of it was received; `taken` is what was since the last time.
    pub fn credit(&mut self, stream: u32, taken: &mut u32, more: usize) {
        *taken += more as u32;
        if *taken >= STREAM_WINDOW / 2 {
            frame::put_window(&mut self.socket.out, stream, std::mem::take(taken));
        }
    }
}

/// Streams by their id.
pub type Streams<S> = HashMap<u32, S, BuildHasherDefault<IdHash>>;

/// Ids ascend by two: one multiplication spreads them.
#[derive(Clone, Copy, Default)]
pub struct IdHash(u64);

impl Hasher for IdHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        let product = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn write_u64(&mut self, id: u64) {
        self.write_u32(id as u32);
    }
}
