//! One end of an HTTP/2 connection, frame by frame: for peers that do what no library would do.

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

/// A connection. It answers SETTINGS and PING by itself.
#[derive(Debug)]
pub struct Wire {
    socket: TcpStream,
    /// Whether DATA that comes in is credited at once, for its stream and the connection.
    pub credits: bool,
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
        Ok(Self { socket, credits: true })
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
            frames::DATA if self.credits && !frame.payload.is_empty() => self.credit(&frame)?,
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
        let credit = u32::try_from(frame.payload.len()).unwrap_or(u32::MAX);
        let mut updates = frames::window_update(0, credit);
        if !frame.ends() {
            updates.extend(frames::window_update(frame.stream, credit));
        }
        self.send(&updates)
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
