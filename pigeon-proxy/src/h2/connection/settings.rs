//! SETTINGS (RFC 9113 section 6.5): ours are sent once, at the start; the peer's may come at any time.

use super::super::error::{
    ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR,
};
use super::super::flow::{DEFAULT_WINDOW, MAX_WINDOW};
use super::super::frame::{self, Frame, Rule, flag, kind, rule};
use super::super::guard::{Cost, MAX_SETTINGS};
use super::super::streams::seen;
use super::{Connection, Event, Role};

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;

/// Bytes of one entry.
const ENTRY: usize = 6;

impl Connection {
    /// Queues what either side says first.
    pub(super) fn introduce(&mut self) {
        let own = match self.role {
            Role::Client => (ENABLE_PUSH, 0),
            Role::Server => (MAX_CONCURRENT_STREAMS, self.max_streams),
        };
        let entries = [
            own,
            (INITIAL_WINDOW_SIZE, self.initial_window),
            (MAX_HEADER_LIST_SIZE, self.max_header_list),
        ];
        let size = self.receive.size();
        let out = &mut self.output.buffer;
        if self.role == Role::Client {
            out.extend_from_slice(frame::PREFACE);
        }
        out.extend_from_slice(&frame::header(entries.len() * ENTRY, kind::SETTINGS, 0, 0));
        for (name, value) in entries {
            out.extend_from_slice(&name.to_be_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
        if size > DEFAULT_WINDOW {
            frame::put_word(out, kind::WINDOW_UPDATE, 0, size - DEFAULT_WINDOW);
        }
    }

    pub(super) fn on_settings<'a>(
        &mut self,
        frame: Frame<'_>,
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, Rule> {
        if frame.stream != 0 {
            return Err(rule(PROTOCOL_ERROR, "SETTINGS belong to no stream"));
        }
        self.spend(Cost::Settings, now_ms)?;
        if frame.has(flag::ACK) {
            return match frame.payload {
                [] => self.settings_acknowledged(),
                _ => Err(rule(FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS is empty")),
            };
        }
        let (entries, rest) = frame.payload.as_chunks::<ENTRY>();
        if !rest.is_empty() {
            return Err(rule(FRAME_SIZE_ERROR, "SETTINGS are entries of six bytes"));
        }
        if entries.len() > MAX_SETTINGS {
            return Err(rule(ENHANCE_YOUR_CALM, "too many entries in one SETTINGS frame"));
        }
        if !self.settings {
            self.settings = true;
            // Who says nothing of a limit has none (section 6.5.2).
            self.peer_max_streams = u32::MAX;
        }
        let mut window = self.peer_initial_window;
        for &[n1, n0, v3, v2, v1, v0] in entries {
            let value = u32::from_be_bytes([v3, v2, v1, v0]);
            match u16::from_be_bytes([n1, n0]) {
                INITIAL_WINDOW_SIZE if value > MAX_WINDOW => {
                    return Err(rule(
                        FLOW_CONTROL_ERROR,
                        "SETTINGS_INITIAL_WINDOW_SIZE is too large",
                    ));
                }
                INITIAL_WINDOW_SIZE => window = value,
                name => self.set(name, value)?,
            }
        }
        self.move_send_windows(window)?;
        self.output.buffer.extend_from_slice(&frame::header(0, kind::SETTINGS, flag::ACK, 0));
        self.replied(frame::HEADER)?;
        Ok(Some(Event::Settings))
    }

    fn set(&mut self, name: u16, value: u32) -> Result<(), Rule> {
        match name {
            HEADER_TABLE_SIZE => self.encoder.set_max_table_size(value),
            MAX_CONCURRENT_STREAMS => self.peer_max_streams = value,
            // A server does not take pushes, and no server may offer a client to take them.
            ENABLE_PUSH if value > u32::from(self.role == Role::Server) => {
                return Err(rule(
                    PROTOCOL_ERROR,
                    "SETTINGS_ENABLE_PUSH is not one this side may send",
                ));
            }
            MAX_FRAME_SIZE if !(0x4000..=0xff_ffff).contains(&value) => {
                return Err(rule(PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE is out of range"));
            }
            // SETTINGS_MAX_HEADER_LIST_SIZE is advice, and what is unknown must be ignored.
            _ => {}
        }
        Ok(())
    }

    /// The peer's initial window is `window` now: the windows of all streams move by the difference.
    fn move_send_windows(&mut self, window: u32) -> Result<(), Rule> {
        let delta = i64::from(window) - i64::from(self.peer_initial_window);
        if delta == 0 {
            return Ok(());
        }
        self.peer_initial_window = window;
        for stream in self.streams.iter_mut() {
            if !stream.send.shift(delta) {
                return Err(rule(FLOW_CONTROL_ERROR, "SETTINGS make a stream's window too large"));
            }
            if stream.has(seen::SHORT) && stream.send.available() > 0 {
                stream.seen &= !seen::SHORT;
                self.writable_all = true;
            }
        }
        Ok(())
    }

    /// The peer knows our initial window now. Streams that had the larger default lose the difference.
    fn settings_acknowledged<'a>(&mut self) -> Result<Option<Event<'a>>, Rule> {
        if self.acknowledged {
            return Ok(None);
        }
        self.acknowledged = true;
        let surplus = DEFAULT_WINDOW.saturating_sub(self.initial_window);
        if surplus == 0 {
            return Ok(None);
        }
        let out = &mut self.output.buffer;
        for stream in self.streams.iter_mut() {
            let due = stream.receive.shrink(surplus);
            if due > 0 && !stream.has(seen::RECEIVE_ENDED) {
                frame::put_word(out, kind::WINDOW_UPDATE, stream.id(), due);
            }
        }
        Ok(None)
    }
}
