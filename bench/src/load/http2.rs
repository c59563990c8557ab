//! The client's side of HTTP/2.

use std::time::Instant;

use super::call::{Call, Shared};
use super::plan::{Extent, Kind};
use crate::wire::frame::{self, END_HEADERS, Frame};
use crate::wire::link::{Broken, Event, Link, Streams};
use crate::wire::request::RequestBlock;
use crate::wire::socket::Socket;

const CANCEL: u32 = 8;

/// What a header block of an answer says.
#[derive(Clone, Copy, Default)]
pub struct Head {
    status: u32,
    grpc: Option<u32>,
}

/// A connection.
pub struct Http2 {
    pub(super) link: Link<Head>,
    request: RequestBlock,
    calls: Streams<Call>,
    blocked: Vec<u32>,
    next: u32,
    /// No more calls begin here.
    going: bool,
}

impl Http2 {
    /// Greets.
    pub fn new(mut socket: Socket, shared: &Shared<'_>) -> Self {
        socket.out.extend_from_slice(frame::PREFACE);
        let fields = shared.plan.fields();
        let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = RequestBlock::new(fields, shared.plan.timeout);
        let (calls, blocked) = (Streams::default(), Vec::new());
        // No pushes.
        let link = Link::new(socket, &[(2, 0)]);
        Self { link, request, calls, blocked, next: 1, going: false }
    }

    /// Calls under way.
    pub fn running(&self) -> usize {
        self.calls.len()
    }

    /// Whether the server has greeted.
    pub fn is_settled(&self) -> bool {
        self.link.settled
    }

    /// Calls at once that the server allows.
    pub fn limit(&self) -> usize {
        self.link.peer_streams as usize
    }

    /// Whether a call can begin.
    pub fn has_room(&self, shared: &Shared<'_>) -> bool {
        let most = shared.plan.streams.min(self.limit());
        self.link.settled && !self.going && self.calls.len() < most
    }

    /// Whether it is of no more use.
    pub fn is_spent(&self) -> bool {
        self.going && self.calls.is_empty()
    }

    /// Begins a call that was to begin when it was `due`.
    pub fn begin(&mut self, due: Instant, shared: &mut Shared<'_>) {
        let id = self.next;
        if id == 1 {
            self.request.limit(self.link.peer_table);
        }
        self.next += 2;
        self.going |= shared.plan.fresh;
        let mut call = Call::new(shared.begun, due, self.link.initial);
        shared.begun += 1;
        let out = &mut self.link.socket.out;
        let head = out.len();
        frame::put_head(out, 0, frame::HEADERS, END_HEADERS, id);
        self.request.put(out, call.number);
        let length = (out.len() - head - frame::HEAD) as u32;
        out[head..head + 3].copy_from_slice(&length.to_be_bytes()[1..]);
        let plan = shared.plan;
        let first = match plan.kind {
            Kind::Client => plan.messages,
            Kind::Bidi if plan.extent == Extent::Idle => 1,
            Kind::Bidi if plan.messages > 0 => plan.in_flight.min(plan.messages),
            Kind::Bidi => plan.in_flight,
            _ => 1,
        };
        let last = plan.kind != Kind::Bidi || first == plan.messages;
        for n in 1..=first {
            self.send(id, &mut call, last && n == first, shared);
        }
        self.calls.insert(id, call);
    }

    /// Sends the next message of a call.
    fn send(&mut self, id: u32, call: &mut Call, end: bool, shared: &mut Shared<'_>) {
        let mut bytes = Vec::with_capacity(shared.plan.size + 5);
        call.put_next(shared, &mut bytes);
        self.send_bytes(id, call, &bytes, end);
        if shared.plan.flush_each {
            // A lost connection shows at the end of the turn as well.
            let _ = self.link.socket.flush();
        }
    }

    fn send_bytes(&mut self, id: u32, call: &mut Call, bytes: &[u8], end: bool) {
        call.ended |= end;
        if !call.waiting.is_empty() {
            call.waiting.push(bytes);
            return;
        }
        let sent = self.link.send(id, &mut call.window, bytes, end);
        if sent < bytes.len() {
            call.waiting.push(&bytes[sent..]);
            self.blocked.push(id);
        }
    }

    /// Takes what came.
    pub fn receive(&mut self, bytes: &[u8], shared: &mut Shared<'_>) -> Result<(), Broken> {
        let joined = self.link.join(bytes);
        let mut rest = &joined[..];
        while let Some(frame) = Frame::next(&mut rest) {
            match self.link.take(&frame)? {
                Event::Headers { stream, block, end } => self.head(stream, &block, end, shared)?,
                Event::Data { stream, bytes, end } => self.data(stream, bytes, end, shared),
                Event::Window { stream, more } => {
                    if let Some(call) = self.calls.get_mut(&stream) {
                        call.window += more;
                    }
                    self.unblock();
                }
                Event::Windows { more } => {
                    if more != 0 {
                        self.calls.values_mut().for_each(|call| call.window += more);
                    }
                    self.unblock();
                }
                Event::Reset { stream, code } => {
                    if self.calls.remove(&stream).is_some() {
                        shared.tally.fail(&format!("reset_{code}"));
                    }
                }
                Event::GoAway { last } => {
                    self.going = true;
                    let before = self.calls.len();
                    self.calls.retain(|id, _| *id <= last);
                    (self.calls.len()..before).for_each(|_| shared.tally.fail("goaway"));
                }
                Event::Handled => {}
            }
        }
        self.link.keep(rest);
        Ok(())
    }

    fn head(&mut self, id: u32, block: &[u8], end: bool, s: &mut Shared<'_>) -> Result<(), Broken> {
        let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
        let field = |head: &mut Head, name: &[u8], value: &[u8]| match name {
            b":status" => head.status = number(value).unwrap_or(0),
            b"grpc-status" => head.grpc = Some(number(value).unwrap_or(u32::MAX)),
            _ => {}
        };
        let head = self.link.decoder.read(block, Head::default(), field).ok_or(Broken)?;
        let Some(call) = self.calls.get_mut(&id) else { return Ok(()) };
        if !call.headed && head.status != 200 {
            call.wrong(&format!("http_{}", head.status));
        }
        call.headed = true;
        if let Some(status) = head.grpc.filter(|status| *status != 0) {
            call.wrong(&format!("grpc_{status}"));
        }
        if end {
            if head.grpc.is_none() && s.plan.kind != Kind::H2 {
                call.wrong("no_status");
            }
            self.finish(id, s);
        }
        Ok(())
    }

    fn data(&mut self, id: u32, bytes: &[u8], end: bool, shared: &mut Shared<'_>) {
        let Some(mut call) = self.calls.remove(&id) else { return };
        if !end {
            self.link.credit(id, &mut call.taken, bytes.len());
        }
        let before = call.received;
        call.take(bytes, shared);
        if shared.plan.kind == Kind::Bidi && shared.plan.extent != Extent::Idle {
            for _ in before..call.received {
                self.go_on(id, &mut call, shared);
            }
        }
        self.calls.insert(id, call);
        if end {
            if shared.plan.kind != Kind::H2 {
                self.calls.entry(id).and_modify(|call| call.wrong("no_trailers"));
            }
            self.finish(id, shared);
        }
    }

    /// An answer came on a bidirectional stream: the next message, or the end.
    fn go_on(&mut self, id: u32, call: &mut Call, shared: &mut Shared<'_>) {
        if call.ended {
            return;
        }
        let most = if shared.plan.messages == 0 { u64::MAX } else { shared.plan.messages };
        if !shared.stopping && call.sent < most {
            self.send(id, call, call.sent + 1 == most, shared);
        } else if call.received == call.sent {
            self.send_bytes(id, call, &[], true);
        }
    }

    fn finish(&mut self, id: u32, shared: &mut Shared<'_>) {
        let Some(call) = self.calls.remove(&id) else { return };
        if !call.ended || !call.waiting.is_empty() {
            let code = CANCEL.to_be_bytes();
            frame::put(&mut self.link.socket.out, frame::RST_STREAM, 0, id, &code);
        }
        let (due, sent) = (call.due, call.sent);
        match call.verdict(shared.plan) {
            Some(fault) => shared.tally.fail(&fault),
            None => {
                shared.tally.calls += 1;
                if shared.plan.kind == Kind::Client {
                    shared.tally.messages += sent;
                }
                if shared.plan.kind != Kind::Bidi {
                    shared.tally.took(shared.now.saturating_duration_since(due));
                }
            }
        }
    }

    /// Ends the streams that would go on for ever; those with answers to come end with the last of them.
    pub fn stop(&mut self) {
        let quiet: Vec<u32> = self
            .calls
            .iter()
            .filter(|(_, call)| !call.ended && call.received == call.sent)
            .map(|(id, _)| *id)
            .collect();
        for id in quiet {
            if let Some(mut call) = self.calls.remove(&id) {
                self.send_bytes(id, &mut call, &[], true);
                self.calls.insert(id, call);
            }
        }
    }

    /// The connection is lost, and its calls with it.
    pub fn lose(&mut self, shared: &mut Shared<'_>) {
        self.calls.drain().for_each(|_| shared.tally.fail("connection_lost"));
    }

    fn unblock(&mut self) {
        for id in std::mem::take(&mut self.blocked) {
            let Some(call) = self.calls.get_mut(&id) else { continue };
            let sent = self.link.send(id, &mut call.window, call.waiting.left(), call.ended);
            call.waiting.take(sent);
            if !call.waiting.is_empty() {
                self.blocked.push(id);
            }
        }
    }

    /// Messages that came back on streams that are open.
    pub fn answered(&self) -> usize {
        self.calls.values().filter(|call| call.received > 0).count()
    }
}
