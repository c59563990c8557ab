//! A gateway with listeners and engines, and the clients to talk to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pigeon_demo_engine::{Config, Stats, bind};
use pigeon_proto::demo::v1::chat_client::ChatClient;
use pigeon_proto::demo::v1::echo_client::EchoClient;
use pigeon_proto::demo::v1::speech_client::SpeechClient;
use pigeon_proto::demo::v1::{Audio, PingRequest, Prompt, StatsReply};
use pigeon_proto::model::{Object, Snapshot, Versioned, document};
use pigeon_proxy::gateway::{EngineUsage, Gateway};
use pigeon_proxy::listen::{Listeners, Sockets};
use pigeon_proxy::metrics::Metrics;
use pigeon_proxy::record::AccessLog;
use pigeon_proxy::worker::Workers;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tonic::Request;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

/// Only to end a test that would otherwise never end.
pub const FOR_EVER: Duration = Duration::from_secs(20);

/// Routes for the demo services and for plain HTTP; the engine is called `e`.
pub const ROUTES: &str = "
---
kind: route
name: grpc
spec: {match: {grpc: pigeon.demo.v1.Speech}, engine: e}
---
kind: route
name: chat
spec: {match: {grpc: pigeon.demo.v1.Chat}, engine: e}
---
kind: route
name: echo
spec: {match: {grpc: pigeon.demo.v1.Echo}, engine: e}
---
kind: route
name: http
spec: {match: {path: '/*'}, engine: e}
";

/// A running engine.
pub struct Demo {
    pub address: SocketAddr,
    pub stats: Stats,
    task: JoinHandle<std::io::Result<()>>,
}

pub async fn demo() -> Demo {
    demo_until(std::future::pending()).await
}

/// An engine that stops properly when told to.
pub async fn demo_until_told() -> (Demo, Arc<tokio::sync::Notify>) {
    let told = Arc::new(tokio::sync::Notify::new());
    let stop = Arc::clone(&told);
    (demo_until(async move { stop.notified().await }).await, told)
}

async fn demo_until(stop: impl Future<Output = ()> + Send + 'static) -> Demo {
    let listen = ([127, 0, 0, 1], 0).into();
    let config = Config { name: "demo-1".into(), listen, delay: Duration::ZERO, slots: None };
    let engine = bind(config).await.unwrap();
    let (address, stats) = (engine.local_addr(), engine.stats());
    let task = tokio::spawn(engine.run(stop));
    Demo { address, stats, task }
}

impl Demo {
    /// Ends as by kill -9: every connection is closed at once.
    pub async fn die(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Waits for the counts to be as wanted.
    pub async fn until(&self, wanted: impl FnMut(&StatsReply) -> bool) -> StatsReply {
        let waited = tokio::time::timeout(FOR_EVER, self.stats.wait_for(wanted)).await;
        waited.unwrap_or_else(|_| panic!("the counts stay {:?}", self.stats.read()))
    }
}

/// The way that calls with HTTP/2 on both sides take through the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Relay,
    Hyper,
}

/// A gateway that listens.
pub struct Rig {
    pub gateway: Arc<Gateway>,
    pub metrics: Metrics,
    pub listeners: Option<Listeners>,
    pub address: SocketAddr,
    pub channel: Channel,
}

/// An engine `e` with these endpoints and further settings.
pub fn engine(endpoints: &[SocketAddr], rest: &str) -> String {
    let endpoint = |a: &SocketAddr| format!("{{address: \"{a}\"}}");
    let endpoints = endpoints.iter().map(endpoint).collect::<Vec<_>>().join(", ");
    let comma = if rest.is_empty() { "" } else { ", " };
    format!("kind: engine\nname: e\nspec: {{endpoints: [{endpoints}]{comma}{rest}}}\n")
}

pub fn strict(endpoints: &[SocketAddr], slots: u32, rest: &str) -> String {
    engine(endpoints, &format!("pool: {{mode: strict, slots: {slots}{rest}}}"))
}

pub fn snapshot(text: &str) -> Snapshot {
    let mut text = text.to_owned();
    if !text.contains("kind: listener") {
        let listener = "kind: listener\nname: default\nspec: {address: '127.0.0.1:1'}\n";
        text.push_str("\n---\n");
        text.push_str(listener);
    }
    let version = |o: Object| (o.key, Versioned { mod_revision: 1, spec: Arc::new(o.spec) });
    let objects = document::parse(&text).unwrap().into_iter().map(version).collect();
    let snapshot = Snapshot { revision: 1, objects };
    pigeon_proto::model::validate(&snapshot).unwrap();
    snapshot
}

impl Rig {
    /// A gateway with this configuration.
    pub async fn start(path: Path, text: &str) -> Rig {
        let rig = Self::bare(path, text).await;
        rig.install(text);
        rig
    }

    /// A gateway that listens, without a configuration.
    pub async fn bare(path: Path, text: &str) -> Rig {
        Self::logged(path, text, AccessLog::off()).await
    }

    /// The same, which writes its calls down.
    pub async fn logged(path: Path, text: &str, log: AccessLog) -> Rig {
        let metrics = Metrics::new();
        let gateway = Gateway::new(metrics.clone(), log);
        gateway.set_relay(path == Path::Relay);
        let binds = BTreeMap::from([("default".parse().unwrap(), ([127, 0, 0, 1], 0).into())]);
        let workers = Workers::start(2, &gateway).unwrap();
        let mut listeners =
            Listeners::new(Arc::clone(&gateway), workers, binds, Sockets::default());
        assert_eq!(listeners.reconcile(&snapshot(text)), []);
        let address = listeners.bound()[&"default".parse().unwrap()];
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Rig { gateway, metrics, listeners: Some(listeners), address, channel }
    }

    pub fn install(&self, text: &str) {
        self.gateway.install(&snapshot(text));
    }

    pub fn speech(&self) -> SpeechClient<Channel> {
        SpeechClient::new(self.channel.clone())
    }

    pub fn chat(&self) -> ChatClient<Channel> {
        ChatClient::new(self.channel.clone())
    }

    pub fn echo(&self) -> EchoClient<Channel> {
        EchoClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    pub fn usage(&self) -> EngineUsage {
        self.gateway.usage().remove(0)
    }

    /// Slots taken on all endpoints of the engine.
    pub fn in_use(&self) -> u32 {
        self.usage().endpoints.iter().map(|e| e.in_use).sum()
    }

    /// Waits until the usage is as wanted.
    pub async fn until(&self, mut wanted: impl FnMut(&EngineUsage) -> bool) {
        eventually(|| wanted(&self.usage())).await;
    }

    /// Every slot comes back.
    pub async fn until_free(&self) {
        self.until(|u| u.waiting == 0 && u.endpoints.iter().all(|e| e.in_use == 0)).await;
        eventually(|| self.gateway.calls_open() == 0).await;
    }

    /// Sends text over a new connection and reads the answer up to the end of the connection.
    pub async fn raw(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(FOR_EVER, socket.read_to_end(&mut answer));
        read.await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Sends one request over a new HTTP/2 connection and reads no more than the head of the answer.
    pub async fn h2_unread(
        &self,
        request: http::Request<Bytes>,
    ) -> (SendRequest<Full<Bytes>>, http::Response<Incoming>) {
        let socket = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        let executor = TokioExecutor::new();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(executor, socket).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(request.map(Full::new)).await.unwrap();
        (sender, response)
    }

    /// Sends one request over a new HTTP/2 connection.
    pub async fn h2(&self, request: http::Request<Bytes>) -> Answer {
        let (_sender, response) = self.h2_unread(request).await;
        let (head, body) = response.into_parts();
        let collected = tokio::time::timeout(FOR_EVER, body.collect()).await.unwrap();
        let Ok(collected) = collected else {
            return Answer { head, body: None, trailers: None };
        };
        let trailers = collected.trailers().cloned();
        Answer { head, body: Some(collected.to_bytes()), trailers }
    }
}

/// An answer read to its end.
#[derive(Debug)]
pub struct Answer {
    pub head: http::response::Parts,
    /// None = cut off.
    pub body: Option<Bytes>,
    pub trailers: Option<http::HeaderMap>,
}

/// Waits for a condition.
pub async fn eventually(mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(FOR_EVER, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "never came true");
}

pub fn ping() -> PingRequest {
    PingRequest { payload: Bytes::from_static(b"hello") }
}

pub fn prompt(tokens: u32) -> Prompt {
    Prompt { text: "one two three".into(), tokens }
}

pub fn chunk(data: &'static [u8]) -> Audio {
    Audio { data: Bytes::from_static(data) }
}

/// An upload that goes on until the sender is dropped.
pub fn upload() -> (mpsc::Sender<Audio>, impl Stream<Item = Audio> + Send + 'static) {
    let (send, mut chunks) = mpsc::channel(8);
    (send, futures_util::stream::poll_fn(move |cx| chunks.poll_recv(cx)))
}

/// A request with the engine's knobs turned.
pub fn with<T>(message: T, knobs: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (key, value) in knobs {
        request.metadata_mut().append(*key, value.parse().unwrap());
    }
    request
}

pub fn text<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
    metadata.get(key).map(|value| value.to_str().unwrap())
}

/// The `pigeon-reason` of a failed call.
pub fn reason(status: &tonic::Status) -> Option<&str> {
    text(status.metadata(), "pigeon-reason")
}
