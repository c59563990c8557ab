//! What keeps a body from being sent, for callers that let many streams take turns.

use super::super::streams::{Key, seen};
use super::Connection;
use super::closing::Shutdown;

impl Connection {
    /// Whether the stream's own window allows more. If not, a `Writable` will tell when it does.
    pub fn has_window(&mut self, key: Key) -> bool {
        let Some(stream) = self.streams.get_mut(key) else { return false };
        if stream.send.available() == 0 {
            stream.seen |= seen::SHORT;
        }
        stream.send.available() > 0
    }

    /// Whether the connection's window allows more. If not, a `WritableAll` will tell when it does.
    pub fn connection_has_window(&mut self) -> bool {
        self.short |= self.send.available() == 0;
        self.send.available() > 0
    }

    /// Whether a graceful end has come to its end: the peer knows which stream was the last, and none is open.
    pub fn is_drained(&self) -> bool {
        self.shutdown == Shutdown::Done && self.streams() == 0
    }
}
