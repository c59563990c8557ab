//! The listening engine: binding, serving its connections, and stopping.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic_health::server::HealthReporter;

use crate::head::Desk;
use crate::script::Director;
use crate::stats::Stats;
use crate::{Config, routes};

/// How long open calls may go on after the engine was asked to stop.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Streams one connection may have open. A gateway packs many calls onto few connections, and this
/// engine's limit is to be its slots, not hyper's 200 streams.
const MAX_STREAMS: u32 = 10_000;

/// An engine that listens and does not serve yet.
#[derive(Debug)]
pub struct Engine {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    stats: Stats,
    health: HealthReporter,
}

/// Makes an engine that listens; clients can connect from here on, and are served once it runs.
///
/// # Errors
/// The address cannot be listened on (the message names it), or the name cannot travel as a header.
pub async fn bind(config: Config) -> io::Result<Engine> {
    let Config { name, listen, delay, slots } = config;
    let stats = Stats::default();
    let desk = Desk::new(&name, slots, stats.clone())?;
    let health = HealthReporter::new();
    routes::open(&health).await;
    let router = routes::all(Director { engine: name, delay }, desk, &health)?;
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}"))
    })?;
    let address = listener.local_addr()?;
    Ok(Engine { listener, address, router, stats, health })
}

impl Engine {
    /// Where it listens, with the port it was given.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Its counts, to be read or waited for while it runs.
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// Serves until `shutdown` is ready; then takes no more connections, lets open calls go on for at
    /// most 2 s and closes what is left. Dropping this future closes everything at once.
    ///
    /// # Errors
    /// The system does not hand over connections any more, for example for want of file descriptors.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let Self { listener, router, mut health, .. } = self;
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => match accepted {
                    Ok((socket, _)) => {
                        connections.spawn(serve(socket, router.clone(), graceful.watcher()));
                    }
                    Err(error) if is_the_clients(&error) => {}
                    Err(error) => return Err(error),
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        routes::close(&mut health).await;
        // Running out of time is not an error: whatever is still open is closed below.
        let _ = tokio::time::timeout(STOP_LIMIT, graceful.shutdown()).await;
        connections.shutdown().await;
        Ok(())
    }
}

/// Serves one connection, HTTP/1.1 or HTTP/2 by what the client begins with. How it ends is the
/// client's affair: a broken connection shows in the counts.
async fn serve(socket: TcpStream, router: Router, watcher: Watcher) {
    // Tokens are small and must not wait for more; without the option they are only later.
    let _ = socket.set_nodelay(true);
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
    let connection =
        server.serve_connection(TokioIo::new(socket), TowerToHyperService::new(router));
    let _ = watcher.watch(connection).await;
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
