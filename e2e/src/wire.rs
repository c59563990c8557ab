//! One end of an HTTP/2 connection, frame by frame: for peers that do what no library would do.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::frames;

/// Nobody is waited for longer than this.
const LIMIT: Duration = Duration::from_secs(60);

/// A frame that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// One of the kinds in [`frames`].
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// What it carries, padding included.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether it ends its stream, in this direction at least.
    pub fn ends(&self) -> bool {
        let carries = [frames::DATA, frames::HEADERS].contains(&self.kind);
        self.kind == frames::RST_STREAM || carries && self.flags & frames::END_STREAM != 0
    }

    /// The number in four bytes of the payload, such as an error code.
    pub fn number(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    }
}

/// The window of every connection and stream until somebody says otherwise (RFC 9113, 6.9.2).
const WINDOW: i64 = 65_535;
/// Bytes of DATA that are credited together.
const CREDITED: u32 = 16_384;
/// The longest frame that every peer takes.
const LONGEST: usize = 16_384;

/// A connection. It answers SETTINGS and PING by itself, credits what it has read, and keeps the windows
/// that the other end opens.
#[derive(Debug)]
pub struct Wire {
    socket: TcpStream,
    /// DATA read and not yet credited, by stream; 0 is the connection.
    owed: HashMap<u32, u32>,
    /// What may be sent, by stream, counted from the initial window; 0 is the connection.
    windows: HashMap<u32, i64>,
    initial_window: i64,
}

impl Wire {
    /// The client's end: preface and SETTINGS are sent.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn connect(to: SocketAddr, settings: &[(u16, u32)]) -> io::Result<Self> {
        let mut wire = Self::new(TcpStream::connect_timeout(&to, Duration::from_secs(10))?)?;
        wire.send(frames::PREFACE)?;
        wire.send(&frames::settings(settings))?;
        Ok(wire)
    }

    /// The server's end: the preface is read, SETTINGS are sent.
    ///
    /// # Errors
    /// Those of the socket, or something else than the preface.
    pub fn accept(socket: TcpStream, settings: &[(u16, u32)]) -> io::Result<Self> {
        let mut wire = Self::new(socket)?;
        let mut preface = [0; frames::PREFACE.len()];
        wire.socket.read_exact(&mut preface)?;
        if preface != *frames::PREFACE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no preface"));
        }
        wire.send(&frames::settings(settings))?;
        Ok(wire)
    }

    fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.set_write_timeout(Some(LIMIT))?;
        let (owed, windows) = (HashMap::new(), HashMap::from([(0, WINDOW)]));
        Ok(Self { socket, owed, windows, initial_window: WINDOW })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// The next frame. SETTINGS and PING that want an answer have got it.
    ///
    /// # Errors
    /// Those of the socket; `UnexpectedEof` when the other end closed it.
    pub fn frame(&mut self) -> io::Result<Frame> {
        let frame = self.read()?;
        match frame.kind {
            frames::SETTINGS | frames::PING if frame.flags & frames::ACK == 0 => {
                let answer =
                    if frame.kind == frames::PING { frame.payload.as_slice() } else { &[] };
                self.send(&frames::frame(frame.kind, frames::ACK, 0, answer))?;
            }
            frames::DATA => self.credit(&frame)?,
            _ => {}
        }
        match frame.kind {
            frames::SETTINGS => self.settings(&frame.payload),
            frames::WINDOW_UPDATE => {
                *self.windows.entry(frame.stream).or_default() += i64::from(frame.number(0));
            }
            _ => {}
        }
        Ok(frame)
    }

    fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    fn credit(&mut self, frame: &Frame) -> io::Result<()> {
        let read = u32::try_from(frame.payload.len()).unwrap_or(u32::MAX);
        for stream in [0, frame.stream] {
            let owed = self.owed.entry(stream).or_default();
            *owed += read;
            if *owed >= CREDITED {
                let credit = std::mem::take(owed);
                self.send(&frames::window_update(stream, credit))?;
            }
        }
        if frame.ends() {
            self.owed.remove(&frame.stream);
        }
        Ok(())
    }

    fn settings(&mut self, payload: &[u8]) {
        for entry in payload.chunks_exact(6).filter(|entry| entry[..2] == [0, 4]) {
            let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
            self.initial_window = i64::from(value);
        }
    }

    /// Sends DATA as fast as the other end opens its windows.
    ///
    /// # Errors
    /// Those of [`Wire::frame`]; `ConnectionReset` when the stream was reset.
    pub fn send_data(&mut self, stream: u32, mut bytes: &[u8], end: bool) -> io::Result<()> {
        loop {
            let room = self.room(stream).min(LONGEST).min(bytes.len());
            if room > 0 || bytes.is_empty() {
                let (now, rest) = bytes.split_at(room);
                bytes = rest;
                self.send(&frames::data(stream, now, end && rest.is_empty()))?;
                let sent = i64::try_from(room).unwrap_or(i64::MAX);
                *self.windows.entry(0).or_default() -= sent;
                *self.windows.entry(stream).or_default() -= sent;
                if rest.is_empty() {
                    return Ok(());
                }
                continue;
            }
            let frame = self.frame()?;
            if frame.kind == frames::RST_STREAM && frame.stream == stream {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
    }

    /// What both windows allow to be sent now.
    fn room(&self, stream: u32) -> usize {
        let of = |stream| self.windows.get(&stream).copied().unwrap_or(0);
        usize::try_from(of(0).min(self.initial_window + of(stream))).unwrap_or(0)
    }

    /// Reads until a stream has ended: the frames of it.
    ///
    /// # Errors
    /// Those of [`Wire::frame`].
    pub fn until_end(&mut self, stream: u32) -> io::Result<Vec<Frame>> {
        let mut all = Vec::new();
        loop {
            let frame = self.frame()?;
            if frame.stream != stream || frame.kind == frames::WINDOW_UPDATE {
                continue;
            }
            let ends = frame.ends();
            all.push(frame);
            if ends {
                return Ok(all);
            }
        }
    }

    /// Reads until the caller has ended its side of a call, and returns the stream.
    ///
    /// # Errors
    /// Those of [`Wire::frame`].
    pub fn request(&mut self) -> io::Result<u32> {
        loop {
            let frame = self.frame()?;
            if frame.ends() && frame.kind != frames::RST_STREAM {
                return Ok(frame.stream);
            }
        }
    }

    /// Whether bytes have come that are not read yet.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn has_more(&self) -> io::Result<bool> {
        self.socket.set_nonblocking(true)?;
        let peeked = self.socket.peek(&mut [0]);
        self.socket.set_nonblocking(false)?;
        match peeked {
            Ok(bytes) => Ok(bytes > 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Answers a call of `pigeon.demo.v1.Echo/Ping` well.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn answer(&mut self, stream: u32) -> io::Result<()> {
        self.send(&answer(stream))
    }

    /// Reads until the other end closes the connection, or nothing has come for a minute.
    pub fn rest(&mut self) {
        while self.frame().is_ok() {}
    }

    /// The socket, for what is done to it directly.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

/// A whole answer to `pigeon.demo.v1.Echo/Ping`, from an engine that calls itself `scripted`.
pub fn answer(stream: u32) -> Vec<u8> {
    // PingReply: field 2, the engine's name.
    let message = frames::grpc_message(false, b"\x12\x08scripted");
    [
        frames::grpc_head(stream, &[]),
        frames::data(stream, &message, false),
        frames::grpc_trailers(stream, "0"),
    ]
    .concat()
}
