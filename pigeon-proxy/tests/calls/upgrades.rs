//! Upgrades: an HTTP/1.1 connection that goes on as another protocol, and those that do not.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::support::*;

on_both_paths! {
    an_upgrade_carries_bytes_both_ways_until_both_ends_are_done,
    a_tunnel_ends_with_its_client_its_engine_and_its_deadline,
    a_tunnel_ends_when_its_endpoint_drains_no_longer,
    an_engine_that_keeps_to_http_is_passed_on,
    upgrades_that_cannot_be_are_refused_or_ignored,
    an_engine_changes_to_nothing_that_was_not_asked_for,
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\n\
                       upgrade: websocket, h2c\r\nsec-websocket-key: x\r\n\r\n";

/// An engine that changes to `protocol`, echoes, and says "bye" when the other end has said all it had to say.
async fn echoes(protocol: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await?);
                }
                let head = String::from_utf8(head).unwrap();
                assert!(head.contains("upgrade: websocket\r\n"), "{head}");
                assert!(head.contains("connection: upgrade\r\n"), "{head}");
                assert!(head.contains("sec-websocket-key: x\r\n"), "{head}");
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                     upgrade: {protocol}\r\nsec-websocket-accept: y\r\n\r\nhi"
                );
                socket.write_all(answer.as_bytes()).await?;
                let mut part = [0; 1024];
                loop {
                    match socket.read(&mut part).await? {
                        0 => break,
                        n if part[..n].contains(&b'!') => return Ok(()),
                        n => socket.write_all(&part[..n]).await?,
                    }
                }
                socket.write_all(b"bye").await
            });
        }
    });
    address
}

fn config(address: SocketAddr, rest: &str, route: &str) -> String {
    engine(&[address], &format!("health: {{check: none}}{rest}"))
        + &format!(
            "\n---\nkind: route\nname: r\nspec: {{match: {{path: '/*'}}, engine: e{route}}}\n"
        )
}

/// Reads until `text` has come.
async fn read_until(socket: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(text.as_bytes()) {
        let byte = tokio::time::timeout(FOR_EVER, socket.read_u8()).await.unwrap();
        let byte =
            byte.unwrap_or_else(|_| panic!("closed after {:?}", String::from_utf8_lossy(&read)));
        read.push(byte);
    }
    String::from_utf8(read).unwrap()
}

/// Opens a tunnel, and sends bytes ahead of the answer.
async fn open(rig: &Rig, ahead: &str) -> TcpStream {
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all((UPGRADE.to_owned() + ahead).as_bytes()).await.unwrap();
    let head = read_until(&mut socket, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    for line in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-accept: y\r\n"]
    {
        assert!(head.contains(line), "{head}");
    }
    read_until(&mut socket, "hi").await;
    socket
}

async fn an_upgrade_carries_bytes_both_ways_until_both_ends_are_done(path: Path) {
    let rig = Rig::start(path, &config(echoes("websocket").await, "", "")).await;
    // Nothing that looks like HTTP is read as such.
    let ahead = "GET / HTTP/1.1\r\n bad : head\n\n\0";
    let mut socket = open(&rig, ahead).await;
    assert_eq!(read_until(&mut socket, ahead).await, ahead);
    assert_eq!((rig.in_use(), rig.gateway.calls_open()), (1, 1));
    let big = "x".repeat(1 << 20);
    let (mut reader, mut writer) = socket.into_split();
    let sent = tokio::spawn(async move {
        writer.write_all(big.as_bytes()).await.unwrap();
        writer.shutdown().await.unwrap();
        writer
    });
    let mut rest = String::new();
    tokio::time::timeout(FOR_EVER, reader.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest.len(), (1 << 20) + 3);
    assert!(rest.ends_with("xbye"));
    drop(sent.await.unwrap());
    rig.until_free().await;
    assert_eq!((rig.usage().calls, rig.usage().failures), (1, 0));
}

async fn a_tunnel_ends_with_its_client_its_engine_and_its_deadline(path: Path) {
    let address = echoes("websocket").await;
    let rig = Rig::start(path, &config(address, "", "")).await;
    let mut nothing = Vec::new();
    drop(open(&rig, "").await);
    rig.until_free().await;
    let mut socket = open(&rig, "").await;
    socket.write_all(b"!").await.unwrap();
    let _ = tokio::time::timeout(FOR_EVER, socket.read_to_end(&mut nothing)).await.unwrap();
    drop(socket);
    rig.until_free().await;
    rig.install(&config(address, "", ", timeout: 300ms"));
    let mut socket = open(&rig, "").await;
    let _ = tokio::time::timeout(FOR_EVER, socket.read_to_end(&mut nothing)).await.unwrap();
    rig.until_free().await;
    let metrics = rig.metrics.render();
    let line = r#"pigeon_rejections_total{engine="e",reason="deadline",route="r"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    assert_eq!(nothing, b"");
}

async fn a_tunnel_ends_when_its_endpoint_drains_no_longer(path: Path) {
    let address = echoes("websocket").await;
    let rest = ", pool: {drain_timeout: 100ms}";
    let rig = Rig::start(path, &config(address, rest, "")).await;
    let mut socket = open(&rig, "").await;
    let drained = config(address, rest, "").replace("\"}", "\", drain: true}");
    rig.install(&drained);
    let mut nothing = Vec::new();
    let _ = tokio::time::timeout(FOR_EVER, socket.read_to_end(&mut nothing)).await.unwrap();
    rig.until_free().await;
}

async fn an_engine_that_keeps_to_http_is_passed_on(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &config(demo.address, "", "")).await;
    let hello = "GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    // What follows was held back, and is the next request.
    let answers = rig.raw(&(UPGRADE.replace("/ws", "/hello") + hello)).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{answers}");
    rig.until_free().await;
}

async fn upgrades_that_cannot_be_are_refused_or_ignored(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &config(demo.address, ", protocol: h2c", "")).await;
    let upgrade = UPGRADE.replace("keep-alive,", "close,");
    let answer = rig.raw(&upgrade).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("upgrades"), "{answer}");
    // HTTP/2 by an upgrade is not taken: the request is answered as it is (RFC 9110, section 7.8).
    for ignored in [
        "connection: close, upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__",
        "connection: close\r\nupgrade: websocket",
        "connection: close, upgrade\r\nupgrade: websocket\r\ntransfer-encoding: chunked",
    ] {
        let body = if ignored.contains("chunked") { "0\r\n\r\n" } else { "" };
        let text = format!("GET /hello HTTP/1.1\r\nhost: a\r\n{ignored}\r\n\r\n{body}");
        let answer = rig.raw(&text).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{ignored}\n{answer}");
    }
}

async fn an_engine_changes_to_nothing_that_was_not_asked_for(path: Path) {
    let rig = Rig::start(path, &config(echoes("something").await, "", "")).await;
    let answer = rig.raw(&UPGRADE.replace("keep-alive,", "close,")).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("pigeon-reason: engine_protocol_error"), "{answer}");
    rig.until_free().await;
}
