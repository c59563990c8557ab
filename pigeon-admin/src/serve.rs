//! REST's port: HTTP/1.1 connections with limits, ended in good time at a stop.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::app::{AppState, Peer};
use crate::tls::{Io, Port};

/// Connections at once; those over it wait in the kernel.
const MOST_CONNECTIONS: usize = 1_024;
/// How long a connection may take over the head of a request, and lie idle before the next.
const HEAD: Duration = Duration::from_secs(60);

/// Serves until the state's shutdown, then lets the requests under way end; dropping the future cuts them.
pub async fn rest(listener: TcpListener, state: AppState) {
    let (shutdown, tls) = (state.shutdown.clone(), state.tls.clone());
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let router = crate::api::router(state);
    let mut open = JoinSet::new();
    loop {
        let next = shutdown.run_until_cancelled(accept(&listener, &room)).await;
        let Some((tcp, peer, permit)) = next else { break };
        let (router, shutdown) = (router.clone(), shutdown.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            router.clone().oneshot(request)
        });
        if let Err(e) = tcp.set_nodelay(true) {
            tracing::debug!(error = %e, "cannot set TCP_NODELAY");
        }
        let io = Io::new(tcp, tls.as_deref(), Port::Rest);
        open.spawn(async move {
            let _permit = permit;
            connection(io, service, shutdown).await;
        });
        while open.try_join_next().is_some() {}
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let permit = room.clone().acquire_owned().await;
        match (listener.accept().await, permit) {
            (Ok((tcp, peer)), Ok(permit)) => return (tcp, peer, permit),
            (Err(e), _) => {
                // Mostly "too many open files": there is nothing to do but to try again a little later.
                tracing::warn!(error = %e, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            // The semaphore is never closed.
            (Ok(_), Err(_)) => {}
        }
    }
}

async fn connection<S, B>(io: Io, service: S, shutdown: CancellationToken)
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 << 10);
    let mut serving = pin!(http.serve_connection(TokioIo::new(io), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!(error = %e, "a connection ended badly");
    }
}
