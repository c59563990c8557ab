//! What comes in, by frame type. HEADERS are in `headers`, SETTINGS in `settings`.

use super::super::error::{FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, STREAM_CLOSED};
use super::super::frame::{self, Frame, Rule, flag, kind, rule};
use super::super::guard::{Cost, TINY_INCREMENT};
use super::super::streams::{Key, Stream, seen};
use super::{Connection, Event};

impl Connection {
    #[inline]
    pub(super) fn take_frame<'a>(
        &mut self,
        frame: Frame<'a>,
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, Rule> {
        if self.block.is_some() && frame.kind != kind::CONTINUATION {
            return Err(rule(PROTOCOL_ERROR, "a header block was interrupted"));
        }
        if !self.settings && (frame.kind != kind::SETTINGS || frame.has(flag::ACK)) {
            return Err(rule(PROTOCOL_ERROR, "the first frame is not SETTINGS"));
        }
        match frame.kind {
            kind::DATA => self.on_data(frame, now_ms),
            kind::HEADERS => self.on_headers(frame, now_ms),
            kind::CONTINUATION => self.on_continuation(frame, now_ms),
            kind::WINDOW_UPDATE => self.on_window_update(frame, now_ms),
            kind::RST_STREAM => self.on_reset(frame, now_ms),
            kind::SETTINGS => self.on_settings(frame, now_ms),
            kind::PING => self.on_ping(frame, now_ms),
            kind::GOAWAY => self.on_goaway(frame, now_ms),
            kind::PRIORITY => self.on_priority(frame, now_ms),
            // Clients may not push, and we told servers not to.
            kind::PUSH_PROMISE => Err(rule(PROTOCOL_ERROR, "PUSH_PROMISE was not allowed")),
            // What is unknown must be ignored (RFC 9113 section 5.5).
            _ => self.spend(Cost::Noise, now_ms).map(|()| None),
        }
    }

    #[inline]
    fn on_data<'a>(&mut self, frame: Frame<'a>, now_ms: u64) -> Result<Option<Event<'a>>, Rule> {
        if frame.stream == 0 {
            return Err(rule(PROTOCOL_ERROR, "DATA belong to a stream"));
        }
        let bytes = frame.unpadded()?;
        let (flow, end) = (frame.payload.len() as u32, frame.has(flag::END_STREAM));
        if !self.receive.receive(flow) {
            return Err(rule(FLOW_CONTROL_ERROR, "DATA are more than the connection's window"));
        }
        let Some(key) = self.streams.find(frame.stream) else {
            return self.on_late_data(frame.stream, flow, end, now_ms).map(|()| None);
        };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(None) };
        if let Err(code) = take_data(stream, bytes.len(), flow, end) {
            self.receive.release(flow);
            self.credit_connection()?;
            return self.break_stream(key, code, now_ms);
        }
        if bytes.is_empty() && !end {
            return self.swallow_empty(key, flow, now_ms);
        }
        self.credit_connection()?;
        if end {
            self.end_received(key);
        }
        Ok(Some(Event::Data { stream: key, bytes, end, flow }))
    }

    /// DATA that say nothing. Passed on they would make trouble: peers count them.
    #[cold]
    fn swallow_empty<'a>(
        &mut self,
        key: Key,
        flow: u32,
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, Rule> {
        self.spend(Cost::EmptyData, now_ms)?;
        self.release(key, flow, true);
        Ok(None)
    }

    /// Gives the peer more of the connection's window if it is time.
    #[inline]
    pub(super) fn credit_connection(&mut self) -> Result<(), Rule> {
        match self.receive.credit() {
            0 => Ok(()),
            due => {
                self.update_window(0, due);
                self.replied(0)
            }
        }
    }

    fn on_window_update<'a>(
        &mut self,
        frame: Frame<'_>,
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, Rule> {
        let increment = frame.word()? & 0x7fff_ffff;
        if increment < TINY_INCREMENT {
            self.spend(Cost::TinyWindow, now_ms)?;
        }
        if frame.stream == 0 {
            return self.open_window(increment);
        }
        let Some(key) = self.streams.find(frame.stream) else {
            self.check_not_idle(frame.stream)?;
            if increment >= TINY_INCREMENT {
                self.spend(Cost::TinyWindow, now_ms)?;
            }
            return Ok(None);
        };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(None) };
        if increment == 0 {
            return self.break_stream(key, PROTOCOL_ERROR, now_ms);
        }
        if !stream.send.shift(i64::from(increment)) {
            return self.break_stream(key, FLOW_CONTROL_ERROR, now_ms);
        }
        if stream.has(seen::SHORT) && stream.send.available() > 0 {
            stream.seen &= !seen::SHORT;
            return Ok(Some(Event::Writable { stream: key }));
        }
        Ok(None)
    }

    /// WINDOW_UPDATE of the connection.
    fn open_window<'a>(&mut self, increment: u32) -> Result<Option<Event<'a>>, Rule> {
        if increment == 0 {
            return Err(rule(PROTOCOL_ERROR, "WINDOW_UPDATE of the connection by 0"));
        }
        if !self.send.shift(i64::from(increment)) {
            return Err(rule(FLOW_CONTROL_ERROR, "the connection's window is too large"));
        }
        let event = self.short.then_some(Event::WritableAll);
        self.short = false;
        Ok(event)
    }

    fn on_reset<'a>(&mut self, frame: Frame<'_>, now_ms: u64) -> Result<Option<Event<'a>>, Rule> {
        let code = frame.word()?;
        if frame.stream == 0 {
            return Err(rule(PROTOCOL_ERROR, "RST_STREAM belongs to a stream"));
        }
        let Some(key) = self.streams.find(frame.stream) else {
            self.check_not_idle(frame.stream)?;
            self.resets.forget(frame.stream);
            return self.spend(Cost::Noise, now_ms).map(|()| None);
        };
        self.count_reset(key, now_ms)?;
        let Some(tag) = self.streams.remove(key) else { return Ok(None) };
        Ok(Some(Event::Reset { stream: key, tag, code, local: false }))
    }

    fn on_ping<'a>(&mut self, frame: Frame<'_>, now_ms: u64) -> Result<Option<Event<'a>>, Rule> {
        if frame.stream != 0 {
            return Err(rule(PROTOCOL_ERROR, "PING belongs to no stream"));
        }
        let Ok(payload) = frame.payload.try_into() else {
            return Err(rule(FRAME_SIZE_ERROR, "PING has eight bytes"));
        };
        self.spend(Cost::Ping, now_ms)?;
        if !frame.has(flag::ACK) {
            frame::put_ping(&mut self.output.buffer, flag::ACK, payload);
            return self.replied(frame::HEADER + 8).map(|()| None);
        }
        if self.is_probe(payload) {
            self.finish_shutdown();
            return Ok(None);
        }
        Ok(Some(Event::Pong { payload }))
    }

    fn on_goaway<'a>(&mut self, frame: Frame<'_>, now_ms: u64) -> Result<Option<Event<'a>>, Rule> {
        if frame.stream != 0 {
            return Err(rule(PROTOCOL_ERROR, "GOAWAY belongs to no stream"));
        }
        let Some((&[l3, l2, l1, l0, c3, c2, c1, c0], _text)) = frame.payload.split_first_chunk()
        else {
            return Err(rule(FRAME_SIZE_ERROR, "GOAWAY has at least eight bytes"));
        };
        self.spend(Cost::Noise, now_ms)?;
        // It may only go down (RFC 9113 section 6.8).
        let last = u32::from_be_bytes([l3 & 0x7f, l2, l1, l0]).min(self.goaway.unwrap_or(u32::MAX));
        self.goaway = Some(last);
        Ok(Some(Event::GoAway { last, code: u32::from_be_bytes([c3, c2, c1, c0]) }))
    }

    /// Priorities are not followed, only checked (RFC 9113 section 5.3.2).
    #[cold]
    fn on_priority<'a>(
        &mut self,
        frame: Frame<'_>,
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, Rule> {
        if frame.stream == 0 {
            return Err(rule(PROTOCOL_ERROR, "PRIORITY belongs to a stream"));
        }
        self.spend(Cost::Noise, now_ms)?;
        let broken = match *frame.payload {
            [d3, d2, d1, d0, _weight]
                if u32::from_be_bytes([d3 & 0x7f, d2, d1, d0]) == frame.stream =>
            {
                rule(PROTOCOL_ERROR, "a stream depends on itself")
            }
            [_, _, _, _, _] => return Ok(None),
            _ => rule(FRAME_SIZE_ERROR, "PRIORITY has five bytes"),
        };
        match self.streams.find(frame.stream) {
            Some(key) => self.break_stream(key, broken.code, now_ms),
            // A stream that is not open cannot be reset.
            None => Err(broken),
        }
    }
}

/// Counts DATA on an open stream; else the code to reset it with.
#[inline]
fn take_data(stream: &mut Stream, bytes: usize, flow: u32, end: bool) -> Result<(), u32> {
    if stream.has(seen::RECEIVE_ENDED) {
        return Err(STREAM_CLOSED);
    }
    if !stream.receive.receive(flow) {
        return Err(FLOW_CONTROL_ERROR);
    }
    if !stream.has(seen::HEAD_RECEIVED) || !stream.count_body(bytes, end) {
        return Err(PROTOCOL_ERROR);
    }
    stream.seen |= seen::DATA_RECEIVED;
    Ok(())
}
