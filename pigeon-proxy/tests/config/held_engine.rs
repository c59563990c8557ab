//! An engine whose answers wait until a test lets them go.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::fake_admin::LIMIT;

pub struct HeldEngine {
    listener: TcpListener,
    pub address: SocketAddr,
}

/// A call that the engine has and has not answered.
pub struct HeldCall(TcpStream);

impl HeldEngine {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("address");
        Self { listener, address }
    }

    /// Documents that send every call here, and nothing else: a check would be taken for a call.
    pub fn documents(&self) -> String {
        format!(
            "kind: engine\nname: e\nspec: {{endpoints: [{{address: '{}'}}], protocol: http1, health: none}}\n---\n\
             kind: route\nname: r\nspec: {{match: {{path: '/*'}}, engine: e}}\n---\n\
             kind: listener\nname: default\nspec: {{address: '127.0.0.1:8080'}}\n",
            self.address
        )
    }

    /// The next call, once its head has come.
    pub async fn call(&self) -> HeldCall {
        let accepted = async {
            let (mut socket, _) = self.listener.accept().await.expect("a connection");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.expect("a head"));
            }
            HeldCall(socket)
        };
        tokio::time::timeout(LIMIT, accepted).await.expect("a call in time")
    }
}

impl HeldCall {
    pub async fn answer(mut self) {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
        self.0.write_all(answer).await.expect("answered");
    }
}
