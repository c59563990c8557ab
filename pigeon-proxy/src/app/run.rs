//! A proxy at work: follows its source, serves, and at the end drains.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Origin, Proxy, Stage};
use crate::config::file::FileSource;
use crate::config::identity::Identity;
use crate::config::stream::{self, Stream, Surroundings};
use crate::config::{Held, Received, Serving, Source};
use crate::guard;
use crate::listen::{GRACE, Gate, Listeners, Sockets};
use crate::status::{self, Status};
use crate::takeover::predecessor::{self, Ask, Desk, Given};

/// As [`GRACE`], where nobody waits for this process to end.
const UNHURRIED: Duration = Duration::from_secs(5);
/// How long a process that was taken over may take to let go of the admin.
const RELEASE: Duration = Duration::from_secs(10);

/// How long the last spans may take to be exported.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Why a proxy ends.
enum End {
    Told,
    Failed(Result<io::Result<()>, tokio::task::JoinError>),
    TakenOver(Box<Given>),
}

/// Waits until another process has taken over; for ever if none can.
async fn given(socket: Option<&UnixListener>, desk: &Desk) -> Given {
    match socket {
        Some(socket) => predecessor::wait(socket, desk).await,
        None => std::future::pending().await,
    }
}

/// What runs until the proxy is told to stop.
struct Live {
    stop: CancellationToken,
    /// Applies configurations; gives the listeners back.
    server: JoinHandle<Listeners>,
    /// Follows the source.
    tasks: JoinSet<()>,
}

impl Proxy {
    /// Runs until `shutdown` resolves or another process takes over, then refuses new calls and lets running
    /// ones end.
    ///
    /// # Errors
    /// The status port fails.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let stop = CancellationToken::new();
        let name = self.identity.name.to_string();
        let traces = self
            .traces
            .take()
            .map(|(to, spans)| tokio::spawn(crate::traces::export(to, name, spans, stop.clone())));
        let ended = self.serve(shutdown).await;
        // The last calls have ended, and there is something to tell of them.
        stop.cancel();
        if let Some(traces) = traces {
            let _ = tokio::time::timeout(LAST_SPANS, traces).await;
        }
        ended
    }

    async fn serve(mut self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let (page, gateway, limit, (gate, stage)) = (
            Arc::new(self.status_page()),
            Arc::clone(&self.gateway),
            self.drain_timeout,
            (self.gate.clone(), self.stage.clone()),
        );
        let (asks, asked) = mpsc::channel(1);
        let (socket, desk) = (self.takeover.take(), self.desk(asks)?);
        let (port, live) = self.start(asked);
        let closed = CancellationToken::new();
        let mut status = tokio::spawn(status::serve(port, Arc::clone(&page), closed.clone()));
        let end = tokio::select! {
            () = shutdown => End::Told,
            ended = &mut status => End::Failed(ended),
            given = given(socket.as_ref(), &desk) => End::TakenOver(Box::new(given)),
        };
        drop((socket, desk));
        tracing::info!(calls = gateway.calls_open(), "stopping: waiting up to {limit:?} for calls");
        page.set_draining();
        if let End::TakenOver(given) = end {
            stage.send_replace(Stage::TakenOver(given.pid));
            gate.send_replace(Gate::Shut);
            // The new process answers there.
            closed.cancel();
            return leave(live, *given, limit).await;
        }
        stage.send_replace(Stage::Stopping);
        // Before the calls have ended: to the admin this proxy is gone, and nobody waits for its word.
        let listeners = live.end().await?;
        let late = async {
            tokio::time::sleep(GRACE).await;
            gateway.set_draining();
            std::future::pending().await
        };
        tokio::select! {
            () = listeners.drain(limit, GRACE) => {}
            () = late => {}
        }
        closed.cancel();
        let ended = match end {
            End::Failed(ended) => ended,
            _ => status.await,
        };
        tracing::info!("stopped");
        ended.map_err(io::Error::other).flatten()
    }

    /// Starts everything but the status port, and gives that back.
    fn start(self, asked: mpsc::Receiver<Ask>) -> (tokio::net::TcpListener, Live) {
        let stop = CancellationToken::new();
        let (received, states) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(crate::health::run(Arc::clone(&self.gateway), stop.clone()));
        let limit = guard::watch::memory_limit(self.memory_limit);
        tasks.spawn(guard::watch::run(Arc::clone(&self.gateway), limit, stop.clone()));
        let gateway = Arc::clone(&self.gateway);
        tasks.spawn(crate::tls::reload::run(gateway, self.timings, stop.clone()));
        let gateway = Arc::clone(&self.gateway);
        tasks.spawn(crate::jwks::run(gateway, self.timings, stop.clone()));
        if let Some(follow) = self.gateway.access_log().follow_calls() {
            // Until the end: calls go on while the proxy drains.
            tokio::spawn(follow);
        }
        let around = Surroundings {
            identity: Arc::clone(&self.identity),
            received,
            serving: self.serving.clone(),
            connection: self.connection,
            gateway: self.gateway,
            metrics: self.config_metrics,
            timings: self.timings,
        };
        let origin = follow(self.origin, around, self.released, &mut tasks, &stop);
        let word = Announcement {
            identity: self.identity,
            status: self.status_addr,
            origin,
            sockets: self.sockets,
        };
        tasks.spawn(announce(word, self.serving, self.stage, stop.clone()));
        let server = tokio::spawn(self.server.run(states, asked, stop.clone()));
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
            (self.status_addr, self.levels.clone()),
        )
    }
}

/// Ends the calls that are left beside the process that has taken over.
async fn leave(live: Live, given: Given, limit: Duration) -> io::Result<()> {
    let listeners = live.end().await?;
    given.released().await;
    tokio::select! {
        () = listeners.drain(limit, UNHURRIED) => {}
        () = given.lend() => {}
    }
    tracing::info!("stopped: another process has taken over");
    Ok(())
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
    released: Option<oneshot::Receiver<()>>,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> String {
    match origin {
        Origin::Admin { admin, saved } => {
            let all: Vec<_> = admin.addresses.iter().map(ToString::to_string).collect();
            let words = format!("the admin at {}", all.join(" or "));
            let mut held = Held::default();
            let saved = saved.inspect(|saved| held = saved.held.clone());
            // After a take-over it serves already.
            if let Some(saved) = saved.filter(|_| released.is_none()) {
                let saved = Received { held: saved.held, source: Source::Lkg, at: saved.at };
                let connection = around.connection.subscribe();
                let (limit, received) = (around.timings.first_contact, around.received.clone());
                let stop = stop.clone();
                tasks.spawn(stream::first_contact(saved, limit, connection, received, stop));
            }
            let stream = Stream::new(admin.addresses, (admin.token_file, admin.tls), held, around);
            let stop = stop.clone();
            tasks.spawn(async move {
                if let Some(released) = released {
                    // Two processes with one identity would take the stream from each other.
                    let released = tokio::time::timeout(RELEASE, released);
                    let _ = stop.run_until_cancelled(released).await;
                }
                stream.run(stop).await;
            });
            words
        }
        Origin::File { path, current } => {
            let words = format!("the file {}", path.display());
            let Surroundings { received, serving, connection, metrics, timings, gateway, .. } =
                around;
            let reload = gateway.reload().part();
            let file = FileSource {
                path,
                current,
                received,
                serving,
                connection,
                metrics,
                timings,
                reload,
            };
            tasks.spawn(file.run(stop.clone()));
            words
        }
    }
}

/// What there is to say when the proxy serves.
struct Announcement {
    identity: Arc<Identity>,
    status: SocketAddr,
    /// Where configurations come from.
    origin: String,
    sockets: Sockets,
}

/// Says once, when the first listener is open or it is clear that none is, what runs here.
async fn announce(
    word: Announcement,
    mut serving: watch::Receiver<Serving>,
    stage: watch::Sender<Stage>,
    stop: CancellationToken,
) {
    let ready = serving.wait_for(|s| !s.listen.is_empty());
    let most = Duration::from_secs(5);
    if stop.run_until_cancelled(tokio::time::timeout(most, ready)).await.is_none() {
        return;
    }
    let listen = serving.borrow().listen.clone();
    let listen: Vec<_> = listen.iter().map(|(name, at)| format!("{name}={at}")).collect();
    let listen = if listen.is_empty() { "nothing yet".to_owned() } else { listen.join(" ") };
    let Announcement { identity, status, origin, sockets } = word;
    tracing::info!(
        "pigeon-proxy {} {} listens on {listen}; status on http://{status}; configuration from {origin}",
        env!("CARGO_PKG_VERSION"),
        identity.name
    );
    for address in sockets.unclaimed() {
        tracing::warn!(
            "nothing here listens at {address}, where the service manager has a socket: who connects to it \
             waits; give a listener that address (--bind NAME={address})"
        );
    }
    stage.send_if_modified(|stage| {
        let starting = *stage == Stage::Starting;
        if starting {
            *stage = Stage::Serving;
        }
        starting
    });
}
