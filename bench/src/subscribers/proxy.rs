//! A simulated proxy: follows the config stream as pigeon-proxy does, and checks its order and revisions.
//!
//! It keeps no state and does not unpack the snapshot: thousands that did would take this machine's time
//! and memory from the admin, which is what is measured.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use pigeon_proto::v1::config_client::ConfigClient;
use pigeon_proto::v1::config_down::M;
use pigeon_proto::v1::{self, config_up, welcome};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};

/// As of pigeon-proxy.
const MAX_CHUNK: u32 = 256 << 10;
/// As of pigeon-proxy.
const MAX_MESSAGE: usize = 32 << 20;
/// As of pigeon-proxy.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// What a subscriber has to tell.
pub(super) struct Report {
    /// Which one.
    pub(super) number: u32,
    /// What it acknowledged; or why it ended.
    pub(super) acknowledged: anyhow::Result<Acknowledged>,
}

/// What a subscriber has acknowledged.
#[derive(Debug)]
pub(super) struct Acknowledged {
    pub(super) revision: u64,
    pub(super) at: Instant,
    /// Of the state at this revision, as the admin said: every delta on the way followed the one before.
    pub(super) digest: Vec<u8>,
}

/// One subscriber.
pub(super) struct Proxy {
    pub(super) number: u32,
    /// Every delta has to be one change; otherwise it may be several that came together.
    pub(super) single: bool,
    /// Of the config stream.
    pub(super) address: SocketAddr,
    pub(super) token: String,
    /// Held while it connects.
    pub(super) connecting: Arc<Semaphore>,
    pub(super) reports: mpsc::UnboundedSender<Report>,
}

type Up = mpsc::Sender<v1::ConfigUp>;
type Down = Streaming<v1::ConfigDown>;

impl Proxy {
    /// Follows the admin until something fails.
    pub(super) async fn run(self) {
        let Err(error) = self.follow().await;
        self.report(Err(error));
    }

    fn report(&self, acknowledged: anyhow::Result<Acknowledged>) {
        // Nobody listens any more when the measurement is over.
        let _ = self.reports.send(Report { number: self.number, acknowledged });
    }

    async fn follow(&self) -> anyhow::Result<Infallible> {
        let (mut down, up) = self.subscribe().await?;
        let (mut held, digest) = snapshot(&mut down).await?;
        self.acknowledge(&up, held, digest).await?;
        for message in idle() {
            say(&up, message).await?;
        }
        loop {
            match next(&mut down).await? {
                M::Delta(delta) => {
                    held = after(held, &delta, self.single)?;
                    self.acknowledge(&up, held, delta.digest.to_vec()).await?;
                }
                M::Beat(beat) => {
                    let revision = beat.revision;
                    ensure!(revision == held, "a beat of revision {revision}, held is {held}");
                }
                other => bail!("out of place: {other:?}"),
            }
        }
    }

    async fn subscribe(&self) -> anyhow::Result<(Down, Up)> {
        let turn = self.connecting.acquire().await?;
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))?
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect().await.context("cannot connect")?;
        drop(turn);
        let (up, messages) = mpsc::channel(1);
        let node = v1::NodeInfo {
            node_id: format!("subscriber-{}", self.number),
            incarnation: 1,
            machine: "bench".into(),
            name: format!("subscriber-{}", self.number),
            version: env!("CARGO_PKG_VERSION").into(),
            listen: [("default".into(), "127.0.0.1:8080".into())].into(),
        };
        let subscribe =
            v1::Subscribe { node: Some(node), max_chunk: MAX_CHUNK, ..Default::default() };
        say(&up, config_up::M::Subscribe(subscribe)).await?;
        let mut request = Request::new(ReceiverStream::new(messages));
        let bearer = format!("Bearer {}", self.token).parse().context("the proxy token")?;
        request.metadata_mut().insert("authorization", bearer);
        let mut client = ConfigClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let response = client.watch(request).await.context("the subscription is refused")?;
        Ok((response.into_inner(), up))
    }

    /// Sends an acknowledgement and reports when it left.
    async fn acknowledge(&self, up: &Up, revision: u64, digest: Vec<u8>) -> anyhow::Result<()> {
        let ack = v1::Ack { received: revision, effective: revision, rejected: Vec::new() };
        say(up, config_up::M::Ack(ack)).await?;
        // There is room again as soon as the connection has taken it.
        drop(up.reserve().await.context("the way up is closed")?);
        self.report(Ok(Acknowledged { revision, at: Instant::now(), digest }));
        Ok(())
    }
}

/// What a proxy without calls says once: where its configuration is from, and that nothing is in use.
fn idle() -> [config_up::M; 2] {
    let source = v1::status::Source::Stream.into();
    let engine = v1::EngineUsage { engine: "e".into(), ..Default::default() };
    let endpoint = v1::EndpointUsage {
        engine: "e".into(),
        address: "10.0.0.1:1".into(),
        state: v1::endpoint_usage::State::Healthy.into(),
        ..Default::default()
    };
    [
        config_up::M::Status(v1::Status { source, ..Default::default() }),
        config_up::M::Usage(v1::Usage { endpoints: vec![endpoint], engines: vec![engine] }),
    ]
}

async fn say(up: &Up, message: config_up::M) -> anyhow::Result<()> {
    up.send(v1::ConfigUp { m: Some(message) }).await.context("the way up is closed")
}

async fn next(down: &mut Down) -> anyhow::Result<M> {
    let message = down.message().await.context("the stream failed")?;
    message.context("the admin ended the stream")?.m.context("a message without content")
}

/// Receives the first snapshot; its revision and digest.
async fn snapshot(down: &mut Down) -> anyhow::Result<(u64, Vec<u8>)> {
    match next(down).await? {
        M::Welcome(m) if m.mode() == welcome::Mode::Snapshot => {}
        other => bail!("instead of a welcome with a snapshot: {other:?}"),
    }
    let begin = loop {
        match next(down).await? {
            M::Begin(begin) => break begin,
            // Others have their turn first.
            M::Beat(_) => {}
            other => bail!("instead of a snapshot: {other:?}"),
        }
    };
    let mut bytes = 0;
    for index in 0..begin.chunks {
        match next(down).await? {
            M::Chunk(chunk) if chunk.index == index => bytes += chunk.data.len() as u64,
            other => bail!("instead of chunk {index}: {other:?}"),
        }
    }
    ensure!(bytes == begin.bytes, "a snapshot of {bytes} bytes instead of {}", begin.bytes);
    match next(down).await? {
        M::End(end) if end.revision == begin.revision => Ok((end.revision, end.digest.to_vec())),
        other => bail!("instead of the end of revision {}: {other:?}", begin.revision),
    }
}

/// The revision that a delta leads to, if it follows what is held; with `single` if it is exactly one change.
fn after(held: u64, delta: &v1::Delta, single: bool) -> anyhow::Result<u64> {
    let revision = delta.revision;
    ensure!(delta.prev == held, "a delta of what follows {}, held is {held}", delta.prev);
    if !single {
        return Ok(revision);
    }
    match (delta.put.as_slice(), delta.del.as_slice()) {
        ([put], []) if put.mod_revision == revision => Ok(revision),
        (put, del) => bail!(
            "revision {revision} is not one change: {} objects put, {} deleted",
            put.len(),
            del.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_change_is_taken() {
        let put = |mod_revision| v1::Put { mod_revision, ..Default::default() };
        let delta = |prev, put| v1::Delta { prev, revision: 8, put, ..Default::default() };
        assert_eq!(after(7, &delta(7, vec![put(8)]), true).unwrap(), 8);
        assert_eq!(after(7, &delta(7, vec![put(7), put(8)]), false).unwrap(), 8);
        for (wrong, why) in [
            (delta(6, vec![put(8)]), "a delta of what follows 6, held is 7"),
            (delta(7, vec![put(7)]), "revision 8 is not one change: 1 objects put, 0 deleted"),
            (delta(7, vec![]), "revision 8 is not one change: 0 objects put, 0 deleted"),
        ] {
            assert_eq!(after(7, &wrong, true).unwrap_err().to_string(), why);
        }
    }
}
