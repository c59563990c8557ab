//! A proxy at work: follows its source, serves, and at the end drains.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Origin, Proxy};
use crate::config::file::FileSource;
use crate::config::identity::Identity;
use crate::config::stream::{self, Stream, Surroundings};
use crate::config::{Held, Received, Serving, Source};
use crate::listen::Listeners;
use crate::status::{self, Status};

/// How long after GOAWAY calls are still taken from clients that had not seen it yet.
const GRACE: Duration = Duration::from_secs(1);

/// What runs until the proxy is told to stop.
struct Live {
    stop: CancellationToken,
    /// Applies configurations; gives the listeners back.
    server: JoinHandle<Listeners>,
    /// Follows the source.
    tasks: JoinSet<()>,
}

impl Proxy {
    /// Runs until `shutdown` resolves, then refuses new calls and lets running ones end.
    ///
    /// # Errors
    /// The status port fails.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let (page, gateway, limit) =
            (Arc::new(self.status_page()), Arc::clone(&self.gateway), self.drain_timeout);
        let (port, live) = self.start();
        let closed = CancellationToken::new();
        let mut status = tokio::spawn(status::serve(port, Arc::clone(&page), closed.clone()));
        let failed = tokio::select! {
            () = shutdown => None,
            ended = &mut status => Some(ended),
        };
        tracing::info!(calls = gateway.calls_open(), "stopping: waiting up to {limit:?} for calls");
        page.set_draining();
        // Before the calls have ended: to the admin this proxy is gone, and nobody waits for its word.
        let listeners = live.end().await?;
        let late = async {
            tokio::time::sleep(GRACE).await;
            gateway.set_draining();
            std::future::pending().await
        };
        tokio::select! {
            () = listeners.drain(limit) => {}
            () = late => {}
        }
        closed.cancel();
        let ended = match failed {
            Some(ended) => ended,
            None => status.await,
        };
        tracing::info!("stopped");
        ended.map_err(io::Error::other).flatten()
    }

    /// Starts everything but the status port, and gives that back.
    fn start(self) -> (tokio::net::TcpListener, Live) {
        let stop = CancellationToken::new();
        let (received, states) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(crate::health::run(Arc::clone(&self.gateway), stop.clone()));
        let around = Surroundings {
            identity: Arc::clone(&self.identity),
            received,
            serving: self.serving.clone(),
            connection: self.connection,
            gateway: self.gateway,
            metrics: self.config_metrics,
            timings: self.timings,
            reload: self.reload,
        };
        let origin = follow(self.origin, around, &mut tasks, &stop);
        tasks.spawn(announce(self.identity, self.serving, self.status_addr, origin, stop.clone()));
        let server = tokio::spawn(self.server.run(states, stop.clone()));
        (self.status, Live { stop, server, tasks })
    }

    fn status_page(&self) -> Status {
        Status::new(
            &self.identity,
            Arc::clone(&self.gateway),
            self.metrics.clone(),
            self.config_metrics.clone(),
            self.serving.clone(),
            self.connection.subscribe(),
        )
    }
}

impl Live {
    async fn end(mut self) -> io::Result<Listeners> {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.server.await.map_err(io::Error::other)
    }
}

/// Starts to follow the source; gives the words for it.
fn follow(
    origin: Origin,
    around: Surroundings,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> String {
    match origin {
        Origin::Admin { admin, saved } => {
            let words = format!("the admin at {}", admin.address);
            let mut held = Held::default();
            if let Some(saved) = saved {
                held = saved.held.clone();
                let saved = Received { held: saved.held, source: Source::Lkg, at: saved.at };
                let connection = around.connection.subscribe();
                let (limit, received) = (around.timings.first_contact, around.received.clone());
                let stop = stop.clone();
                tasks.spawn(stream::first_contact(saved, limit, connection, received, stop));
            }
            let stream = Stream::new(admin.address, admin.token_file, held, around);
            tasks.spawn(stream.run(stop.clone()));
            words
        }
        Origin::File { path, current } => {
            let words = format!("the file {}", path.display());
            let Surroundings { received, connection, metrics, timings, reload, .. } = around;
            let file = FileSource { path, current, received, connection, metrics, timings, reload };
            tasks.spawn(file.run(stop.clone()));
            words
        }
    }
}

/// Says once, when the first listener is open or it is clear that none is, what runs here.
async fn announce(
    identity: Arc<Identity>,
    mut serving: watch::Receiver<Serving>,
    status: SocketAddr,
    origin: String,
    stop: CancellationToken,
) {
    let ready = serving.wait_for(|s| !s.listen.is_empty());
    let most = Duration::from_secs(5);
    let _ = stop.run_until_cancelled(tokio::time::timeout(most, ready)).await.map(|_| ());
    let listen = serving.borrow().listen.clone();
    let listen: Vec<_> = listen.iter().map(|(name, at)| format!("{name}={at}")).collect();
    let listen = if listen.is_empty() { "nothing yet".to_owned() } else { listen.join(" ") };
    tracing::info!(
        "pigeon-proxy {} {} listens on {listen}; status on http://{status}; configuration from {origin}",
        env!("CARGO_PKG_VERSION"),
        identity.name
    );
}
