//! Connections of proxies: how many there may be, and the means to cut one that takes nothing any more.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::tls::{Io, Port, Tls};

/// Connections at once. Those over it wait in the kernel.
const MOST_CONNECTIONS: usize = 12_000;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub address: SocketAddr,
    /// Cuts the connection. A gRPC server cannot reset a call whose peer grants no window: everything it
    /// would send, a reset by error included, waits behind what the peer does not take.
    pub cut: CancellationToken,
}

pub(super) struct Connection {
    io: Io,
    peer: Peer,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
}

/// Accepted connections until `shutdown`; `kill` cuts all of them.
pub(super) fn accept(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    shutdown: CancellationToken,
    kill: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    futures_util::stream::unfold((listener, room), move |(listener, room)| {
        let (shutdown, kill, tls) = (shutdown.clone(), kill.clone(), tls.clone());
        async move {
            let next = one(&listener, tls.as_deref(), &room, &kill);
            let connection = shutdown.run_until_cancelled(next).await?;
            Some((Ok(connection), (listener, room)))
        }
    })
}

async fn one(
    listener: &TcpListener,
    tls: Option<&Tls>,
    room: &Arc<Semaphore>,
    kill: &CancellationToken,
) -> Connection {
    loop {
        let permit = room.clone().acquire_owned().await;
        match (listener.accept().await, permit) {
            (Ok((tcp, address)), Ok(permit)) => {
                return Connection::new(tcp, tls, address, kill, permit);
            }
            (Err(e), _) => {
                // Mostly "too many open files": there is nothing to do but to try again a little later.
                tracing::warn!(error = %e, "cannot accept a connection of a proxy");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            // The semaphore is never closed.
            (Ok(_), Err(_)) => {}
        }
    }
}

impl Connection {
    fn new(
        tcp: TcpStream,
        tls: Option<&Tls>,
        address: SocketAddr,
        kill: &CancellationToken,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        if let Err(e) = tcp.set_nodelay(true) {
            tracing::debug!(error = %e, "cannot set TCP_NODELAY");
        }
        let cut = kill.child_token();
        let waiting = Box::pin(cut.clone().cancelled_owned());
        let io = Io::new(tcp, tls, Port::Grpc);
        Self { io, peer: Peer { address, cut }, cut: waiting, _permit: permit }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A server always reads, so this is where it notices.
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.peer.cut.is_cancelled() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.peer.cut.is_cancelled() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
