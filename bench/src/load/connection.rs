//! A connection of either protocol.

use std::time::Instant;

use super::call::Shared;
use super::http1::Http1;
use super::http2::Http2;
use super::plan::Kind;
use crate::wire::link::Broken;
use crate::wire::socket::Socket;

/// A connection.
pub enum Connection {
    /// HTTP/1.1.
    Http1(Http1),
    /// HTTP/2.
    Http2(Box<Http2>),
}

impl Connection {
    /// Connects, in the place `n`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(shared: &Shared<'_>, n: usize) -> std::io::Result<Self> {
        let mut socket = Socket::connect(shared.plan.target)?;
        if let Some(clients) = &shared.clients {
            socket = socket.secured(clients.session(n).map_err(std::io::Error::other)?);
        }
        Ok(match shared.plan.kind {
            Kind::Http1 => Self::Http1(Http1::new(socket, shared)),
            _ => Self::Http2(Box::new(Http2::new(socket, shared))),
        })
    }

    /// The socket.
    pub fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Http1(h1) => &mut h1.socket,
            Self::Http2(h2) => &mut h2.link.socket,
        }
    }

    /// Whether a call can begin.
    pub fn has_room(&self, shared: &Shared<'_>) -> bool {
        match self {
            Self::Http1(h1) => h1.running() == 0 && !h1.is_spent(),
            Self::Http2(h2) => h2.has_room(shared),
        }
    }

    /// Begins a call.
    pub fn begin(&mut self, due: Instant, shared: &mut Shared<'_>) {
        match self {
            Self::Http1(h1) => h1.begin(due, shared),
            Self::Http2(h2) => h2.begin(due, shared),
        }
    }

    /// Takes what came.
    pub fn receive(&mut self, bytes: &[u8], shared: &mut Shared<'_>) -> Result<(), Broken> {
        match self {
            Self::Http1(h1) => h1.receive(bytes, shared),
            Self::Http2(h2) => h2.receive(bytes, shared),
        }
    }

    /// Calls under way.
    pub fn running(&self) -> usize {
        match self {
            Self::Http1(h1) => h1.running(),
            Self::Http2(h2) => h2.running(),
        }
    }

    /// Calls at once that the server allows.
    pub fn limit(&self) -> usize {
        match self {
            Self::Http1(_) => 1,
            Self::Http2(h2) => h2.limit(),
        }
    }

    /// Whether the server has greeted, and whether each of `streams` has had an answer.
    pub fn is_ready(&mut self, streams: usize) -> bool {
        match self {
            Self::Http1(h1) => h1.socket.tls().is_none_or(|tls| !tls.is_handshaking()),
            Self::Http2(h2) => h2.is_settled() && h2.answered() >= streams.min(h2.limit()),
        }
    }

    /// Whether it is to be replaced by another.
    pub fn is_spent(&self) -> bool {
        match self {
            Self::Http1(h1) => h1.is_spent(),
            Self::Http2(h2) => h2.is_spent(),
        }
    }

    /// Ends the streams that would go on for ever.
    pub fn stop(&mut self) {
        if let Self::Http2(h2) = self {
            h2.stop();
        }
    }

    /// The connection is lost, and its calls with it.
    pub fn lose(&mut self, shared: &mut Shared<'_>) {
        match self {
            Self::Http1(h1) => h1.lose(shared),
            Self::Http2(h2) => h2.lose(shared),
        }
    }
}
