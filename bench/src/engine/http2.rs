//! The engine's side of HTTP/2: gRPC echo of four kinds, and plain requests.

use std::time::Instant;

use super::later::{Delay, Later};
use super::{Over, SERVICE, Shared};
use crate::wire::frame::{self, END_HEADERS, END_STREAM, Frame};
use crate::wire::hpack::{TABLE, put_plain};
use crate::wire::link::{Event, Link, Streams};
use crate::wire::messages::{Messages, PREFIX, put_prefix};
use crate::wire::socket::Socket;
use crate::wire::waiting::Waiting;

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One message, echoed.
    Unary,
    /// One message, echoed many times.
    Server,
    /// Many messages, answered by their number and their bytes.
    Client,
    /// Every message is echoed.
    Bidi,
    /// No gRPC: the body is echoed.
    Plain,
    /// The counters.
    Stats,
}

impl Kind {
    fn of(path: &[u8]) -> Self {
        match path.strip_prefix(SERVICE.as_bytes()) {
            Some(b"Server") => Self::Server,
            Some(b"Client") => Self::Client,
            Some(b"Bidi") => Self::Bidi,
            Some(_) => Self::Unary,
            None if path == b"/stats" => Self::Stats,
            None => Self::Plain,
        }
    }

    fn is_grpc(self) -> bool {
        !matches!(self, Self::Plain | Self::Stats)
    }
}

struct Stream {
    kind: Kind,
    window: i64,
    taken: u32,
    messages: Messages,
    /// Of unary and plain requests: what came.
    body: Vec<u8>,
    count: u64,
    bytes: u64,
    headed: bool,
    /// What the windows have no room for, and whether the call ends after it.
    waiting: Waiting,
    ends: bool,
    /// The time of the latest delayed answer: the next one is not before it.
    latest: Instant,
}

/// A connection.
pub struct Http2 {
    pub(super) link: Link<Kind>,
    token: u64,
    streams: Streams<Stream>,
    /// Streams with something waiting for room.
    blocked: Vec<u32>,
    table: AnswerTable,
}

impl Http2 {
    /// Greets a client whose preface came.
    pub fn new(socket: Socket, token: u64, shared: &Shared) -> Self {
        let most = shared.settings.max_streams.map(|most| (3, most));
        let link = Link::new(socket, most.as_slice());
        let (streams, blocked) = (Streams::default(), Vec::new());
        Self { link, token, streams, blocked, table: AnswerTable::default() }
    }

    /// How many calls run.
    pub fn running(&self) -> u32 {
        self.streams.len() as u32
    }

    /// Takes what came.
    pub fn receive(&mut self, bytes: &[u8], shared: &mut Shared) -> Result<(), Over> {
        let joined = self.link.join(bytes);
        let mut rest = &joined[..];
        while let Some(frame) = Frame::next(&mut rest) {
            match self.link.take(&frame).map_err(|_| Over)? {
                Event::Headers { stream, block, end } => self.open(stream, &block, end, shared)?,
                Event::Data { stream, bytes, end } => self.data(stream, bytes, end, shared)?,
                Event::Window { stream, more } => {
                    if let Some(stream) = self.streams.get_mut(&stream) {
                        stream.window += more;
                    }
                    self.unblock(shared);
                }
                Event::Windows { more } => {
                    if more != 0 {
                        self.streams.values_mut().for_each(|stream| stream.window += more);
                    }
                    self.unblock(shared);
                }
                Event::Reset { stream, .. } => {
                    if self.streams.remove(&stream).is_some() {
                        shared.stats.end();
                    }
                }
                Event::GoAway { .. } | Event::Handled => {}
            }
        }
        self.link.keep(rest);
        Ok(())
    }

    fn open(&mut self, id: u32, block: &[u8], end: bool, shared: &mut Shared) -> Result<(), Over> {
        let path = |kind: &mut Kind, name: &[u8], value: &[u8]| {
            if name == b":path" {
                *kind = Kind::of(value);
            }
        };
        let kind = self.link.decoder.read(block, Kind::Plain, path).ok_or(Over)?;
        if self.streams.contains_key(&id) {
            // Trailers of a request: nothing but its end.
            return if end { self.end_of_request(id, shared) } else { Err(Over) };
        }
        if kind != Kind::Stats && !shared.stats.begin(shared.settings.slots) {
            self.refuse(id, kind);
            return Ok(());
        }
        let stream = Stream {
            kind,
            window: self.link.initial,
            taken: 0,
            messages: Messages::default(),
            body: Vec::new(),
            count: 0,
            bytes: 0,
            headed: false,
            waiting: Waiting::default(),
            ends: false,
            latest: shared.now,
        };
        if kind == Kind::Stats {
            let json = shared.stats.json().into_bytes();
            shared.stats.running += 1;
            self.streams.insert(id, stream);
            self.send(id, &json, true, shared);
            return Ok(());
        }
        self.streams.insert(id, stream);
        if end { self.end_of_request(id, shared) } else { Ok(()) }
    }

    fn refuse(&mut self, id: u32, kind: Kind) {
        let out = &mut self.link.socket.out;
        let mut block = Vec::new();
        if kind.is_grpc() {
            block.push(0x88);
            put_plain(&mut block, "content-type", "application/grpc");
            put_plain(&mut block, "grpc-status", "8");
            put_plain(&mut block, "grpc-message", "no slot is free");
        } else {
            put_plain(&mut block, ":status", "503");
        }
        frame::put(out, frame::HEADERS, END_HEADERS | END_STREAM, id, &block);
    }

    fn data(&mut self, id: u32, bytes: &[u8], end: bool, shared: &mut Shared) -> Result<(), Over> {
        // What comes for a stream that is over is for nobody.
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if !end && stream.waiting.is_empty() {
            self.link.credit(id, &mut stream.taken, bytes.len());
        } else {
            stream.taken += bytes.len() as u32;
        }
        match stream.kind {
            Kind::Unary | Kind::Server | Kind::Plain if end && stream.body.is_empty() => {
                return self.whole(id, bytes, shared);
            }
            Kind::Unary | Kind::Server | Kind::Plain => stream.body.extend_from_slice(bytes),
            Kind::Client => {
                let (count, sum) = (&mut stream.count, &mut stream.bytes);
                let each = |message: &[u8]| {
                    *count += 1;
                    *sum += (message.len() - PREFIX) as u64;
                };
                stream.messages.feed(bytes, each).then_some(()).ok_or(Over)?;
            }
            Kind::Bidi => {
                let mut messages = std::mem::take(&mut stream.messages);
                let well = messages.feed(bytes, |message| self.reply(id, message, false, shared));
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.messages = messages;
                }
                well.then_some(()).ok_or(Over)?;
            }
            Kind::Stats => {}
        }
        if end { self.end_of_request(id, shared) } else { Ok(()) }
    }

    fn end_of_request(&mut self, id: u32, shared: &mut Shared) -> Result<(), Over> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        match stream.kind {
            Kind::Unary | Kind::Server | Kind::Plain => {
                let body = std::mem::take(&mut stream.body);
                self.whole(id, &body, shared)
            }
            Kind::Client => {
                let mut answer = Vec::with_capacity(PREFIX + 16);
                put_prefix(&mut answer, 16);
                answer.extend_from_slice(&stream.count.to_be_bytes());
                answer.extend_from_slice(&stream.bytes.to_be_bytes());
                self.reply(id, &answer, true, shared);
                Ok(())
            }
            Kind::Bidi => {
                self.reply(id, &[], true, shared);
                Ok(())
            }
            Kind::Stats => Ok(()),
        }
    }

    /// The whole body of a request whose kind takes one.
    fn whole(&mut self, id: u32, body: &[u8], shared: &mut Shared) -> Result<(), Over> {
        let kind = self.streams.get(&id).ok_or(Over)?.kind;
        match kind {
            Kind::Server => {
                let last = shared.settings.messages.max(1) - 1;
                (0..last).for_each(|_| self.reply(id, body, false, shared));
                self.reply(id, body, true, shared);
            }
            Kind::Plain if body.is_empty() => {
                let fixed = std::mem::take(&mut shared.fixed);
                self.reply(id, &fixed, true, shared);
                shared.fixed = fixed;
            }
            _ => self.reply(id, body, true, shared),
        }
        Ok(())
    }

    /// Sends an answer, now or later.
    fn reply(&mut self, id: u32, bytes: &[u8], end: bool, shared: &mut Shared) {
        if shared.settings.delay == Delay::None {
            self.send(id, bytes, end, shared);
            return;
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let later = Later { token: self.token, stream: id, bytes: bytes.to_vec(), end };
        // The bare end of a stream takes no time of its own.
        let delay = if bytes.is_empty() { Delay::None } else { shared.settings.delay };
        stream.latest = shared.timers.keep(delay, shared.now, stream.latest, later);
    }

    /// The time of a delayed answer has come.
    pub fn answer(&mut self, later: &Later, shared: &mut Shared) {
        self.send(later.stream, &later.bytes, later.end, shared);
    }

    fn send(&mut self, id: u32, bytes: &[u8], end: bool, shared: &mut Shared) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let grpc = stream.kind.is_grpc();
        if !std::mem::replace(&mut stream.headed, true) {
            let table = self.link.peer_table;
            self.table.put_head(&mut self.link.socket.out, id, grpc, table);
        }
        stream.ends |= end;
        if !stream.waiting.is_empty() {
            stream.waiting.push(bytes);
            return;
        }
        let sent = self.link.send(id, &mut stream.window, bytes, end && !grpc);
        if sent < bytes.len() {
            stream.waiting.push(&bytes[sent..]);
            self.blocked.push(id);
        } else if end {
            self.finish(id, shared);
        }
        if shared.settings.flush_each {
            // A lost connection shows at the end of the turn as well.
            let _ = self.link.socket.flush();
        }
    }

    /// Everything is sent.
    fn finish(&mut self, id: u32, shared: &mut Shared) {
        let Some(stream) = self.streams.remove(&id) else { return };
        shared.stats.end();
        if stream.kind.is_grpc() {
            let table = self.link.peer_table;
            self.table.put_trailers(&mut self.link.socket.out, id, table);
        }
    }

    /// Sends what waited, as far as there is room now.
    fn unblock(&mut self, shared: &mut Shared) {
        let blocked = std::mem::take(&mut self.blocked);
        for id in blocked {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let end = stream.ends && !stream.kind.is_grpc();
            let sent = self.link.send(id, &mut stream.window, stream.waiting.left(), end);
            stream.waiting.take(sent);
            if !stream.waiting.is_empty() {
                self.blocked.push(id);
            } else if stream.ends {
                self.finish(id, shared);
            } else {
                // Its sender may go on.
                let mut taken = std::mem::take(&mut stream.taken);
                self.link.credit(id, &mut taken, 0);
                stream.taken = taken;
            }
        }
    }
}

/// The two header blocks of an answer. As real engines do, their fields go into the dynamic table with the
/// first answer, and are a byte each from then on; unless the client (nginx) wants no table.
#[derive(Default)]
struct AnswerTable {
    content_type: bool,
    status: bool,
    /// The client's table is too small, and it was told that nothing goes in there.
    told: bool,
}

impl AnswerTable {
    /// `table`: the size that the client has for us.
    fn put_head(&mut self, out: &mut Vec<u8>, id: u32, grpc: bool, table: usize) {
        // 0x88: status 200. 0x0f 0x10: content-type, not into the table; 0x5f: into the table.
        let mut block = match (grpc, self.content_type) {
            (false, _) => b"\x88\x0f\x10\x0atext/plain".to_vec(),
            (true, _) if table < TABLE => b"\x88\x0f\x10\x10application/grpc".to_vec(),
            (true, false) => b"\x88\x5f\x10application/grpc".to_vec(),
            (true, true) => {
                // The newest entry is 62; the status came after the type.
                let head = [0x88, 0x80 | (62 + u8::from(self.status))];
                return frame::put(out, frame::HEADERS, END_HEADERS, id, &head);
            }
        };
        self.content_type |= grpc;
        if table < TABLE && !std::mem::replace(&mut self.told, true) {
            block.insert(0, 0x20);
        }
        frame::put(out, frame::HEADERS, END_HEADERS, id, &block);
    }

    fn put_trailers(&mut self, out: &mut Vec<u8>, id: u32, table: usize) {
        let flags = END_HEADERS | END_STREAM;
        if table < TABLE {
            frame::put(out, frame::HEADERS, flags, id, b"\x00\x0bgrpc-status\x010");
        } else if std::mem::replace(&mut self.status, true) {
            frame::put(out, frame::HEADERS, flags, id, &[0x80 | 62]);
        } else {
            frame::put(out, frame::HEADERS, flags, id, b"\x40\x0bgrpc-status\x010");
        }
    }
}
