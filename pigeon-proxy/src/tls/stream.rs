//! A connection in the clear or by TLS, for whoever reads and writes streams.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

use super::{H2, HTTP1, Session};

/// A connection after its handshake.
pub(crate) enum Stream {
    /// In the clear.
    Plain(TcpStream),
    /// Of a caller.
    Caller(Box<server::TlsStream<TcpStream>>),
    /// To an endpoint.
    Endpoint(Box<client::TlsStream<TcpStream>>),
}

/// Does the same whatever the stream is.
macro_rules! each {
    ($stream:expr, $io:ident => $what:expr) => {
        match $stream {
            Stream::Plain($io) => $what,
            Stream::Caller($io) => $what,
            Stream::Endpoint($io) => $what,
        }
    };
}

impl Stream {
    /// The socket, with nothing of what is above it.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Caller(stream) => stream.get_ref().0,
            Self::Endpoint(stream) => stream.get_ref().0,
        }
    }

    /// Waits until there is something to read, and leaves it there; false if the other side says no more.
    pub(crate) async fn speaks(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(socket) => socket.peek(&mut [0]).await.map(|n| n > 0),
            Self::Caller(stream) => stream.fill_buf().await.map(|bytes| !bytes.is_empty()),
            Self::Endpoint(stream) => stream.fill_buf().await.map(|bytes| !bytes.is_empty()),
        }
    }

    /// The socket, and what is beside it.
    pub(crate) fn into_parts(self) -> (TcpStream, Option<Box<Session>>) {
        match self {
            Self::Plain(socket) => (socket, None),
            Self::Caller(stream) => {
                let (socket, connection) = stream.into_inner();
                (socket, Some(Session::new(connection.into())))
            }
            Self::Endpoint(stream) => {
                let (socket, connection) = stream.into_inner();
                (socket, Some(Session::new(connection.into())))
            }
        }
    }

    /// Whether it was agreed to speak HTTP/2, or HTTP/1.1; none if nothing was agreed.
    pub(crate) fn agreed_http2(&self) -> Option<bool> {
        let agreed = match self {
            Self::Plain(_) => None,
            Self::Caller(stream) => stream.get_ref().1.alpn_protocol(),
            Self::Endpoint(stream) => stream.get_ref().1.alpn_protocol(),
        };
        match agreed {
            Some(H2) => Some(true),
            Some(HTTP1) => Some(false),
            _ => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), io => Pin::new(io).poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, io => io.is_write_vectored())
    }
}
