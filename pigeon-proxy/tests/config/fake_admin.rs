//! An admin that does what a test says: a real server on a real socket, with every message written by hand.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use pigeon_proto::model::{RawState, document};
use pigeon_proto::v1::config_server::{Config, ConfigServer};
use pigeon_proto::v1::{self, config_down, config_up, snap_begin::Codec, welcome};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// How long anything may take before a test has failed.
pub const LIMIT: Duration = Duration::from_secs(20);
pub const CLUSTER: &str = "cluster-1";

/// The admin; gone when dropped.
pub struct FakeAdmin {
    pub address: SocketAddr,
    sessions: mpsc::Receiver<Session>,
    server: JoinHandle<()>,
}

/// One stream of a proxy, after its first message.
pub struct Session {
    pub subscribe: v1::Subscribe,
    pub authorization: String,
    up: Streaming<v1::ConfigUp>,
    down: mpsc::Sender<Result<v1::ConfigDown, Status>>,
}

struct Service {
    sessions: mpsc::Sender<Session>,
    refuse: fn(&str) -> Option<Status>,
}

impl FakeAdmin {
    pub async fn start() -> Self {
        Self::refusing(|_| None).await
    }

    /// Refuses streams by their `authorization`.
    pub async fn refusing(refuse: fn(&str) -> Option<Status>) -> Self {
        Self::on(([127, 0, 0, 1], 0).into(), refuse).await
    }

    pub async fn on(address: SocketAddr, refuse: fn(&str) -> Option<Status>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("address");
        let (to, sessions) = mpsc::channel(16);
        let service = ConfigServer::new(Service { sessions: to, refuse });
        let server = tonic::transport::Server::builder().add_service(service);
        let server = tokio::spawn(async move {
            let _ = server.serve_with_incoming(TcpListenerStream::new(listener)).await;
        });
        Self { address, sessions, server }
    }

    /// The next stream of a proxy.
    pub async fn session(&mut self) -> Session {
        let next = tokio::time::timeout(LIMIT, self.sessions.recv()).await;
        next.expect("a stream in time").expect("the server runs")
    }
}

impl Drop for FakeAdmin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tonic::async_trait]
impl Config for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::ConfigDown, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<v1::ConfigUp>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let authorization = request.metadata().get("authorization");
        let authorization = authorization.and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        if let Some(status) = (self.refuse)(&authorization) {
            return Err(status);
        }
        let mut up = request.into_inner();
        let Some(v1::ConfigUp { m: Some(config_up::M::Subscribe(subscribe)) }) =
            up.message().await?
        else {
            return Err(Status::invalid_argument("not a subscription"));
        };
        let (down, messages) = mpsc::channel(16);
        let session = Session { subscribe, authorization, up, down };
        self.sessions.send(session).await.map_err(|_| Status::cancelled("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

impl Session {
    pub async fn send(&self, m: config_down::M) {
        let message = v1::ConfigDown { m: Some(m) };
        self.down.send(Ok(message)).await.expect("the proxy listens");
    }

    pub async fn welcome(&self, mode: welcome::Mode, revision: u64, beat_ms: u32) {
        let welcome = v1::Welcome {
            cluster_id: CLUSTER.into(),
            generation: 1,
            revision,
            oldest_delta: 1,
            mode: mode.into(),
            reason: "the script says so".into(),
            beat_ms,
        };
        self.send(config_down::M::Welcome(welcome)).await;
    }

    /// Promises a snapshot of `raw` and sends it, in two chunks.
    pub async fn snapshot(&self, raw: &RawState) {
        self.welcome(welcome::Mode::Snapshot, raw.revision(), 10_000).await;
        let plain = v1::Resources { put: raw.to_puts() }.encode_to_vec();
        let packed = zstd::encode_all(plain.as_slice(), 3).expect("packed");
        let chunks: Vec<&[u8]> = packed.chunks(packed.len().div_ceil(2)).collect();
        let begin = v1::SnapBegin {
            revision: raw.revision(),
            chunks: chunks.len() as u32,
            bytes: packed.len() as u64,
            unpacked_bytes: plain.len() as u64,
            codec: Codec::Zstd.into(),
            sha256: Bytes::copy_from_slice(&Sha256::digest(&packed)),
        };
        self.send(config_down::M::Begin(begin)).await;
        for (index, data) in (0..).zip(chunks) {
            let data = Bytes::copy_from_slice(data);
            self.send(config_down::M::Chunk(v1::SnapChunk { index, data })).await;
        }
        let end = v1::SnapEnd { revision: raw.revision(), digest: digest(raw) };
        self.send(config_down::M::End(end)).await;
    }

    /// The next message of the proxy that `pick` takes.
    pub async fn up<T>(&mut self, pick: impl Fn(config_up::M) -> Option<T>) -> T {
        let found = async {
            loop {
                let message = self.up.message().await.expect("a message").expect("an open stream");
                if let Some(found) = message.m.and_then(&pick) {
                    return found;
                }
            }
        };
        tokio::time::timeout(LIMIT, found).await.expect("the message in time")
    }

    /// The next acknowledgement of this revision.
    pub async fn ack(&mut self, received: u64) -> v1::Ack {
        let of = |m| match m {
            config_up::M::Ack(ack) if ack.received == received => Some(ack),
            _ => None,
        };
        self.up(of).await
    }

    /// Waits until the proxy has left the stream.
    pub async fn left(mut self) {
        let left = async { while let Ok(Some(_)) = self.up.message().await {} };
        tokio::time::timeout(LIMIT, left).await.expect("the proxy leaves in time");
    }
}

pub fn digest(raw: &RawState) -> Bytes {
    Bytes::copy_from_slice(&raw.digest().to_bytes())
}

/// The documents of a text, all written by revision `mod_revision`.
pub fn puts(text: &str, mod_revision: u64) -> Vec<v1::Put> {
    let put = |o: pigeon_proto::model::Object| {
        let key = v1::Key { kind: o.key.kind.to_string(), name: o.key.name.to_string() };
        v1::Put { key: Some(key), mod_revision, spec: o.spec.encode() }
    };
    document::parse(text).expect("documents").into_iter().map(put).collect()
}

/// A state of these documents, all of one revision.
pub fn state(revision: u64, text: &str) -> RawState {
    RawState::new(revision, puts(text, revision)).expect("a state")
}

/// The delta that leads from a state to another.
pub fn delta(from: &RawState, to: &RawState) -> v1::Delta {
    let same = |p: &v1::Put| {
        let key = p.key.clone().expect("a key");
        from.objects().get(&(key.kind, key.name)).is_some_and(|o| o.mod_revision == p.mod_revision)
    };
    let gone = from.objects().keys().filter(|k| !to.objects().contains_key(*k));
    v1::Delta {
        prev: from.revision(),
        revision: to.revision(),
        put: to.to_puts().into_iter().filter(|p| !same(p)).collect(),
        del: gone.map(|(kind, name)| v1::Key { kind: kind.clone(), name: name.clone() }).collect(),
        digest: digest(to),
    }
}
