//! A proxy as far as the config stream goes: it holds what it is sent, checks all of it, and says what it
//! is told to say.

use std::io;

use bytes::Bytes;
use pigeon_proto::model::RawState;
use pigeon_proto::v1::config_client::ConfigClient;
use pigeon_proto::v1::config_down::M;
use pigeon_proto::v1::{self, config_up};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status, Streaming};

/// One stream of a proxy.
pub struct Proxy {
    pub raw: RawState,
    pub welcome: v1::Welcome,
    /// Snapshots and deltas received.
    pub snapshots: usize,
    pub deltas: usize,
    pub chunks: Vec<usize>,
    up: mpsc::Sender<v1::ConfigUp>,
    down: Streaming<v1::ConfigDown>,
}

impl Proxy {
    /// A subscription of a proxy that holds nothing.
    pub fn hello(name: &str) -> v1::Subscribe {
        let node = v1::NodeInfo {
            node_id: format!("id-{name}"),
            incarnation: 1,
            machine: "m".into(),
            name: name.into(),
            version: "0".into(),
            ..Default::default()
        };
        v1::Subscribe { node: Some(node), ..Default::default() }
    }

    /// The subscription of the same proxy, which now holds what `self` does.
    pub fn again(&self, name: &str) -> v1::Subscribe {
        v1::Subscribe {
            cluster_id: self.welcome.cluster_id.clone(),
            generation: self.welcome.generation,
            have_revision: self.raw.revision(),
            have_digest: Bytes::copy_from_slice(&self.raw.digest().to_bytes()),
            ..Self::hello(name)
        }
    }

    /// Opens the stream without saying anything.
    pub async fn open(
        address: &str,
        token: &str,
    ) -> Result<(mpsc::Sender<v1::ConfigUp>, Streaming<v1::ConfigDown>), Status> {
        let failed = |e: tonic::transport::Error| Status::unavailable(e.to_string());
        let endpoint = Endpoint::new(address.to_owned()).map_err(failed)?;
        // Small windows, so that a proxy that does not read is soon noticed.
        let endpoint =
            endpoint.initial_stream_window_size(64 << 10).initial_connection_window_size(64 << 10);
        let mut client = ConfigClient::new(endpoint.connect().await.map_err(failed)?);
        let (up, messages) = mpsc::channel(16);
        let mut request = Request::new(ReceiverStream::new(messages));
        let bearer = format!("Bearer {token}").parse().map_err(|_| Status::internal("token"))?;
        request.metadata_mut().insert("authorization", bearer);
        Ok((up, client.watch(request).await?.into_inner()))
    }

    /// Opens the stream, subscribes and takes the welcome.
    pub async fn connect(
        address: &str,
        token: &str,
        subscribe: v1::Subscribe,
    ) -> Result<Self, Status> {
        let (up, mut down) = Self::open(address, token).await?;
        let m = Some(config_up::M::Subscribe(subscribe));
        up.send(v1::ConfigUp { m }).await.map_err(|_| Status::cancelled("closed"))?;
        match down.message().await?.and_then(|d| d.m) {
            Some(M::Welcome(welcome)) => Ok(Self {
                raw: RawState::default(),
                welcome,
                snapshots: 0,
                deltas: 0,
                chunks: Vec::new(),
                up,
                down,
            }),
            other => Err(Status::new(Code::Internal, format!("{other:?} is no welcome"))),
        }
    }

    /// Goes on from what another stream left.
    pub fn holding(mut self, raw: RawState) -> Self {
        self.raw = raw;
        self
    }

    /// The next message.
    pub async fn next(&mut self) -> Result<M, Status> {
        let message = self.down.message().await?;
        message.and_then(|d| d.m).ok_or_else(|| Status::cancelled("the stream ended"))
    }

    /// Takes messages until the raw state is at least at `revision`; anything that does not fit panics.
    pub async fn follow(&mut self, revision: u64) {
        while self.raw.revision() < revision {
            let message = self.next().await.expect("the stream goes on");
            self.take(message).await;
        }
    }

    async fn take(&mut self, message: M) {
        match message {
            M::Begin(begin) => self.snapshot(begin).await,
            M::Delta(delta) => {
                self.raw.apply(delta).expect("a delta that applies");
                self.deltas += 1;
            }
            M::Beat(beat) => {
                assert_eq!(beat.revision, self.raw.revision());
                assert_eq!(beat.digest[..], self.raw.digest().to_bytes());
            }
            other => panic!("{other:?} has no place here"),
        }
    }

    async fn snapshot(&mut self, begin: v1::SnapBegin) {
        let mut packed = Vec::new();
        for index in 0..begin.chunks {
            let M::Chunk(chunk) = self.next().await.expect("chunk") else { panic!("no chunk") };
            assert_eq!(chunk.index, index);
            self.chunks.push(chunk.data.len());
            packed.extend_from_slice(&chunk.data);
        }
        assert_eq!(begin.bytes, packed.len() as u64);
        assert_eq!(begin.sha256[..], Sha256::digest(&packed)[..]);
        let unpacked = zstd::stream::decode_all(io::Cursor::new(packed)).expect("unpacks");
        assert_eq!(begin.unpacked_bytes, unpacked.len() as u64);
        let resources = v1::Resources::decode(&unpacked[..]).expect("decodes");
        self.raw = RawState::new(begin.revision, resources.put).expect("state");
        let M::End(end) = self.next().await.expect("end") else { panic!("no end") };
        assert_eq!(end.revision, begin.revision);
        assert_eq!(end.digest[..], self.raw.digest().to_bytes());
        self.snapshots += 1;
    }

    /// Acknowledges.
    pub async fn ack(&self, received: u64, effective: u64, rejected: Vec<v1::Rejected>) {
        self.say(config_up::M::Ack(v1::Ack { received, effective, rejected })).await;
    }

    /// Says anything.
    pub async fn say(&self, m: config_up::M) {
        self.up.send(v1::ConfigUp { m: Some(m) }).await.expect("the stream is open");
    }

    /// Reads on until the admin says that it goes away and ends the stream.
    pub async fn goodbye(&mut self) -> v1::GoAway {
        let away = loop {
            match self.next().await.expect("a goodbye first") {
                M::Goaway(away) => break away,
                other => self.take(other).await,
            }
        };
        assert!(self.down.message().await.expect("a clean end").is_none());
        away
    }

    /// Reads on until the stream fails.
    pub async fn failure(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(message) => self.take(message).await,
                Err(status) => return status,
            }
        }
    }
}
