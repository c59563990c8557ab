//! Frames about streams that are not open: those of streams we reset may be on their way and are swallowed; others
//! break a rule.

use std::collections::VecDeque;

use super::super::error::{PROTOCOL_ERROR, STREAM_CLOSED};
use super::super::frame::{Rule, rule};
use super::super::guard::Cost;
use super::headers::Head;
use super::{Connection, Role};

/// How many streams are remembered.
const REMEMBERED: usize = 512;

/// The streams that were reset last by us and not ended by the peer: more may come on them that the peer sent
/// before it knew. Without a reset it holds no memory.
#[derive(Debug, Default)]
pub(super) struct Resets(VecDeque<u32>);

impl Resets {
    pub(super) fn remember(&mut self, id: u32) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(id);
    }

    /// Whether the stream is remembered. `end`: the peer ended it now, so it is forgotten.
    fn swallows(&mut self, id: u32, end: bool) -> bool {
        match self.0.iter().rposition(|&reset| reset == id) {
            Some(at) if end => {
                self.0.remove(at);
                true
            }
            found => found.is_some(),
        }
    }

    /// The peer knows that the stream is gone.
    pub(super) fn forget(&mut self, id: u32) {
        self.swallows(id, true);
    }

    pub(super) fn trim(&mut self) {
        self.0 = VecDeque::new();
    }
}

impl Connection {
    /// A stream that is not open was opened before: else it is idle, and only PRIORITY may name it (RFC 9113
    /// section 5.1).
    pub(super) fn check_not_idle(&self, id: u32) -> Result<(), Rule> {
        match id.is_multiple_of(2) || id > self.last {
            true => Err(rule(PROTOCOL_ERROR, "the frame is for a stream that was never opened")),
            false => Ok(()),
        }
    }

    /// Whether a frame for a stream that is not open is to be ignored: we reset the stream, or said by GOAWAY that
    /// we would not serve it.
    fn ignores(&mut self, id: u32, end: bool) -> bool {
        (self.role == Role::Server && id > self.served) || self.resets.swallows(id, end)
    }

    /// DATA for a stream that is not open. Its bytes count for the connection.
    #[cold]
    pub(super) fn on_late_data(
        &mut self,
        id: u32,
        flow: u32,
        end: bool,
        now_ms: u64,
    ) -> Result<(), Rule> {
        self.check_not_idle(id)?;
        self.receive.release(flow);
        self.credit_connection()?;
        match self.ignores(id, end) {
            true => Ok(()),
            false => self.refuse(id, STREAM_CLOSED, !end, now_ms),
        }
    }

    /// A block for a stream that is not open and cannot be opened by it.
    #[cold]
    pub(super) fn on_late_block(
        &mut self,
        head: Head,
        block: &[u8],
        now_ms: u64,
    ) -> Result<(), Rule> {
        let id = head.stream;
        self.check_not_idle(id)?;
        if self.ignores(id, head.end) {
            if !head.end {
                self.spend(Cost::Noise, now_ms)?;
            }
            return self.swallow_block(block);
        }
        match self.role {
            // The server may answer a stream that was reset so long ago that it is not remembered.
            Role::Client => {
                self.spend(Cost::Noise, now_ms)?;
                self.swallow_block(block)
            }
            Role::Server if id == self.last => {
                Err(rule(STREAM_CLOSED, "HEADERS for a stream that was closed"))
            }
            Role::Server => Err(rule(PROTOCOL_ERROR, "a client's streams have ascending ids")),
        }
    }
}
