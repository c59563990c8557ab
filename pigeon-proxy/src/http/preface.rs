//! Telling HTTP/2 from HTTP/1.1 by the first bytes of a connection (RFC 9113 section 3.4).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::tls::Stream;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// So much is read of the first bytes to see whether a short first line is one of HTTP/1.x.
const FIRST: usize = 256;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// A socket whose first bytes have been read already, and are read again first.
pub(super) struct Rewound {
    first: Bytes,
    socket: Stream,
}

/// Reads until it is clear what the client speaks.
///
/// # Errors
/// The client closed the connection, or it broke, before; or what it speaks is neither: then nothing that we
/// could answer would be understood; or it is not what was agreed on by ALPN.
pub(super) async fn detect(mut socket: Stream) -> io::Result<(Version, Rewound)> {
    let mut first = [0; FIRST];
    let mut filled = 0;
    let version = loop {
        let read = socket.read(&mut first[filled..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        let compared = filled.min(PREFACE.len());
        if first[..compared] != PREFACE[..compared] {
            if is_neither(&first[..filled]) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            break Version::Http1;
        }
        if compared == PREFACE.len() {
            break Version::Http2;
        }
    };
    if socket.agreed_http2().is_some_and(|http2| http2 != (version == Version::Http2)) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok((version, Rewound { first: Bytes::copy_from_slice(&first[..filled]), socket }))
}

/// A whole first line without a version of HTTP/1.x (RFC 9112 section 3). Of what is not whole yet, or is empty
/// (section 2.2), the parser of HTTP/1.1 decides.
fn is_neither(first: &[u8]) -> bool {
    let end = first.iter().position(|&byte| byte == b'\n');
    let line = end.map_or(&b""[..], |end| first[..end].trim_ascii());
    !line.is_empty() && !line.windows(8).any(|part| part == b" HTTP/1.")
}

impl Rewound {
    /// A socket, and what is read of it first.
    pub(super) fn new(first: Bytes, socket: Stream) -> Self {
        Self { first, socket }
    }

    /// What was read already, and the socket.
    pub(super) fn into_parts(self) -> (Bytes, Stream) {
        (self.first, self.socket)
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buffer);
        }
        let n = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..n]);
        self.first.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::is_neither;

    #[test]
    fn what_is_not_http_is_told_by_its_first_line() {
        for line in ["INVALID CONNECTION PREFACE\r\n\r\n", "GET /\r\n", "PRI * HTTP/2.0\r\n\r\nXX"]
        {
            assert!(is_neither(line.as_bytes()), "{line}");
        }
        for line in
            ["GET / HTTP/1.1\r\n", "GET foo HTTP/1.0\n", "G", "GET /a-long-path", "\r\nGET /"]
        {
            assert!(!is_neither(line.as_bytes()), "{line}");
        }
    }
}
