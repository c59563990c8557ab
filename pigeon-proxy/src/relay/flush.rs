//! Output: one write per connection and turn.

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::Poll;

use tokio::net::TcpStream;

use super::Relay;
use super::slab::Ref;
use super::state::State;

/// Bytes read after which the output goes at once: a turn in which many connections have much to say would
/// otherwise hold all of it.
const FLUSH_AFTER: usize = 256 << 10;

/// Unsent output above which a connection is not read from: whatever it asks for would only add to it.
pub(super) const TOO_MUCH: usize = 1 << 20;

impl State {
    /// Wakes the flusher, once a turn. It runs after every task that is ready now.
    pub(super) fn ask_for_flush(&mut self) {
        if !self.dirty.is_empty() && !self.flush_due {
            self.flush_due = true;
            if let Some(flusher) = &self.flusher {
                flusher.wake_by_ref();
            }
        }
    }

    /// `count` bytes were read, and what came of them is handled.
    pub(super) fn count_read(&mut self, count: usize) {
        self.has_read = true;
        self.unflushed += count;
        if self.unflushed >= FLUSH_AFTER {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.flush_due = false;
        self.unflushed = 0;
        // What waited for room goes out in the same turn; a connection that is full ends it.
        while !self.dirty.is_empty() {
            for at in std::mem::take(&mut self.dirty) {
                self.flush_one(at);
            }
        }
    }

    fn flush_one(&mut self, at: u32) {
        let Some(conn) = self.conns.get_mut(at) else { return };
        conn.dirty = false;
        match conn.send() {
            Ok(true) => {}
            Ok(false) => {
                conn.blocked = true;
                self.wait_for_room(at);
            }
            Err(error) => {
                tracing::debug!(%error, "a connection broke");
                self.close(at);
                return;
            }
        }
        self.flushed(at);
    }

    /// Some output has gone: what waited for that goes on.
    fn flushed(&mut self, at: u32) {
        let Some(conn) = self.conns.get_mut(at) else { return };
        let left = conn.h2.out().len();
        if conn.closing && !conn.has_unsent() {
            self.close(at);
            return;
        }
        if left < TOO_MUCH / 2
            && let Some(reader) = conn.paused.take()
        {
            reader.notify_one();
        }
        let waiting = !conn.waiting.is_empty();
        if left == 0 {
            self.reclaim(at);
        }
        if waiting {
            self.drain_waiting(at);
        }
    }

    /// Comes back when the system takes more.
    fn wait_for_room(&mut self, at: u32) {
        let (Some(reference), Some(relay)) = (self.conns.reference(at), self.me.upgrade()) else {
            return;
        };
        let Some(conn) = self.conns.get(at) else { return };
        tokio::spawn(until_writable(relay, reference, Arc::clone(&conn.socket)));
    }
}

async fn until_writable(relay: Arc<Relay>, reference: Ref, socket: Arc<TcpStream>) {
    // A broken socket is writable: the next write says what is wrong.
    let _ = socket.writable().await;
    relay.turn(|state| {
        if let Some(conn) = state.conns.find(reference) {
            conn.blocked = false;
            state.touch(reference.at);
        }
    });
}

/// Flushes whenever there is something to flush, as long as the relay lives.
pub(super) async fn run(relay: Weak<Relay>) {
    poll_fn(|cx| {
        let Some(relay) = relay.upgrade() else { return Poll::Ready(()) };
        let mut state = relay.lock();
        let known = state.flusher.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            state.flusher = Some(cx.waker().clone());
        }
        state.flush();
        Poll::Pending
    })
    .await;
}
