//! How long the body of a request may be, for HTTP and gRPC callers.

use ::hyper::body::Frame;
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::support::*;
use super::told::{Say, told};

on_both_paths! {
    a_body_that_says_it_is_too_long_is_refused_before_it_gets_a_slot,
    a_body_that_becomes_too_long_is_refused,
    a_body_of_just_the_limit_passes,
    a_stream_of_messages_is_limited_as_a_whole,
    a_refusal_leaves_the_connection_to_the_body_that_is_still_to_come,
}

const LIMIT: usize = 100_000;

fn routes() -> String {
    ROUTES.replace("engine: e}", &format!("engine: e, max_body_bytes: {LIMIT}}}"))
}

fn post(rig: &Rig, length: usize) -> http::Request<Bytes> {
    let post = http::Request::post(format!("http://{}/echo", rig.address));
    post.body(Bytes::from(vec![b'x'; length])).unwrap()
}

async fn a_body_that_says_it_is_too_long_is_refused_before_it_gets_a_slot(path: Path) {
    let engine_e = told(|_| Say::Http(200)).await;
    for protocol in ["h2c", "http1"] {
        let config = engine(&[engine_e.address], &format!("protocol: {protocol}")) + &routes();
        let rig = Rig::start(path, &config).await;
        // Only the head: the answer comes without a byte of the body.
        let mut socket = TcpStream::connect(rig.address).await.unwrap();
        let head =
            format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", LIMIT + 1);
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut read = [0; 12];
        tokio::time::timeout(FOR_EVER, socket.read_exact(&mut read)).await.unwrap().unwrap();
        assert_eq!(&read, b"HTTP/1.1 413");
        let answer = rig.h2(post(&rig, LIMIT + 1)).await;
        assert_eq!(answer.head.status, 413);
        assert_eq!(answer.head.headers["pigeon-reason"], "too_large");
        assert!(String::from_utf8_lossy(&answer.body.unwrap()).contains("100000 bytes allowed"));
        assert_eq!((engine_e.calls(), engine_e.opened()), (0, 0));
    }
}

/// An engine that speaks HTTP/1.1, and reads for as long as there is something.
async fn reads_for_ever() -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move { socket.read_to_end(&mut Vec::new()).await });
        }
    });
    address
}

async fn a_body_that_becomes_too_long_is_refused(path: Path) {
    let by_h2 = told(|_| Say::Http(200)).await;
    for (address, protocol) in [(by_h2.address, "h2c"), (reads_for_ever().await, "http1")] {
        let rest = format!("protocol: {protocol}, pool: {{mode: strict, slots: 1}}");
        let rig = Rig::start(path, &(engine(&[address], &rest) + &routes())).await;
        let mut socket = TcpStream::connect(rig.address).await.unwrap();
        let head = b"POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        socket.write_all(head).await.unwrap();
        let chunk = format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
        for _ in 0..2 {
            socket.write_all(chunk.as_bytes()).await.unwrap();
        }
        let mut read = [0; 12];
        tokio::time::timeout(FOR_EVER, socket.read_exact(&mut read)).await.unwrap().unwrap();
        assert_eq!(&read, b"HTTP/1.1 413", "{protocol}");
        rig.until_free().await;
        // By HTTP/2 no length is said either.
        let part = |byte: u8| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![byte; 60_000])));
        let body = StreamBody::new(tokio_stream::iter([part(b'a'), part(b'b')]));
        let socket = TokioIo::new(TcpStream::connect(rig.address).await.unwrap());
        let (mut sender, connection) =
            ::hyper::client::conn::http2::handshake(TokioExecutor::new(), socket).await.unwrap();
        tokio::spawn(connection);
        let post = http::Request::post(format!("http://{}/x", rig.address)).body(body).unwrap();
        assert_eq!(sender.send_request(post).await.unwrap().status(), 413, "{protocol}");
        rig.until_free().await;
    }
}

async fn a_body_of_just_the_limit_passes(path: Path) {
    let demo = demo().await;
    for protocol in ["h2c", "http1"] {
        let config = engine(&[demo.address], &format!("protocol: {protocol}")) + &routes();
        let rig = Rig::start(path, &config).await;
        assert_eq!(rig.h2(post(&rig, LIMIT)).await.body.unwrap().len(), LIMIT);
        // Also without saying so, in many parts.
        let mut socket = TcpStream::connect(rig.address).await.unwrap();
        let head = b"POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        socket.write_all(head).await.unwrap();
        let (mut from, mut to) = socket.split();
        let send = async {
            for _ in 0..10 {
                to.write_all(format!("2710\r\n{}\r\n", "x".repeat(10_000)).as_bytes())
                    .await
                    .unwrap();
            }
            to.write_all(b"0\r\n\r\n").await.unwrap();
        };
        let mut read = Vec::new();
        let (_, got) = tokio::join!(send, from.read_to_end(&mut read));
        got.unwrap();
        assert_eq!(read.iter().filter(|byte| **byte == b'x').count() / 1_000, LIMIT / 1_000);
    }
}

async fn a_stream_of_messages_is_limited_as_a_whole(path: Path) {
    let demo = demo().await;
    let config = engine(&[demo.address], "pool: {mode: strict, slots: 1}") + &routes();
    let rig = Rig::start(path, &config).await;
    static MESSAGE: [u8; 40_000] = [7; 40_000];
    let (send, upload) = upload();
    tokio::spawn(async move { while send.send(chunk(&MESSAGE)).await.is_ok() {} });
    let status = match rig.speech().recognize(upload).await {
        Err(status) => status,
        Ok(answer) => {
            let mut answer = answer.into_inner();
            loop {
                match answer.message().await {
                    Err(status) => break status,
                    Ok(got) => assert!(got.is_some(), "the call ended well"),
                }
            }
        }
    };
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert_eq!(reason(&status), Some("too_large"));
    rig.until_free().await;
    demo.until(|stats| stats.concurrent_now == 0).await;
}

async fn a_refusal_leaves_the_connection_to_the_body_that_is_still_to_come(path: Path) {
    let engine_e = told(|_| Say::Http(200)).await;
    let rig = Rig::start(path, &(engine(&[engine_e.address], "") + SOME)).await;
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    // Twice: the second is the proof that the connection is still there.
    for _ in 0..2 {
        let head = "POST /nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        // The call is there, and its body is not.
        eventually(|| rig.gateway.calls_open() == 1).await;
        socket.write_all(b"{}").await.unwrap();
        let answer = answer_of(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        eventually(|| rig.gateway.calls_open() == 0).await;
    }
    // Who waits to be told is told no.
    let head =
        "POST /nothing HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let answer = answer_of(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

const SOME: &str = "
---
kind: route
name: some
spec: {match: {path: /some}, engine: e}
";

/// One answer with a `content-length`, of a connection that stays open.
async fn answer_of(socket: &mut TcpStream) -> String {
    let read = async {
        let mut seen = String::new();
        loop {
            let mut buffer = [0; 4_096];
            let n = socket.read(&mut buffer).await.unwrap();
            assert!(n > 0, "closed: {seen}");
            seen.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
            let Some((head, body)) = seen.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() == length.unwrap().parse::<usize>().unwrap() {
                return seen;
            }
        }
    };
    tokio::time::timeout(FOR_EVER, read).await.expect("an answer")
}
