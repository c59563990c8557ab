//! Accepting connections on one worker, and seeing them through to their end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use pigeon_proto::model::{self, ListenerProtocol, Name};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::Gate;
use crate::gateway::Gateway;
use crate::http::{Client, Handshake, Upstreams, is_exhausted, serve};
use crate::limit::{Presence, Present};
use crate::metrics::ListenerSeries;
use crate::relay::Relay;
use crate::tcp;
use crate::tls::Inbound;

/// How far a listener is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Takes connections and calls.
    Open,
    /// Takes no more connections; calls go on, and clients are told to go elsewhere.
    Draining,
    /// They have had time to hear it: who has no call is let go.
    Late,
    /// Everything ends now.
    Cut,
}

/// One worker's side of a listener.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) name: Name,
    pub(super) gateway: Arc<Gateway>,
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) relay: Arc<Relay>,
    pub(super) settings: Arc<ArcSwap<model::Listener>>,
    /// None = in the clear.
    pub(super) tls: Arc<ArcSwapOption<Inbound>>,
    /// Connections open now, on all workers.
    pub(super) count: Arc<AtomicU32>,
    /// Whose they are, as far as the settings limit that.
    pub(super) present: Arc<Present>,
    pub(super) series: ListenerSeries,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) gate: watch::Receiver<Gate>,
    pub(super) tasks: TaskTracker,
}

/// A connection that is counted. Behind one pointer: thousands of them may do nothing but exist.
struct Counted(Arc<Door>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.series.open.dec();
    }
}

impl Door {
    /// Accepts until the listener closes.
    pub(super) async fn attend(self, socket: std::net::TcpListener) {
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(listener = %self.name, %error, "cannot accept connections");
                return;
            }
        };
        let door = Arc::new(self);
        let (mut phase, mut gate) = (door.phase.clone(), door.gate.clone());
        let mut pause = Pause::default();
        tokio::select! {
            biased;
            () = at_least(&mut phase, Phase::Draining) => {}
            () = at_least(&mut gate, Gate::Open) => {}
        }
        loop {
            let accepted = tokio::select! {
                biased;
                () = at_least(&mut phase, Phase::Draining) => break,
                () = at_least(&mut gate, Gate::Shut) => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    pause = Pause::default();
                    door.welcome(socket, peer);
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    door.series.accept_errors.inc();
                    if is_exhausted(&error) {
                        door.gateway.guard().say_short("a connection could not be accepted");
                    }
                    let time = pause.longer();
                    tracing::warn!(listener = %door.name, %error, ?time, "no connections for now");
                    tokio::time::sleep(time).await;
                }
            }
        }
        drop(listener);
        at_least(&mut phase, Phase::Draining).await;
        door.relay.drain(&door.name);
        // Not one of the tasks that a drain waits for.
        tokio::spawn(async move {
            at_least(&mut phase, Phase::Late).await;
            door.relay.finish_drain(&door.name);
            at_least(&mut phase, Phase::Cut).await;
            door.relay.cut(&door.name);
        });
    }

    /// Counts the connection for its source, if that is limited; an error if there are too many.
    fn enter(&self, settings: &model::Listener, peer: SocketAddr) -> Result<Source, ()> {
        let (connections, calls) =
            (settings.max_connections_per_source, settings.max_streams_per_source);
        if connections.or(calls).is_none() {
            return Ok(None);
        }
        let presence = self.present.enter(peer.ip(), connections).ok_or(())?;
        Ok(Some((presence, calls)))
    }

    fn welcome(self: &Arc<Self>, socket: TcpStream, peer: SocketAddr) {
        self.series.accepted.inc();
        self.series.open.inc();
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(self));
        let settings = self.settings.load_full();
        if before >= settings.max_connections {
            self.series.refused.limit.inc();
            return;
        }
        let Ok(source) = self.enter(&settings, peer) else {
            tracing::debug!(listener = %self.name, %peer, "a source has as many connections as it may have");
            self.series.refused.source.inc();
            return;
        };
        if !self.gateway.guard().takes_connection(socket.as_raw_fd()) {
            self.series.refused.overloaded.inc();
            return;
        }
        // Messages are often smaller than a segment, and somebody waits for them.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "the connection is gone already");
            return;
        }
        let client = Client {
            gateway: Arc::clone(&self.gateway),
            upstreams: Arc::clone(&self.upstreams),
            relay: self.gateway.relays().then(|| Arc::clone(&self.relay)),
            listener: self.name.clone(),
            peer: peer.ip().to_canonical(),
            tally: self.gateway.connected(&self.name, peer, source),
            certificate: None,
            secure: false,
        };
        let series = &self.series.handshakes;
        let protocol = settings.protocol;
        let handshake = |tls| Handshake { tls, protocol, series: series.clone() };
        let tls = self.tls.load_full().map(handshake);
        let phase = self.phase.clone();
        match protocol {
            ListenerProtocol::Auto => {
                self.tasks.spawn(serve(socket, client, settings, tls, phase, counted));
            }
            ListenerProtocol::Tcp => {
                let served = Box::pin(tcp::serve(socket, client, settings, tls, phase));
                self.tasks.spawn(async move {
                    served.await;
                    drop(counted);
                });
            }
        }
    }
}

type Source = Option<(Presence, Option<u32>)>;

/// Waits until the listener, or the gate of all, is at least as far as `wanted`.
pub(crate) async fn at_least<T: PartialOrd>(phase: &mut watch::Receiver<T>, wanted: T) {
    // An error says that the listeners were dropped without a drain: the end.
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

/// How long to leave the system alone when it has no connection to give, for want of file descriptors.
#[derive(Default)]
struct Pause(u32);

impl Pause {
    fn longer(&mut self) -> Duration {
        let time = Duration::from_millis(10 << self.0.min(6));
        self.0 += 1;
        time
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
