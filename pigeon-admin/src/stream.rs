//! The config stream's server: one call per proxy, each a cursor into the publisher's ring.

mod connection;
mod inbound;
mod session;
mod subscribe;

use std::sync::Arc;
use std::time::Duration;

use pigeon_proto::v1;
use pigeon_proto::v1::config_server::{Config, ConfigServer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::metrics::Metrics;
use crate::proxies::Proxies;
use crate::publisher::Ring;
use crate::tls::Tls;
use crate::token::Secret;
use connection::Peer;

/// Snapshots being sent at once; other proxies wait, running on what they have.
const SNAPSHOTS_AT_ONCE: usize = 64;
/// A proxy's messages are small; the largest is the usage of all its endpoints.
const MAX_MESSAGE: usize = 1 << 20;
/// Calls on one connection; a proxy makes one.
const MAX_CALLS: u32 = 8;
/// A dead peer is noticed after these two together, also while the stream is quiet.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// What every stream works with.
pub struct Feed {
    /// What to send.
    pub ring: Arc<Ring>,
    /// Where to note who is connected.
    pub proxies: Proxies,
    /// Opens the stream.
    pub token: Secret,
    /// Whose configuration this is.
    pub cluster_id: String,
    /// Grows when the store is restored.
    pub generation: u64,
    /// Where to count.
    pub metrics: Metrics,
    /// Cancelled when the admin stops.
    pub shutdown: CancellationToken,
    /// How long a proxy that holds more than this admin has yet read of a store that others write, too, waits for it.
    pub catch_up: Duration,
    /// How long a proxy may take nothing while there is something to take; then it is cut.
    pub stall: Duration,
}

/// The usual [`Feed::stall`].
pub const STALL: Duration = Duration::from_secs(30);

/// [`Feed::catch_up`] of an admin that is not alone: longer than one goes without looking.
pub const CATCH_UP: Duration = Duration::from_secs(5);

struct Service {
    feed: Arc<Feed>,
    snapshots: Arc<Semaphore>,
}

/// Serves the config stream until the feed's shutdown; ends when every connection has ended, which `kill`
/// forces.
///
/// # Errors
/// The server could not begin.
pub async fn serve(
    listener: TcpListener,
    feed: Feed,
    tls: Option<Arc<Tls>>,
    kill: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let shutdown = feed.shutdown.clone();
    let snapshots = Arc::new(Semaphore::new(SNAPSHOTS_AT_ONCE));
    let service = Service { feed: Arc::new(feed), snapshots };
    let connections = connection::accept(listener, tls, shutdown.clone(), kill);
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .max_concurrent_streams(MAX_CALLS)
        .http2_max_header_list_size(16 << 10)
        .add_service(ConfigServer::new(service).max_decoding_message_size(MAX_MESSAGE))
        .serve_with_incoming_shutdown(connections, shutdown.cancelled_owned())
        .await
}

#[tonic::async_trait]
impl Config for Service {
    type WatchStream = ReceiverStream<Result<v1::ConfigDown, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<v1::ConfigUp>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| Status::internal("a connection without an address"))?;
        if let Err(refused) = authorised(&request, &self.feed.token) {
            self.feed.metrics.stream_end("unauthenticated");
            tracing::warn!(peer = %peer.address, "a proxy came without the proxy token");
            return Err(refused);
        }
        // One message is on its way while the next is made; everything else waits in the ring.
        let (out, answer) = mpsc::channel(1);
        let session = session::Session {
            feed: self.feed.clone(),
            snapshots: self.snapshots.clone(),
            peer,
            out,
        };
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(answer)))
    }
}

fn authorised<T>(request: &Request<T>, token: &Secret) -> Result<(), Status> {
    let header = request.metadata().get("authorization").and_then(|v| v.to_str().ok());
    let presented = header.and_then(|h| {
        let (scheme, token) = h.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match presented {
        Some(presented) if token.verify(presented) => Ok(()),
        presented => {
            let what = if presented.is_some() { "wrong" } else { "missing" };
            Err(Status::unauthenticated(format!(
                "the proxy token is {what}; give the proxy the file proxy.token of the admin's data \
                 directory (--token-file)"
            )))
        }
    }
}
