//! The far end of a config stream, played by hand: a proxy that says exactly what a test wants it to say.

use pigeon_proto::v1::config_client::ConfigClient;
use pigeon_proto::v1::config_down::M as Down;
use pigeon_proto::v1::config_up::M as Up;
use pigeon_proto::v1::{
    Ack, ConfigDown, ConfigUp, EndpointUsage, EngineUsage, NodeInfo, Rejected, Subscribe, Usage,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming};

use crate::server::{PATIENCE, Server, until};

/// A connected proxy.
pub struct Proxy {
    name: String,
    up: mpsc::Sender<ConfigUp>,
    down: Streaming<ConfigDown>,
}

impl Proxy {
    /// Connects, and takes what the admin has; acknowledges nothing.
    pub async fn connect(server: &Server, name: &str) -> Self {
        let address = format!("http://{}", server.grpc);
        let mut client = ConfigClient::connect(address).await.expect("the stream's port");
        let (up, rest) = mpsc::channel(16);
        let node = NodeInfo {
            node_id: format!("node-{name}"),
            incarnation: 1,
            machine: "m/b".into(),
            name: name.into(),
            version: "0.0.1".into(),
            listen: [("default".to_owned(), "127.0.0.1:8080".to_owned())].into(),
        };
        let subscribe = Subscribe { node: Some(node), max_chunk: 262_144, ..Subscribe::default() };
        up.send(ConfigUp { m: Some(Up::Subscribe(subscribe)) }).await.expect("room");
        let mut request = Request::new(ReceiverStream::new(rest));
        let bearer = format!("Bearer {}", server.proxy_token).parse().expect("a value");
        request.metadata_mut().insert("authorization", bearer);
        let down = client.watch(request).await.expect("a stream").into_inner();
        let mut proxy = Self { name: name.into(), up, down };
        proxy.receive(0).await;
        proxy
    }

    /// Reads on until the configuration at `revision` or later has come; gives its revision.
    pub async fn receive(&mut self, revision: u64) -> u64 {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.down.message()).await;
            let message = next.expect("a message in time").expect("a message").expect("more");
            let at = match message.m {
                Some(Down::End(end)) => end.revision,
                Some(Down::Delta(delta)) => delta.revision,
                _ => continue,
            };
            if at >= revision {
                return at;
            }
        }
    }

    /// Acknowledges, and waits until the admin tells of it.
    pub async fn ack(&self, server: &Server, received: u64, effective: u64, no: Vec<Rejected>) {
        let ack = Ack { received, effective, rejected: no };
        self.up.send(ConfigUp { m: Some(Up::Ack(ack)) }).await.expect("room");
        let path = format!("/v1/proxies/{}", self.name);
        until(|| async {
            let proxy = server.get(&path).await.json();
            (proxy["revision"] == received && !proxy["last_ack_at"].is_null()).then_some(())
        })
        .await;
    }

    /// Tells what one endpoint of one engine carries.
    pub async fn report(&self, engine: &str, address: &str, slots: u32, in_use: u32) {
        let endpoint = EndpointUsage {
            engine: engine.into(),
            address: address.into(),
            in_use,
            slots,
            ..Default::default()
        };
        let calls = EngineUsage {
            engine: engine.into(),
            waiting: 1,
            calls: 20,
            failures: 2,
            ..Default::default()
        };
        self.tell(Usage { endpoints: vec![endpoint], engines: vec![calls] }).await;
    }

    /// Tells what it carries.
    pub async fn tell(&self, usage: Usage) {
        self.up.send(ConfigUp { m: Some(Up::Usage(usage)) }).await.expect("room");
    }
}
