//! One HTTP/2 connection of a worker: to a client, or to an endpoint.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use pigeon_proto::model::Listener;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::lists::Seen;
use crate::engine::lifetime::{Age, Lifetime};
use crate::engine::{Endpoint, Engine};
use crate::h2::{Config, Connection, Encoded, Role};
use crate::http::Client;
use crate::tls::Session;

/// A stream starts with this window, and gets more as its reader keeps up.
const FIRST_WINDOW: u32 = 65_535;
/// What a client may send ahead on one call.
const CLIENT_STREAM_WINDOW: u32 = 256 << 10;
/// What a client may have under way on all calls of a connection, and how much of it may lie unread before
/// the client is stopped. Calls that wait for a slot do not stop those that run until this is full.
const CLIENT_WINDOW: u32 = 1 << 20;
const CLIENT_BUDGET: u32 = 16 << 20;
/// What an engine may have under way on all calls of a connection.
const ENGINE_WINDOW: u32 = 4 << 20;
/// The largest head of an answer.
const ENGINE_MAX_HEAD: u32 = 256 << 10;
/// Encodings remembered per connection: a client gets few different heads, an engine those of many clients.
const FOR_CLIENT: usize = 8;
const FOR_ENGINE: usize = 64;

/// A connection.
pub(super) struct Conn {
    pub(super) h2: Connection,
    pub(super) socket: Arc<TcpStream>,
    /// What is read and written passes through this, if the connection is by TLS.
    pub(super) tls: Option<Box<Session>>,
    pub(super) peer: Peer,
    /// Calls with something for this connection that did not fit, in the order of their turns.
    pub(super) waiting: VecDeque<u32>,
    /// On the list of those to be flushed.
    pub(super) dirty: bool,
    /// The system takes no more for now.
    pub(super) blocked: bool,
    /// Not read from until some of its output has gone: what its reader waits for.
    pub(super) paused: Option<Arc<Notify>>,
    /// Takes its last output, then it is closed.
    pub(super) closing: bool,
    pub(super) heard: Instant,
    pub(super) pinged: Option<Instant>,
    pub(super) seen: Seen,
    pub(super) encoded: Encoded,
}

/// Who is at the other end.
pub(super) enum Peer {
    Client(Box<Downstream>),
    Engine(Box<Upstream>),
}

/// A client's connection.
pub(super) struct Downstream {
    pub(super) client: Arc<Client>,
    /// Keeps apart the lists of listeners and senders; see `Shared::list`.
    pub(super) origin: u64,
    pub(super) opened: Instant,
    pub(super) settings_seen: bool,
}

/// A connection to an endpoint.
pub(super) struct Upstream {
    pub(super) engine: Arc<Engine>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) served: u32,
    pub(super) opened: Instant,
    pub(super) idle_since: Instant,
    /// Decides about the jitter of its life time.
    pub(super) seed: u64,
    /// Takes no new calls.
    pub(super) retired: bool,
    /// The TLS settings it was opened under; 0 = in the clear.
    pub(super) tls: u64,
}

impl Conn {
    pub(super) fn client(
        socket: Arc<TcpStream>,
        client: Arc<Client>,
        settings: &Listener,
        origin: u64,
        now: Instant,
    ) -> Self {
        let config = Config {
            role: Role::Server,
            max_concurrent_streams: settings.max_concurrent_streams,
            initial_window: FIRST_WINDOW,
            stream_window: CLIENT_STREAM_WINDOW,
            connection_window: CLIENT_WINDOW,
            connection_budget: CLIENT_BUDGET,
            max_header_list: settings.max_header_bytes,
        };
        let downstream = Downstream { client, origin, opened: now, settings_seen: false };
        let encoded = Encoded::new(FOR_CLIENT);
        Self::new(&config, socket, Peer::Client(Box::new(downstream)), encoded, now)
    }

    pub(super) fn engine(socket: Arc<TcpStream>, upstream: Upstream, now: Instant) -> Self {
        let pool = &upstream.engine.settings().pool;
        let config = Config {
            role: Role::Client,
            max_concurrent_streams: 0,
            initial_window: FIRST_WINDOW.min(pool.stream_window),
            stream_window: pool.stream_window,
            connection_window: ENGINE_WINDOW.min(pool.connection_window),
            connection_budget: pool.connection_window,
            max_header_list: ENGINE_MAX_HEAD,
        };
        let encoded = Encoded::new(FOR_ENGINE);
        Self::new(&config, socket, Peer::Engine(Box::new(upstream)), encoded, now)
    }

    fn new(
        config: &Config,
        socket: Arc<TcpStream>,
        peer: Peer,
        encoded: Encoded,
        now: Instant,
    ) -> Self {
        Self {
            h2: Connection::new(config),
            socket,
            tls: None,
            peer,
            waiting: VecDeque::new(),
            dirty: false,
            blocked: false,
            paused: None,
            closing: false,
            heard: now,
            pinged: None,
            seen: Seen::default(),
            encoded,
        }
    }

    /// Passes everything through `tls`, if there is any.
    pub(super) fn by(self, tls: Option<Box<Session>>) -> Self {
        Self { tls, ..self }
    }

    /// Gives the system what there is to send; false = it takes no more for now.
    pub(super) fn send(&mut self) -> io::Result<bool> {
        if self.tls.is_some() {
            return self.send_sealed();
        }
        let out = self.h2.out();
        while !out.is_empty() {
            match self.socket.try_write(out.unsent()) {
                Ok(n) => out.consume(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn send_sealed(&mut self) -> io::Result<bool> {
        let (Some(tls), out) = (&mut self.tls, self.h2.out()) else { return Ok(true) };
        loop {
            let mut full = false;
            while !out.is_empty() && !full {
                let n = tls.seal(out.unsent())?;
                out.consume(n);
                full = n == 0;
            }
            if self.closing && out.is_empty() {
                tls.close();
            }
            match tls.write_to(&self.socket) {
                Ok(()) if out.is_empty() => return Ok(true),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether something is still to be sent.
    pub(super) fn has_unsent(&mut self) -> bool {
        !self.h2.out().is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    pub(super) fn upstream(&mut self) -> Option<&mut Upstream> {
        match &mut self.peer {
            Peer::Engine(upstream) => Some(upstream),
            Peer::Client(_) => None,
        }
    }

    pub(super) fn downstream(&self) -> Option<&Downstream> {
        match &self.peer {
            Peer::Client(downstream) => Some(downstream),
            Peer::Engine(_) => None,
        }
    }

    /// Whether it is a connection to an endpoint that takes one more call.
    /// `tls` = the settings that connections are opened under now.
    pub(super) fn takes_calls(&self, lifetime: &Lifetime, tls: u64, now: Instant) -> bool {
        let Peer::Engine(upstream) = &self.peer else { return false };
        !upstream.retired
            && upstream.tls == tls
            && lifetime.takes(&upstream.age(self.h2.streams()), now)
    }

    /// Keeps apart what must not be shared between lists.
    pub(super) fn origin(&self) -> u64 {
        self.downstream().map_or(0, |downstream| downstream.origin)
    }
}

impl Upstream {
    /// The connection as the rules of life times see it.
    pub(super) fn age(&self, running: usize) -> Age {
        Age {
            opened: self.opened,
            seed: self.seed,
            taken: self.served,
            running: running as u32,
            idle_since: self.idle_since,
        }
    }
}
