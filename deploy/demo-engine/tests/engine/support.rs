//! A running engine and the clients to talk to it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use pigeon_demo_engine::{Config, Stats, bind};
use pigeon_proto::demo::v1::chat_client::ChatClient;
use pigeon_proto::demo::v1::echo_client::EchoClient;
use pigeon_proto::demo::v1::speech_client::SpeechClient;
use pigeon_proto::demo::v1::{Audio, PingRequest, Prompt, StatsReply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tonic::Request;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

/// Only to end a test that would otherwise never end.
pub const FOR_EVER: Duration = Duration::from_secs(20);

pub struct Running {
    pub address: SocketAddr,
    pub stats: Stats,
    pub channel: Channel,
    pub stop: oneshot::Sender<()>,
    pub task: JoinHandle<std::io::Result<()>>,
}

pub fn config() -> Config {
    Config {
        name: "demo-1".into(),
        listen: "127.0.0.1:0".parse().unwrap(),
        delay: Duration::ZERO,
        slots: None,
    }
}

pub async fn start() -> Running {
    start_with(config()).await
}

pub async fn start_with(config: Config) -> Running {
    let engine = bind(config).await.unwrap();
    let (address, stats) = (engine.local_addr(), engine.stats());
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(engine.run(async {
        // A dropped sender is the end of the test.
        let _ = stopped.await;
    }));
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    Running { address, stats, channel, stop, task }
}

impl Running {
    pub fn speech(&self) -> SpeechClient<Channel> {
        SpeechClient::new(self.channel.clone())
    }

    pub fn chat(&self) -> ChatClient<Channel> {
        ChatClient::new(self.channel.clone())
    }

    pub fn echo(&self) -> EchoClient<Channel> {
        EchoClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    /// Waits for the counts to be as wanted.
    pub async fn until(&self, wanted: impl FnMut(&StatsReply) -> bool) -> StatsReply {
        let waited = tokio::time::timeout(FOR_EVER, self.stats.wait_for(wanted)).await;
        waited.unwrap_or_else(|_| panic!("the counts stay {:?}", self.stats.read()))
    }

    /// Sends a request of HTTP/1.1 and reads the answer up to the end of the connection.
    pub async fn http(&self, head: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

pub fn ping() -> PingRequest {
    PingRequest { payload: Bytes::from_static(b"hello") }
}

pub fn prompt(text: &str) -> Prompt {
    Prompt { text: text.into(), tokens: 0 }
}

pub fn chunk(data: &'static [u8]) -> Audio {
    Audio { data: Bytes::from_static(data) }
}

/// An upload that goes on until the sender is dropped.
pub fn upload() -> (mpsc::Sender<Audio>, impl Stream<Item = Audio> + Send + 'static) {
    let (send, mut chunks) = mpsc::channel(8);
    (send, futures_util::stream::poll_fn(move |cx| chunks.poll_recv(cx)))
}

/// A request with knobs turned.
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
