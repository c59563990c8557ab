//! What a worker's relay knows: connections, calls, pools. One thread uses it, so its lock is never waited for.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Instant;

use tokio_util::time::DelayQueue;

use super::Relay;
use super::call::Call;
use super::conn::Conn;
use super::lists::Shared;
use super::pool::Pool;
use super::slab::{Ref, Slab};
use crate::gateway::Gateway;
use crate::h2::Connection;
use crate::h2::fields::Fields;

/// Bytes read at once: what is cut off of a frame before them, and at most this much after it.
const READ: usize = 128 << 10;
/// The same by TLS: a record that was cut off before, of at most 16 KiB and a little, may be opened with it.
const READ_SEALED: usize = READ - (17 << 10);
/// The longest beginning of a frame that is kept from one read to the next.
pub(super) const FRAME: usize = 17 << 10;
/// Output buffers kept for the next connection that has something to send, and how large at most.
const SPARE: usize = 16;
const SPARE_SIZE: usize = 64 << 10;

pub(super) struct State {
    pub(super) me: Weak<Relay>,
    pub(super) gateway: Arc<Gateway>,
    /// What the h2 guards count their time from.
    pub(super) began: Instant,
    /// When this turn began.
    pub(super) now: Instant,
    pub(super) conns: Slab<Conn>,
    pub(super) calls: Slab<Call>,
    /// By endpoint.
    pub(super) pools: HashMap<u64, Pool>,
    pub(super) shared: Shared,
    pub(super) timers: DelayQueue<Ref>,
    /// Connections with output.
    pub(super) dirty: Vec<u32>,
    pub(super) flusher: Option<Waker>,
    pub(super) flush_due: bool,
    /// Bytes read since the last flush.
    pub(super) unflushed: usize,
    /// Something was read since the last sweep.
    pub(super) has_read: bool,
    /// Memory was given back since something was read.
    pub(super) gave_back: bool,
    pub(super) buffer: Vec<u8>,
    /// What was read and is to be opened; empty until there is TLS.
    pub(super) sealed: Vec<u8>,
    spare: Vec<Vec<u8>>,
    /// The list that is being decoded.
    pub(super) fields: Fields,
}

impl State {
    pub(super) fn new(me: Weak<Relay>, gateway: Arc<Gateway>) -> Self {
        let now = Instant::now();
        Self {
            me,
            gateway,
            began: now,
            now,
            conns: Slab::default(),
            calls: Slab::default(),
            pools: HashMap::new(),
            shared: Shared::default(),
            timers: DelayQueue::new(),
            dirty: Vec::new(),
            flusher: None,
            flush_due: false,
            unflushed: 0,
            has_read: false,
            gave_back: false,
            buffer: vec![0; FRAME + READ],
            sealed: Vec::new(),
            spare: Vec::new(),
            fields: Fields::new(),
        }
    }

    /// Has the room to read what is to be opened.
    pub(super) fn expect_sealed(&mut self) {
        self.sealed.resize(READ_SEALED, 0);
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now.saturating_duration_since(self.began).as_millis() as u64
    }

    /// A connection's protocol, to send on: the connection is flushed at the end of the turn.
    pub(super) fn h2(&mut self, at: u32) -> Option<&mut Connection> {
        self.touch(at);
        self.conns.get_mut(at).map(|conn| &mut conn.h2)
    }

    /// Has a connection flushed at the end of the turn.
    pub(super) fn touch(&mut self, at: u32) {
        let Some(conn) = self.conns.get_mut(at) else { return };
        if conn.dirty || conn.blocked {
            return;
        }
        conn.dirty = true;
        if conn.h2.out().is_empty()
            && let Some(buffer) = self.spare.pop()
        {
            conn.h2.out().swap_buffer(buffer);
        }
        self.dirty.push(at);
    }

    /// Takes the buffer of a connection that has nothing to send.
    pub(super) fn reclaim(&mut self, at: u32) {
        let Some(conn) = self.conns.get_mut(at) else { return };
        let mut buffer = conn.h2.out().swap_buffer(Vec::new());
        if self.spare.len() < SPARE && buffer.capacity() > 0 && buffer.capacity() <= SPARE_SIZE {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
