//! One proxy's stream from its subscription to its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pigeon_proto::v1::config_down::M;
use pigeon_proto::v1::{self, config_up, welcome};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tonic::{Status, Streaming};

use super::Feed;
use super::connection::Peer;
use super::inbound;
use super::subscribe::{Start, decide};
use crate::proxies;
use crate::publisher::Next;

/// How long a proxy may take to subscribe.
const SUBSCRIBE: Duration = Duration::from_secs(10);
/// How often a quiet stream says where it is.
const BEAT: Duration = Duration::from_secs(5);
/// How long the last word of a stream may take.
const FAREWELL: Duration = Duration::from_millis(300);

/// Everything one stream needs.
pub(super) struct Session {
    pub feed: Arc<Feed>,
    pub snapshots: Arc<Semaphore>,
    pub peer: Peer,
    pub out: mpsc::Sender<Result<v1::ConfigDown, Status>>,
}

/// How a stream ends.
enum End {
    /// The proxy ended it.
    Gone,
    /// The admin stops.
    Stopping,
    /// The proxy takes nothing any more.
    Stalled,
    /// For this reason, which the proxy is told; the word is for the metrics.
    Refused(&'static str, Status),
}

impl Session {
    /// Serves the stream to its end.
    pub(super) async fn run(self, mut incoming: Streaming<v1::ConfigUp>) {
        let end = match self.subscription(&mut incoming).await {
            Ok((hello, subscribe, start)) => {
                tracing::info!(proxy = hello.name, peer = %self.peer.address, ?start, "connected");
                let name = hello.name.clone();
                let session = self.feed.proxies.connect(hello);
                let end = self.serve(&mut incoming, &session, &subscribe, start).await;
                tracing::info!(proxy = name, why = end.word(), "disconnected");
                end
            }
            Err(end) => end,
        };
        self.finish(end).await;
    }

    /// The first message, and what it leads to.
    async fn subscription(
        &self,
        incoming: &mut Streaming<v1::ConfigUp>,
    ) -> Result<(proxies::Hello, v1::Subscribe, Start), End> {
        let refuse = |word, status| Err(End::Refused(word, status));
        let first = tokio::select! {
            first = timeout(SUBSCRIBE, incoming.message()) => first,
            () = self.feed.shutdown.cancelled() => return Err(End::Stopping),
        };
        let subscribe = match first {
            Ok(Ok(Some(v1::ConfigUp { m: Some(config_up::M::Subscribe(s)) }))) => s,
            Ok(Ok(Some(_))) => {
                let status = Status::invalid_argument("the first message must be Subscribe");
                return refuse("protocol", status);
            }
            Ok(Ok(None)) => return Err(End::Gone),
            Ok(Err(status)) => return refuse("protocol", status),
            Err(_) => {
                let status = Status::deadline_exceeded("no Subscribe within 10 s");
                return refuse("protocol", status);
            }
        };
        let feed = &self.feed;
        self.wait_for_store(&subscribe).await;
        let start = decide(&subscribe, &feed.cluster_id, feed.generation, &feed.ring);
        let start = start.map_err(|e| {
            tracing::error!(peer = %self.peer.address, "a proxy is refused: {e}");
            End::Refused("other_cluster", Status::failed_precondition(e.to_string()))
        })?;
        match inbound::hello(&subscribe) {
            Ok(hello) => Ok((hello, subscribe, start)),
            Err(status) => refuse("protocol", status),
        }
    }

    /// A proxy that comes from another admin may have from it what this one is only about to read.
    async fn wait_for_store(&self, subscribe: &v1::Subscribe) {
        let feed = &self.feed;
        let ours = (&*feed.cluster_id, feed.generation);
        if (&*subscribe.cluster_id, subscribe.generation) == ours {
            let mut newest = feed.ring.watch();
            let there = newest.wait_for(|newest| *newest >= subscribe.have_revision);
            let _ = timeout(feed.catch_up, there).await;
        }
    }

    async fn serve(
        &self,
        incoming: &mut Streaming<v1::ConfigUp>,
        session: &proxies::Session,
        subscribe: &v1::Subscribe,
        start: Start,
    ) -> End {
        let ring = &self.feed.ring;
        tokio::select! {
            biased;
            () = session.replaced().cancelled() => {
                End::Refused("replaced", Status::aborted("replaced by a newer connection"))
            }
            () = self.feed.shutdown.cancelled() => End::Stopping,
            () = self.out.closed() => End::Gone,
            heard = inbound::record(incoming, session, || ring.newest()) => match heard {
                Ok(()) => End::Gone,
                Err(status) => End::Refused("protocol", status),
            },
            sent = self.follow(subscribe.max_chunk, start) => match sent {
                Ok(never) => match never {},
                Err(end) => end,
            },
        }
    }

    /// Sends what is missing, then every change, for as long as the stream lives.
    async fn follow(&self, max_chunk: u32, start: Start) -> Result<std::convert::Infallible, End> {
        self.send(M::Welcome(self.welcome(start))).await?;
        let mut beats = Beats::new();
        let mut held = match start {
            Start::Resume(revision) => revision,
            Start::Snapshot(_) => self.snapshot(max_chunk, &mut beats).await?,
        };
        let mut newest = self.feed.ring.watch();
        loop {
            newest.borrow_and_update();
            held = self.catch_up(held).await?;
            tokio::select! {
                _ = newest.changed() => {}
                () = beats.due() => self.beat(&mut beats, held).await?,
            }
        }
    }

    async fn catch_up(&self, mut held: u64) -> Result<u64, End> {
        loop {
            match self.feed.ring.after(held) {
                Next::Nothing => return Ok(held),
                Next::Delta(revision, message) => {
                    self.put(message).await?;
                    held = revision;
                }
                Next::Gone => {
                    let why = "fell behind the deltas that are kept; subscribe again";
                    return Err(End::Refused("behind", Status::aborted(why)));
                }
            }
        }
    }

    /// Sends everything, when it is this proxy's turn; returns the revision it then holds.
    async fn snapshot(&self, max_chunk: u32, beats: &mut Beats) -> Result<u64, End> {
        let _turn = self.turn(beats).await?;
        let state = self.feed.ring.state();
        let packed = state.packed().await.map_err(|e| {
            tracing::error!(error = %e, "cannot pack a snapshot");
            End::Refused("internal", Status::internal("cannot pack a snapshot"))
        })?;
        self.feed.metrics.snapshot();
        for message in packed.messages(max_chunk) {
            self.send(message).await?;
        }
        Ok(packed.revision)
    }

    /// Waits for room among the snapshots under way, and says meanwhile that the admin is alive.
    async fn turn(&self, beats: &mut Beats) -> Result<OwnedSemaphorePermit, End> {
        let mut turn = std::pin::pin!(self.snapshots.clone().acquire_owned());
        loop {
            tokio::select! {
                permit = &mut turn => {
                    let closed = |_| End::Refused("internal", Status::unavailable("stopping"));
                    return permit.map_err(closed);
                }
                () = beats.due() => self.beat(beats, self.feed.ring.newest()).await?,
            }
        }
    }

    async fn beat(&self, beats: &mut Beats, revision: u64) -> Result<(), End> {
        let Some(digest) = self.feed.ring.digest_at(revision) else { return Ok(()) };
        beats.sent += 1;
        let digest = Bytes::copy_from_slice(&digest.to_bytes());
        self.send(M::Beat(v1::Beat { id: beats.sent, revision, digest })).await
    }

    fn welcome(&self, start: Start) -> v1::Welcome {
        let feed = &self.feed;
        let (mode, reason) = match start {
            Start::Resume(_) => (welcome::Mode::Resume, ""),
            Start::Snapshot(reason) => (welcome::Mode::Snapshot, reason),
        };
        v1::Welcome {
            cluster_id: feed.cluster_id.clone(),
            generation: feed.generation,
            revision: feed.ring.newest(),
            oldest_delta: feed.ring.oldest(),
            mode: mode.into(),
            reason: reason.into(),
            beat_ms: u32::try_from(BEAT.as_millis()).unwrap_or(u32::MAX),
        }
    }

    async fn send(&self, m: M) -> Result<(), End> {
        self.put(v1::ConfigDown { m: Some(m) }).await
    }

    async fn put(&self, message: v1::ConfigDown) -> Result<(), End> {
        match timeout(self.feed.stall, self.out.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Stalled),
        }
    }

    /// Says the last word, if the proxy still listens.
    async fn finish(self, end: End) {
        self.feed.metrics.stream_end(end.word());
        let last = match end {
            End::Gone => return,
            End::Stalled => return self.peer.cut.cancel(),
            End::Stopping => Ok(v1::ConfigDown { m: Some(M::Goaway(self.go_away())) }),
            End::Refused(_, status) => Err(status),
        };
        if timeout(FAREWELL, self.out.send(last)).await.is_err() {
            self.peer.cut.cancel();
        }
    }

    /// Spreads the return of many proxies; few come back at once.
    fn go_away(&self) -> v1::GoAway {
        let (connected, _) = self.feed.proxies.counts();
        let window =
            u32::try_from(connected).unwrap_or(u32::MAX).saturating_mul(3).clamp(250, 30_000);
        // Without randomness they come back together, which the limit on snapshots survives.
        let jitter = getrandom::u32().unwrap_or(0) % window;
        v1::GoAway { after_ms: 250 + jitter, reason: "the admin is stopping".into() }
    }
}

impl End {
    fn word(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Stopping => "stopping",
            Self::Stalled => "stalled",
            Self::Refused(word, _) => word,
        }
    }
}

/// When the next beat is due, and how many there were.
struct Beats {
    timer: Interval,
    sent: u64,
}

impl Beats {
    fn new() -> Self {
        let mut timer = interval_at(Instant::now() + BEAT, BEAT);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { timer, sent: 0 }
    }

    async fn due(&mut self) {
        self.timer.tick().await;
    }
}
