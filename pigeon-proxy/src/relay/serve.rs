//! The reading side of a connection: a task that knows when there is something to read, and no more.

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

impl Relay {
    /// Serves a client's HTTP/2 connection to its end. `first` = what was read of it already.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        socket: TcpStream,
        client: Client,
        settings: &Listener,
        first: &[u8],
    ) {
        let socket = Arc::new(socket);
        let client = Arc::new(client);
        let reference = self.turn(|state| {
            let origin = state.shared.origin(&client);
            let now = state.now;
            let conn = Conn::client(Arc::clone(&socket), client, settings, origin, now);
            let reference = state.conns.insert(conn);
            state.touch(reference.at);
            state.receive(reference.at, first);
            reference
        });
        self.read(reference, &socket).await;
    }

    /// Reads a connection to its end.
    pub(super) async fn read(self: &Arc<Self>, conn: Ref, socket: &TcpStream) {
        loop {
            if socket.readable().await.is_err() {
                break;
            }
            match self.turn(|state| state.read(conn, socket)) {
                Turn::Drained => {
                    // A short read has emptied the socket; asking the system once more would only cost.
                    let empty = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                    let _ = socket.try_io(Interest::READABLE, empty);
                }
                Turn::More => tokio::task::yield_now().await,
                Turn::Paused(resume) => resume.notified().await,
                Turn::Closed => return,
            }
        }
        self.turn(|state| {
            if state.conns.find(conn).is_some() {
                state.close(conn.at);
            }
        });
    }
}

impl State {
    fn read(&mut self, reference: Ref, socket: &TcpStream) -> Turn {
        let Some(conn) = self.conns.find(reference) else { return Turn::Closed };
        if conn.h2.out().len() > TOO_MUCH {
            conn.paused = true;
            return Turn::Paused(Arc::clone(&conn.resume));
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = socket.try_read(&mut buffer[FRAME..]);
        let turn = match read {
            Ok(0) => {
                self.close(reference.at);
                Turn::Closed
            }
            Ok(n) => {
                let most = buffer.len() - FRAME;
                let kept = self.conns.find(reference).map_or(0, |conn| conn.h2.kept().len());
                let from = FRAME - kept.min(FRAME);
                if let Some(conn) = self.conns.find(reference) {
                    conn.h2.take_kept_into(&mut buffer[from..FRAME]);
                }
                self.receive(reference.at, &buffer[from..FRAME + n]);
                if n < most { Turn::Drained } else { Turn::More }
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
