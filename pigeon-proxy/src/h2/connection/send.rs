//! What is sent: streams of our own, heads, bodies, window updates.

use super::super::flow::{MAX_WINDOW, SendWindow};
use super::super::frame::{self, HEADER, MAX_PAYLOAD, flag, kind};
use super::super::hpack::Encoder;
use super::super::streams::{Key, seen};
use super::{Connection, Role};

impl Connection {
    /// Whether [`Connection::open`] would open a stream now.
    #[inline]
    pub fn can_open(&self) -> bool {
        self.role == Role::Client
            && self.goaway.is_none()
            && self.failed.is_none()
            && !self.is_shutting_down()
            && self.last < MAX_WINDOW
            && self.streams() < self.peer_max_streams as usize
    }

    /// Opens a stream (client). Its head must be sent before another is opened. `None`: a GOAWAY came or was sent,
    /// ids are used up, or the peer allows no more streams now.
    pub fn open(&mut self, tag: u32) -> Option<Key> {
        if !self.can_open() {
            return None;
        }
        self.last = if self.last == 0 { 1 } else { self.last + 2 };
        let send = SendWindow::new(self.peer_initial_window);
        Some(self.streams.insert(self.last, tag, send, self.receive_window()))
    }

    /// Queues HEADERS (and CONTINUATION) with the block that `write` appends. `write` is not called if the stream
    /// is gone or its sending side has ended.
    #[inline]
    pub fn send_headers(
        &mut self,
        key: Key,
        end: bool,
        write: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) {
        let Some(stream) = self.streams.get_mut(key).filter(|s| !s.has(seen::SEND_ENDED)) else {
            return;
        };
        stream.seen |= seen::HEAD_SENT;
        let out = &mut self.output.buffer;
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        self.encoder.begin(out);
        write(&mut self.encoder, out);
        frame::frame_block(out, start, key.id, end);
        if end {
            self.end_sent(key);
        }
    }

    /// Queues as much of `bytes` as the windows and `room` bytes of output (frame headers included) allow, with
    /// END_STREAM when all is taken and `end`. Returns how much was taken: nothing if the stream is gone or
    /// its head is not sent. An `end` without bytes is always taken. If it is less than all for want of window, a `Writable` or `WritableAll`
    /// tells when to go on.
    #[inline]
    pub fn send_data(&mut self, key: Key, bytes: &[u8], end: bool, room: usize) -> usize {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.sends()) else {
            return 0;
        };
        let window = stream.send.available().min(self.send.available());
        if window < bytes.len() {
            if stream.send.available() < bytes.len() {
                stream.seen |= seen::SHORT;
            }
            self.short |= self.send.available() < bytes.len();
        }
        let allowed = window.min(bytes.len());
        let out = &mut self.output.buffer;
        out.reserve(allowed.min(room) + HEADER);
        let (mut taken, mut room) = (0, room);
        while taken < allowed || (bytes.is_empty() && end) {
            let part = (allowed - taken).min(MAX_PAYLOAD).min(room.saturating_sub(HEADER));
            if part == 0 && !bytes.is_empty() {
                break;
            }
            let last = end && taken + part == bytes.len();
            let flags = if last { flag::END_STREAM } else { 0 };
            out.extend_from_slice(&frame::header(part, kind::DATA, flags, key.id));
            out.extend_from_slice(&bytes[taken..taken + part]);
            taken += part;
            room = room.saturating_sub(HEADER + part);
            self.guard.data_sent();
            if last {
                break;
            }
        }
        stream.send.spend(taken);
        self.send.spend(taken);
        if end && taken == bytes.len() {
            self.end_sent(key);
        }
        taken
    }

    /// How many bytes of a body the windows allow now: none before the head is sent.
    #[inline]
    pub fn can_send(&self, key: Key) -> usize {
        match self.streams.get(key) {
            Some(stream) if stream.sends() => stream.send.available().min(self.send.available()),
            _ => 0,
        }
    }

    /// The reader took `flow` bytes of this stream (a stale key counts for the connection too). WINDOW_UPDATEs are
    /// queued when half a window is due. `behind`: the reader has not yet taken all that came, so the stream's
    /// window does not grow.
    #[inline]
    pub fn release(&mut self, key: Key, flow: u32, behind: bool) {
        let due = match self.streams.get_mut(key) {
            Some(stream) if !stream.has(seen::RECEIVE_ENDED) => {
                stream.receive.release(flow, behind, self.stream_window)
            }
            _ => 0,
        };
        if due > 0 {
            self.update_window(key.id, due);
        }
        self.receive.release(flow);
        let due = self.receive.credit();
        if due > 0 {
            self.update_window(0, due);
        }
    }

    /// Bytes of bodies that came and were not given back.
    pub fn unreleased(&self) -> u32 {
        self.receive.state().1
    }

    /// Queues WINDOW_UPDATE.
    pub(super) fn update_window(&mut self, id: u32, increment: u32) {
        frame::put_word(&mut self.output.buffer, kind::WINDOW_UPDATE, id, increment);
        // There are few: each stands for half a window that came.
        self.output.replied(HEADER + 4);
    }

    /// Queues PING; the answer is a `Pong`.
    pub fn ping(&mut self, payload: [u8; 8]) {
        frame::put_ping(&mut self.output.buffer, 0, payload);
    }
}
