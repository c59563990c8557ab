//! The config stream over the network: connects to the admin, drives [`Protocol`], reports back.
//!
//! It tries for ever, of several admins one after the other. Whatever happens here, what serves goes on serving.

mod backoff;
mod connect;
mod first_contact;
mod tls;
mod uplink;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pigeon_proto::v1;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::address::AdminAddress;
use super::identity::Identity;
use super::protocol::{Event, Held, Protocol, ProtocolError};
use super::{Connection, Received, Serving, Source, Timings};
use crate::gateway::Gateway;
use crate::metrics::config::ConfigMetrics;
use backoff::{Backoff, Then};
pub use first_contact::first_contact;
pub use tls::AdminTls;
use uplink::Uplink;

/// What the stream needs from the rest of the proxy.
pub struct Surroundings {
    /// Who connects.
    pub identity: Arc<Identity>,
    /// Where received configurations go.
    pub received: watch::Sender<Option<Received>>,
    /// What came of them.
    pub serving: watch::Receiver<Serving>,
    /// How the connection stands.
    pub connection: watch::Sender<Connection>,
    /// Asked for its usage, once a second.
    pub gateway: Arc<Gateway>,
    /// Counts what happens here.
    pub metrics: ConfigMetrics,
    /// How long things wait.
    pub timings: Timings,
}

/// The connection to one admin, or to one after the other of several.
pub struct Stream {
    addresses: Vec<AdminAddress>,
    /// The one of the present, or of the next attempt.
    at: usize,
    token_file: PathBuf,
    tls: AdminTls,
    protocol: Protocol,
    /// When the admin took the subscription of the present stream.
    welcomed_at: Option<Instant>,
    around: Surroundings,
}

/// How a stream, or the attempt at one, ended.
struct End {
    why: String,
    then: Then,
}

/// Why a conversation ended.
enum Fault {
    Ended(End),
    Protocol(ProtocolError),
}

impl Fault {
    fn lost(why: String) -> Self {
        Self::Ended(End { why, then: Then::Back })
    }
}

impl Stream {
    /// Will connect to one of `addresses`, and say that it holds `held`. Many proxies begin with different ones.
    pub fn new(
        addresses: Vec<AdminAddress>,
        (token_file, tls): (PathBuf, AdminTls),
        held: Held,
        around: Surroundings,
    ) -> Self {
        let protocol = Protocol::new(held);
        let at = fastrand::usize(..addresses.len().max(1));
        Self { addresses, at, token_file, tls, protocol, welcomed_at: None, around }
    }

    /// Keeps a stream to the admin until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut asks = self.around.gateway.reload().asks();
        let mut backoff = Backoff::new(self.around.timings.reconnect, self.around.timings.refused);
        loop {
            let end = tokio::select! {
                () = stop.cancelled() => break,
                end = self.attempt() => end,
            };
            let lived = self.welcomed_at.map(|at| at.elapsed());
            if lived.is_some() {
                // What was asked before it ended was not about this.
                asks.mark_unchanged();
            }
            let then = self.elsewhere(end.then);
            let delay = backoff.delay(&then, lived);
            self.disconnected(&end.why, delay);
            self.at = (self.at + 1) % self.addresses.len().max(1);
            tokio::select! {
                () = stop.cancelled() => break,
                // Somebody asks for another attempt now. The sender is in `around`.
                _ = asks.changed() => {}
                () = sleep(delay) => {}
            }
        }
    }

    /// With another admin to go to, nobody waits for the one that is away or does not want this proxy.
    fn elsewhere(&self, then: Then) -> Then {
        match then {
            Then::After(_) if self.addresses.len() > 1 => Then::Back,
            Then::Slowly if self.at + 1 < self.addresses.len() => Then::Again,
            then => then,
        }
    }

    /// The admin of the present, or of the next attempt.
    fn address(&self) -> &AdminAddress {
        &self.addresses[self.at]
    }

    fn disconnected(&self, why: &str, delay: Duration) {
        let before = self.around.connection.borrow().clone();
        if before.last_error.as_deref() == Some(why) {
            tracing::debug!("no stream to the admin: {why}; trying again in {delay:?}");
        } else {
            tracing::warn!("no stream to the admin at {}: {why}; trying again", self.address());
        }
        self.around.metrics.disconnected();
        self.around.connection.send_modify(|c| {
            c.connected = false;
            c.last_error = Some(why.to_owned());
        });
    }

    /// One stream, from the connection to its end.
    async fn attempt(&mut self) -> End {
        self.around.metrics.attempt();
        self.welcomed_at = None;
        let (mut down, up) = match self.open().await {
            Ok(open) => open,
            Err(end) => return end,
        };
        match self.converse(&mut down, &up).await {
            Fault::Ended(end) => end,
            Fault::Protocol(e) => {
                self.around.metrics.protocol_error(e.is_mismatch());
                // A failure though welcomed: the same fault may await the next stream, at once.
                let then = if e.needs_someone() { Then::Slowly } else { Then::Again };
                End { why: e.to_string(), then }
            }
        }
    }

    /// Takes messages and reports back until the stream ends.
    async fn converse(
        &mut self,
        down: &mut Streaming<v1::ConfigDown>,
        up: &mpsc::Sender<v1::ConfigUp>,
    ) -> Fault {
        let mut uplink = Uplink::default();
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut dead_at = Instant::now() + self.protocol.patience();
        loop {
            let live = self.protocol.is_live();
            let serving = &mut self.around.serving;
            let next = if live { uplink.next(&serving.borrow_and_update()) } else { None };
            tokio::select! {
                message = down.message() => {
                    if let Err(fault) = self.heard(message) {
                        return fault;
                    }
                    dead_at = Instant::now() + self.protocol.patience();
                }
                // Where the way up is closed, the way down will say why.
                Ok(permit) = up.reserve(), if next.is_some() => {
                    if let Some(message) = next {
                        permit.send(uplink.sent(message));
                    }
                }
                // Nothing to do but to look again at what there is to say.
                Ok(()) = serving.changed(), if next.is_none() => {}
                _ = second.tick(), if live => uplink.usage(&self.around.gateway.usage()),
                () = sleep_until(dead_at) => {
                    let silence = self.protocol.patience();
                    return Fault::lost(format!("the admin has said nothing for {silence:?}"));
                }
            }
        }
    }

    /// Takes what came from the admin.
    fn heard(&mut self, message: Result<Option<v1::ConfigDown>, Status>) -> Result<(), Fault> {
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => return Err(Fault::lost("the admin ended the stream".into())),
            Err(status) => return Err(Fault::Ended(self.refused(&status))),
        };
        let event = self.protocol.receive(message).map_err(Fault::Protocol)?;
        let now = SystemTime::now();
        self.around.connection.send_modify(|c| c.last_message = Some(now));
        if self.protocol.is_live() {
            self.around.metrics.current(now);
        }
        match event {
            Event::Alive => {}
            Event::Resumed => {
                self.connected("nothing was missed");
                self.forward(now);
            }
            Event::SnapshotPromised(why) => self.connected(&format!("a snapshot follows: {why}")),
            Event::Snapshot => {
                self.around.metrics.snapshot();
                self.forward(now);
            }
            Event::Delta => {
                self.around.metrics.delta();
                self.forward(now);
            }
            Event::Bookmark => self.forward(now),
            Event::GoAway { after, reason } => {
                let why = format!("the admin asked to come back in {after:?}: {reason}");
                return Err(Fault::Ended(End { why, then: Then::After(after) }));
            }
        }
        Ok(())
    }

    fn connected(&mut self, how: &str) {
        self.welcomed_at = Some(Instant::now());
        tracing::info!(
            revision = self.protocol.held().raw.revision(),
            "connected to the admin at {}: {how}",
            self.address()
        );
        self.around.metrics.connected();
        self.around.connection.send_modify(|c| {
            c.connected = true;
            c.last_error = None;
        });
    }

    /// Hands the state on to be served.
    fn forward(&self, at: SystemTime) {
        let held = self.protocol.held().clone();
        self.around.received.send_replace(Some(Received { held, source: Source::Stream, at }));
    }
}
