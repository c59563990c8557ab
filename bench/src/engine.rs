//! The engine: answers calls as cheaply as can be, and counts what it is given.
//!
//! One thread, one epoll. HTTP/2 (gRPC by `/bench.Echo/<Method>`, anything else plain) and HTTP/1.1 on one
//! port; `GET /stats` tells the counters.

mod http1;
mod http2;
mod later;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub use self::later::Delay;
use self::later::Timers;
use crate::wire::frame::PREFACE;
use crate::wire::poll::Poll;
use crate::wire::socket::{Got, READ, Socket, listen};
use crate::wire::tls::Server;

/// The gRPC service of the engine; its methods are named as `load` names kinds of calls.
pub const SERVICE: &str = "/bench.Echo/";

/// How an engine behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long an answer takes.
    pub delay: Delay,
    /// Answers of a `Server` call.
    pub messages: u32,
    /// Calls at once; more are refused with RESOURCE_EXHAUSTED. None: any number.
    pub slots: Option<u32>,
    /// What SETTINGS_MAX_CONCURRENT_STREAMS says; None: nothing.
    pub max_streams: Option<u32>,
    /// Bytes of the answer to a request without body.
    pub body: usize,
    /// Each message is written at once, as engines do whose answers take time; else what one turn of the
    /// loop brought is written together.
    pub flush_each: bool,
    /// Certificate and key, PEM: clients speak TLS. None: in the clear.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// For the delays.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            delay: Delay::None,
            messages: 10,
            slots: None,
            max_streams: None,
            body: 128,
            flush_each: false,
            tls: None,
            seed: 1,
        }
    }
}

/// What an engine has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Calls begun.
    pub calls: u64,
    /// Calls that run now.
    pub running: u32,
    /// Most calls that ever ran at once.
    pub max_concurrent_seen: u32,
    /// Calls refused because all slots were taken: a proxy in front broke its promise.
    pub exceeded: u64,
    /// Connections accepted.
    pub connections: u64,
}

impl Stats {
    /// Counts a call in, unless all slots are taken.
    fn begin(&mut self, slots: Option<u32>) -> bool {
        if slots.is_some_and(|slots| self.running >= slots) {
            self.exceeded += 1;
            return false;
        }
        self.calls += 1;
        self.running += 1;
        self.max_concurrent_seen = self.max_concurrent_seen.max(self.running);
        true
    }

    fn end(&mut self) {
        self.running -= 1;
    }

    fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What connections share.
struct Shared {
    settings: Settings,
    stats: Stats,
    timers: Timers,
    now: Instant,
    fixed: Vec<u8>,
}

enum Connection {
    /// It has not said yet what it speaks.
    New(Socket, Vec<u8>),
    Http1(http1::Http1),
    Http2(Box<http2::Http2>),
}

/// The other side is gone, or talks nonsense.
struct Over;

/// The address `n` after this one; all of 127.0.0.0/8 is this machine.
pub fn nth(address: SocketAddr, n: u32) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => {
            let ip = std::net::Ipv4Addr::from_bits(v4.ip().to_bits().wrapping_add(n));
            SocketAddr::from((ip, v4.port()))
        }
        SocketAddr::V6(_) => address,
    }
}

/// An engine that listens.
pub struct Engine {
    /// Their tokens are their places; connections count up from there.
    listeners: Vec<TcpListener>,
    poll: Poll,
    connections: HashMap<u64, Connection>,
    dirty: Vec<u64>,
    next: u64,
    tls: Option<Server>,
    shared: Shared,
}

impl Engine {
    /// Listens on `address` and, with the same port, on the ones that follow it up to `count`: as many
    /// endpoints, one process.
    ///
    /// # Errors
    /// When an address is taken, or a file of TLS is no good.
    pub fn bind(address: SocketAddr, count: u32, settings: Settings) -> anyhow::Result<Self> {
        let files = settings.tls.as_ref();
        let tls = files.map(|(certificate, key)| Server::new(certificate, key)).transpose()?;
        let poll = Poll::new()?;
        let mut listeners: Vec<TcpListener> = Vec::new();
        let mut next = address;
        for n in 0..count.max(1) {
            let listener = listen(next)
                .with_context(|| format!("cannot listen on {next}; is another engine running?"))?;
            poll.add(&listener, u64::from(n))?;
            next = nth(listener.local_addr()?, 1);
            listeners.push(listener);
        }
        let shared = Shared {
            timers: Timers::new(settings.seed),
            fixed: (0..settings.body).map(|n| b'a' + (n % 26) as u8).collect(),
            settings,
            stats: Stats::default(),
            now: Instant::now(),
        };
        let (connections, dirty) = (HashMap::new(), Vec::new());
        let next = listeners.len() as u64;
        Ok(Self { listeners, poll, connections, dirty, next, tls, shared })
    }

    /// Where it listens first.
    ///
    /// # Errors
    /// When the system does not know.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listeners[0].local_addr()
    }

    /// Serves for ever.
    ///
    /// # Errors
    /// When the system fails.
    pub fn run(&mut self) -> anyhow::Result<()> {
        let mut buffer = vec![0; READ];
        loop {
            let timeout =
                self.shared.timers.next().map(|at| at.saturating_duration_since(self.shared.now));
            let ready = self.poll.wait(timeout)?;
            self.shared.now = Instant::now();
            self.due();
            for n in 0..ready {
                let ready = self.poll.ready(n);
                if ready.token < self.listeners.len() as u64 {
                    self.accept(ready.token as usize)?;
                    continue;
                }
                if ready.writable
                    && let Some(connection) = self.connections.get_mut(&ready.token)
                {
                    connection.socket().writable();
                }
                self.dirty.push(ready.token);
                if ready.readable && self.read(ready.token, &mut buffer).is_err() {
                    self.close(ready.token);
                }
            }
            self.flush();
        }
    }

    /// Reads what a connection has, and does what it says.
    fn read(&mut self, token: u64, buffer: &mut [u8]) -> Result<(), Over> {
        loop {
            let connection = self.connections.get_mut(&token).ok_or(Over)?;
            let got = connection.socket().read(buffer);
            let (Got::More(n) | Got::Last(n)) = got else { return Err(Over) };
            let bytes = &buffer[..n];
            match connection {
                _ if n == 0 => {}
                Connection::Http1(h1) => h1.receive(bytes, &mut self.shared)?,
                Connection::Http2(h2) => h2.receive(bytes, &mut self.shared)?,
                Connection::New(..) => {
                    let Some(Connection::New(socket, mut begun)) = self.connections.remove(&token)
                    else {
                        return Err(Over);
                    };
                    begun.extend_from_slice(bytes);
                    let known = greet(socket, begun, token, &mut self.shared)?;
                    self.connections.insert(token, known);
                }
            }
            if let Got::Last(_) = got {
                return Ok(());
            }
        }
    }

    /// Gives the answers whose time has come.
    fn due(&mut self) {
        while let Some(later) = self.shared.timers.pop(self.shared.now) {
            match self.connections.get_mut(&later.token) {
                Some(Connection::Http2(h2)) => h2.answer(&later, &mut self.shared),
                Some(Connection::Http1(h1)) => {
                    if h1.answer(&later, &mut self.shared).is_err() {
                        self.close(later.token);
                        continue;
                    }
                }
                _ => continue,
            }
            self.dirty.push(later.token);
        }
    }

    fn accept(&mut self, listener: usize) -> anyhow::Result<()> {
        while let Ok((stream, _)) = self.listeners[listener].accept() {
            let stream: TcpStream = stream;
            let token = self.next;
            self.next += 1;
            self.poll.add(&stream, token)?;
            let mut socket = Socket::new(stream)?;
            if let Some(tls) = &self.tls {
                socket = socket.secured(tls.session()?);
            }
            self.connections.insert(token, Connection::New(socket, Vec::new()));
            self.shared.stats.connections += 1;
        }
        Ok(())
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for token in dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(&token) else { continue };
            if connection.socket().flush().is_err() {
                self.close(token);
            }
        }
        self.dirty = dirty;
    }

    fn close(&mut self, token: u64) {
        if let Some(connection) = self.connections.remove(&token) {
            connection.abandon(&mut self.shared.stats);
        }
    }
}

impl Connection {
    fn socket(&mut self) -> &mut Socket {
        match self {
            Self::New(socket, _) => socket,
            Self::Http1(h1) => &mut h1.socket,
            Self::Http2(h2) => &mut h2.link.socket,
        }
    }

    /// The calls of a lost connection are over.
    fn abandon(self, stats: &mut Stats) {
        let running = match self {
            Self::New(..) => 0,
            Self::Http1(h1) => u32::from(h1.is_busy()),
            Self::Http2(h2) => h2.running(),
        };
        stats.running -= running;
    }
}

/// What a new connection speaks, as soon as its first bytes tell.
fn greet(
    socket: Socket,
    begun: Vec<u8>,
    token: u64,
    shared: &mut Shared,
) -> Result<Connection, Over> {
    let common = begun.len().min(PREFACE.len());
    if begun[..common] != PREFACE[..common] {
        let mut h1 = http1::Http1::new(socket, token);
        h1.receive(&begun, shared)?;
        return Ok(Connection::Http1(h1));
    }
    if common < PREFACE.len() {
        return Ok(Connection::New(socket, begun));
    }
    let mut h2 = http2::Http2::new(socket, token, shared);
    h2.receive(&begun[PREFACE.len()..], shared)?;
    Ok(Connection::Http2(Box::new(h2)))
}
