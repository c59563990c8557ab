//! gRPC clients of the demo engine's services, for scenarios that need many calls at once.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use pigeon_proto::demo::v1::chat_client::ChatClient;
use pigeon_proto::demo::v1::echo_client::EchoClient;
use pigeon_proto::demo::v1::speech_client::SpeechClient;
use pigeon_proto::demo::v1::{Audio, PingRequest};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// The runtime of all clients in this process; scenarios themselves are plain threads.
///
/// # Panics
/// If threads cannot be started.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime"))
}

/// Runs a future to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}

/// A connection that is made with the first call.
///
/// # Panics
/// Never: an address makes a URL.
pub fn channel(to: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{to}")).expect("a URL");
    let _guard = runtime().enter();
    endpoint.connect_timeout(Duration::from_secs(5)).connect_lazy()
}

/// `pigeon.demo.v1.Echo`.
pub fn echo(channel: Channel) -> EchoClient<Channel> {
    EchoClient::new(channel)
}

/// `pigeon.demo.v1.Speech`.
pub fn speech(channel: Channel) -> SpeechClient<Channel> {
    SpeechClient::new(channel)
}

/// `pigeon.demo.v1.Chat`.
pub fn chat(channel: Channel) -> ChatClient<Channel> {
    ChatClient::new(channel)
}

/// A request with the engine's knobs turned, such as `demo-delay-ms`.
///
/// # Panics
/// If a value cannot be metadata.
pub fn with<T>(message: T, knobs: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (key, value) in knobs {
        request.metadata_mut().append(*key, value.parse().expect("ASCII"));
    }
    request
}

/// A small message for [`echo`].
pub fn ping() -> PingRequest {
    PingRequest { payload: "ping".into() }
}

/// A small message for [`speech`].
pub fn audio() -> Audio {
    Audio { data: "0123456789".into() }
}

/// An upload that goes on until the sender is dropped.
pub fn upload() -> (mpsc::Sender<Audio>, ReceiverStream<Audio>) {
    let (send, receive) = mpsc::channel(4);
    (send, ReceiverStream::new(receive))
}

/// The gateway's own word for why it refused.
pub fn reason(status: &Status) -> &str {
    let value = status.metadata().get("pigeon-reason");
    value.and_then(|value| value.to_str().ok()).unwrap_or("")
}
