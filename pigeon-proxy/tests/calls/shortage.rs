//! Memory or descriptors run short: what is new is shed, who is served goes on being served.

use pigeon_proxy::guard::Level;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use super::support::*;

on_both_paths! {
    when_memory_is_short_new_calls_are_shed_and_running_ones_go_on,
    when_memory_is_very_short_idle_connections_are_closed,
    when_descriptors_are_short_new_connections_are_closed,
}

async fn when_memory_is_short_new_calls_are_shed_and_running_ones_go_on(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 4, "") + ROUTES)).await;
    let (send, audio) = upload();
    let mut answers = rig.speech().recognize(audio).await.unwrap().into_inner();
    let mut kept = TcpStream::connect(rig.address).await.unwrap();
    assert!(hello(&mut kept).await.starts_with("HTTP/1.1 200 "));
    rig.gateway.guard().set_memory(Level::Shed);
    let status = rig.echo().ping(ping()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::Unavailable, Some("overloaded")));
    let answer = hello(&mut kept).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("pigeon-reason: overloaded") && answer.contains("retry-after: "),
        "{answer}"
    );
    // A new connection is not taken at all.
    assert_eq!(rest(&mut TcpStream::connect(rig.address).await.unwrap()).await, "");
    send.send(chunk(b"x")).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().heard, 1);
    rig.gateway.guard().set_memory(Level::Fine);
    rig.echo().ping(ping()).await.unwrap();
    drop(send);
    assert!(answers.message().await.unwrap().unwrap().r#final);
}

async fn when_memory_is_very_short_idle_connections_are_closed(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 4, "") + ROUTES)).await;
    let (send, audio) = upload();
    let mut answers = rig.speech().recognize(audio).await.unwrap().into_inner();
    let mut one = TcpStream::connect(rig.address).await.unwrap();
    assert!(hello(&mut one).await.starts_with("HTTP/1.1 200 "));
    // HTTP/2 without a stream: preface and SETTINGS.
    let mut two = TcpStream::connect(rig.address).await.unwrap();
    two.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut first = [0; 9];
    two.read_exact(&mut first).await.unwrap();
    rig.gateway.guard().set_memory(Level::Tight);
    assert_eq!(rest(&mut one).await, "");
    // GOAWAY (type 7), then the end; the general path waits for the answer to its PING.
    if path == Path::Relay {
        let mut bytes = Vec::new();
        tokio::time::timeout(FOR_EVER, two.read_to_end(&mut bytes)).await.unwrap().unwrap();
        assert!(bytes.windows(6).any(|w| w == [7, 0, 0, 0, 0, 0]), "{bytes:?}");
    }
    send.send(chunk(b"x")).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().heard, 1);
    rig.gateway.guard().set_memory(Level::Fine);
    drop(send);
    assert!(answers.message().await.unwrap().unwrap().r#final);
}

async fn when_descriptors_are_short_new_connections_are_closed(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 4, "") + ROUTES)).await;
    rig.echo().ping(ping()).await.unwrap();
    // As if hardly any were allowed: every number is above.
    rig.gateway.guard().set_descriptors(4);
    assert_eq!(rest(&mut TcpStream::connect(rig.address).await.unwrap()).await, "");
    rig.echo().ping(ping()).await.unwrap();
    let text = rig.metrics.render();
    assert!(text.contains("pigeon_overload{resource=\"descriptors\"} 1"), "{text}");
    assert!(text.contains("pigeon_fds_limit 4"), "{text}");
    rig.gateway.guard().set_descriptors(1 << 20);
    let answer = rig.raw("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// One call on a connection that is kept.
async fn hello(socket: &mut TcpStream) -> String {
    socket.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    while !(answer.contains("\r\n\r\n") && answer.len() > answer.find("\r\n\r\n").unwrap() + 4) {
        let mut some = [0; 4096];
        let read = tokio::time::timeout(FOR_EVER, socket.read(&mut some)).await.unwrap().unwrap();
        assert!(read > 0, "{answer}");
        answer += &String::from_utf8_lossy(&some[..read]);
    }
    answer.to_lowercase().replace("http/1.1", "HTTP/1.1")
}

/// What comes up to the end of the connection.
async fn rest(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end, too.
    let _ = tokio::time::timeout(FOR_EVER, socket.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
