//! The reading side of a connection: a task that knows when there is something to read, and no more.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use pigeon_proto::model::Listener;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::Relay;
use super::conn::Conn;
use super::flush::TOO_MUCH;
use super::slab::Ref;
use super::state::{FRAME, State};
use crate::http::Client;
use crate::tls::{Got, Stream};

/// How reading went.
enum Turn {
    /// Everything that was there was read.
    Drained,
    /// There may be more.
    More,
    /// Not to be read from for now.
    Paused(Arc<tokio::sync::Notify>),
    /// The connection is closed.
    Closed,
}

/// A connection of the relay: run it, or nobody reads.
pub(crate) struct Relayed {
    relay: Arc<Relay>,
    conn: Ref,
    socket: Arc<TcpStream>,
}

impl Relay {
    /// Takes a client's HTTP/2 connection. `first` = what was read of it already. `leaving` = the listener
    /// drains: what the client has sent is served, and it is told to go elsewhere.
    pub(crate) fn accept(
        self: &Arc<Self>,
        stream: Stream,
        client: Arc<Client>,
        settings: &Listener,
        first: &[u8],
        leaving: bool,
    ) -> Relayed {
        let (socket, tls) = stream.into_parts();
        let socket = Arc::new(socket);
        let conn = self.turn(|state| {
            let origin = state.shared.origin(&client);
            let now = state.now;
            let conn = Conn::client(Arc::clone(&socket), client, settings, origin, now).by(tls);
            let reference = state.conns.insert(conn);
            state.touch(reference.at);
            state.receive(reference.at, first);
            state.receive_opened(reference);
            if leaving {
                state.send_away(reference.at, false);
            }
            reference
        });
        Relayed::new(Arc::clone(self), conn, socket)
    }
}

impl Relayed {
    pub(super) fn new(relay: Arc<Relay>, conn: Ref, socket: Arc<TcpStream>) -> Self {
        Self { relay, conn, socket }
    }

    /// Reads the connection to its end.
    pub(crate) async fn run(self) {
        let Self { relay, conn, socket } = &self;
        loop {
            // `readable()` would hold a place in a list of waiters: three times what the whole rest holds.
            if poll_fn(|cx| socket.poll_read_ready(cx)).await.is_err() {
                break;
            }
            match relay.turn(|state| state.read(*conn, socket)) {
                Turn::Drained => {
                    // A short read has emptied the socket; asking the system once more would only cost.
                    let empty = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                    let _ = socket.try_io(Interest::READABLE, empty);
                }
                Turn::More => tokio::task::yield_now().await,
                Turn::Paused(reader) => Box::pin(reader.notified()).await,
                Turn::Closed => return,
            }
        }
        relay.turn(|state| state.close_found(*conn));
    }
}

fn read_plain(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<Got> {
    let count = socket.try_read(buffer)?;
    Ok(Got { count, drained: count < buffer.len(), closed: count == 0 })
}

impl State {
    fn read(&mut self, reference: Ref, socket: &TcpStream) -> Turn {
        let Some(conn) = self.conns.find(reference) else { return Turn::Closed };
        if conn.h2.out().len() > TOO_MUCH {
            let reader = conn.paused.insert(Arc::default());
            return Turn::Paused(Arc::clone(reader));
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = match &mut conn.tls {
            None => read_plain(socket, &mut buffer[FRAME..]),
            Some(tls) => tls.read(socket, &mut self.sealed, &mut buffer[FRAME..]),
        };
        let turn = match read {
            Ok(Got { count, drained, closed }) => {
                self.take_in(reference, &mut buffer, count);
                if closed {
                    self.close_found(reference);
                    Turn::Closed
                } else if drained {
                    Turn::Drained
                } else {
                    Turn::More
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Turn::More,
            Err(error) => {
                tracing::debug!(%error, "a connection broke");
                self.close(reference.at);
                Turn::Closed
            }
        };
        self.buffer = buffer;
        turn
    }

    /// Handles `count` bytes that a connection has received; they stand behind the room for what was kept.
    fn take_in(&mut self, reference: Ref, buffer: &mut [u8], count: usize) {
        let Some(conn) = self.conns.find(reference) else { return };
        if count > 0 {
            let from = FRAME - conn.h2.kept().len().min(FRAME);
            conn.h2.take_kept_into(&mut buffer[from..FRAME]);
            self.receive(reference.at, &buffer[from..FRAME + count]);
        }
        // Only TLS has something to send of its own: an alert, or new keys.
        let conn = self.conns.find(reference);
        if conn.is_some_and(|conn| conn.tls.as_ref().is_some_and(|tls| tls.wants_write())) {
            self.touch(reference.at);
        }
        self.count_read(count);
    }

    /// Handles what came with the handshake of TLS and was opened then.
    pub(super) fn receive_opened(&mut self, reference: Ref) {
        let by_tls = self.conns.find(reference).is_some_and(|conn| conn.tls.is_some());
        if !by_tls {
            return;
        }
        self.expect_sealed();
        let mut buffer = std::mem::take(&mut self.buffer);
        let conn = self.conns.find(reference).and_then(|conn| conn.tls.as_mut());
        let opened = conn.map_or(Ok(0), |tls| tls.take(&mut buffer[FRAME..]));
        match opened {
            Ok(count) => self.take_in(reference, &mut buffer, count),
            Err(_) => self.close_found(reference),
        }
        self.buffer = buffer;
    }

    /// Closes a connection unless it is gone already.
    fn close_found(&mut self, reference: Ref) {
        if self.conns.find(reference).is_some() {
            self.close(reference.at);
        }
    }

    /// Handles what a connection has received, what was kept of it before in front.
    fn receive(&mut self, at: u32, bytes: &[u8]) {
        let now_ms = self.now_ms();
        let now = self.now;
        let mut input = bytes;
        if let Some(conn) = self.conns.get_mut(at) {
            conn.heard = now;
        }
        loop {
            let Some(conn) = self.conns.get_mut(at) else { return };
            let event = match conn.h2.next(&mut input, now_ms) {
                Ok(Some(event)) => event,
                Ok(None) => {
                    conn.h2.keep(input);
                    break;
                }
                Err(error) => return self.broke_rules(at, &error),
            };
            if let Err(error) = self.event(at, event) {
                return self.broke_rules(at, &error);
            }
        }
        if self.conns.get_mut(at).is_some_and(|conn| !conn.h2.out().is_empty()) {
            self.touch(at);
        }
        self.close_if_drained(at);
    }

    /// The connection's last words are on their way; its calls are over.
    fn broke_rules(&mut self, at: u32, error: &crate::h2::Error) {
        tracing::debug!(code = error.code, reason = error.reason, "a connection broke the rules");
        self.lost_calls(at, true);
        if let Some(conn) = self.conns.get_mut(at) {
            conn.closing = true;
            self.touch(at);
        }
    }
}
