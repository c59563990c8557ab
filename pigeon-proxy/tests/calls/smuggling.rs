//! Requests that two parsers could read differently: an engine that notes every byte sees nothing of them, or one
//! request that is well formed; and what follows on the connection is not taken for another.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use pigeon_proxy::http1::Scanner;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::support::*;

on_both_paths! {
    requests_that_can_be_read_in_two_ways_reach_no_engine,
    a_body_in_bad_chunks_is_broken_off,
    a_refused_request_waits_for_the_answers_before_it,
    a_head_in_pieces_is_one_request,
    what_http2_says_becomes_one_request_or_none,
    answers_that_can_be_read_in_two_ways_are_not_passed_on,
}

/// An engine that notes what it gets on each connection, and answers each head with `answer`.
struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Came>>>,
}

/// What came on one connection: of its own, as some may come after the rest was taken.
type Came = Arc<Mutex<Vec<u8>>>;

impl Recorder {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Came>>> = Arc::default();
        let connections = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let connections = Arc::clone(&connections);
                tokio::spawn(async move {
                    let mut part = [0; 4096];
                    let (mine, mut first) = (Came::default(), true);
                    while let Ok(n @ 1..) = socket.read(&mut part).await {
                        if std::mem::take(&mut first) {
                            connections.lock().unwrap().push(Arc::clone(&mine));
                        }
                        let end = {
                            let mut mine = mine.lock().unwrap();
                            mine.extend_from_slice(&part[..n]);
                            mine.ends_with(b"\r\n\r\n") || mine.ends_with(b"01234")
                        };
                        if end {
                            let _ = socket.write_all(answer.as_bytes()).await;
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// What came since the last time, connection by connection.
    fn take(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let text = |bytes: Came| String::from_utf8(bytes.lock().unwrap().clone()).unwrap();
        seen.into_iter().map(text).collect()
    }

    async fn rig(&self, path: Path) -> Rig {
        // One connection per call: each has one entry.
        let rest = "protocol: http1, health: {check: none}, pool: {max_requests: 1}";
        Rig::start(path, &(engine(&[self.address], rest) + ROUTES)).await
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const NEXT: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// How many requests, one after the other, a strict parser finds.
fn requests(text: &str) -> usize {
    let mut scanner = Scanner::new(1 << 16);
    let scan = scanner.scan(text.as_bytes());
    assert_eq!((scan.pass, scan.fault), (text.len(), None), "{text:?}");
    text.matches(" HTTP/1.1\r\n").count()
}

fn is_bad_request(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 400 Bad Request\r\n")
        && answer.contains("pigeon-reason: bad_request\r\n")
        && answer.contains("connection: close\r\n")
        && answer.matches("HTTP/1.1 ").count() == 1
}

async fn requests_that_can_be_read_in_two_ways_reach_no_engine(path: Path) {
    let recorder = Recorder::start(OK).await;
    let rig = recorder.rig(path).await;
    let post =
        |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n{body}");
    let cases = [
        post("content-length: 5\r\ntransfer-encoding: chunked", "0\r\n\r\n"),
        post("transfer-encoding: chunked\r\ncontent-length: 44", "0\r\n\r\n"),
        post("content-length: 5\r\ncontent-length: 0", "01234"),
        post("content-length: 0\r\ncontent-length: 0", ""),
        post("content-length: 0, 5", "01234"),
        post("content-length: +5", "01234"),
        post("content-length: 0x5", "01234"),
        post("content-length: 99999999999999999999", "01234"),
        post("transfer-encoding: chunked, identity", "0\r\n\r\n"),
        post("transfer-encoding: xchunked", "0\r\n\r\n"),
        post("transfer-encoding: chunked\r\ntransfer-encoding: x", "0\r\n\r\n"),
        post("content-length : 5", "01234"),
        post("x: y\r\n content-length: 5", "01234"),
        post("x: y\rcontent-length: 5", "01234"),
        post("x: y\ncontent-length: 5", "01234"),
        post("x: y\0z", ""),
        post(": y", ""),
        post("host: b", ""),
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        "GET  / HTTP/1.1\r\nhost: a\r\n\r\n".into(),
        "GET x HTTP/1.1\r\nhost: a\r\n\r\n".into(),
        "GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n".into(),
        "GET * HTTP/1.1\r\nhost: a\r\n\r\n".into(),
        "GET / HTTP/1.1\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nhost: u@a\r\n\r\n".into(),
        "!refused /1 HTTP/1.1\r\nhost: a\r\n\r\n".into(),
    ];
    let count = cases.len();
    for case in cases {
        let answer = rig.raw(&(case.clone() + NEXT)).await;
        assert!(is_bad_request(&answer), "{case:?}\n{answer}");
    }
    assert_eq!(recorder.take(), [""; 0]);
    let metrics = rig.metrics.render();
    let line =
        format!(r#"pigeon_rejections_total{{engine="",reason="bad_request",route=""}} {count}"#);
    assert!(metrics.contains(&line), "{metrics}");
    rig.until_free().await;
}

async fn a_body_in_bad_chunks_is_broken_off(path: Path) {
    let recorder = Recorder::start(OK).await;
    let rig = recorder.rig(path).await;
    for body in
        ["5\n01234\r\n0\r\n\r\n", "+5\r\n", "0x5\r\n", "5\r\n012345\r\n", "0\r\n\n", "5;\n\r\n"]
    {
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = rig.raw(&format!("{head}{body}{NEXT}")).await;
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{body:?}\n{answer}");
        assert!(!answer.contains(" 200 "), "{body:?}\n{answer}");
        for seen in recorder.take() {
            assert!(!seen.contains("smuggled") && !seen.ends_with("0\r\n\r\n"), "{body:?}\n{seen}");
        }
    }
    rig.until_free().await;
}

/// Pipelined: what came before is answered, and in order.
async fn a_refused_request_waits_for_the_answers_before_it(path: Path) {
    let rig = Rig::start(path, &(engine(&[demo().await.address], "") + ROUTES)).await;
    let good = "GET /hello HTTP/1.1\r\nhost: a\r\n\r\n";
    let bad = "GET / HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n";
    let answers = rig.raw(&format!("{good}{good}{bad}{good}")).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 400 ").count(), 1, "{answers}");
    assert!(answers.rfind(" 200 ").unwrap() < answers.find(" 400 ").unwrap(), "{answers}");
}

async fn a_head_in_pieces_is_one_request(path: Path) {
    let rig = Rig::start(path, &(engine(&[demo().await.address], "") + ROUTES)).await;
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let text = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                5\r\n01234\r\n0\r\n\r\nGET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for byte in text.as_bytes() {
        socket.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answers = String::new();
    socket.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{answers}");
    assert!(answers.ends_with("hello from demo-1\n"), "{answers}");
    // The echo comes in whichever chunks it came in: size and bytes in turn.
    let (_, chunks) = answers.split_once("\r\n\r\n").unwrap();
    let (chunks, _) = chunks.split_once("0\r\n\r\n").unwrap();
    let echoed: String = chunks.lines().skip(1).step_by(2).collect();
    assert_eq!(echoed, "01234", "{answers}");
}

/// A request over HTTP/2 with these fields, written by hand: no client would.
async fn over_http2(rig: &Rig, fields: &[(&str, &str)], body: &[u8]) {
    use super::wire::{HEADERS, RST_STREAM, Wire};
    let mut wire = Wire::connect(rig.address).await;
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    let (end_headers, end_stream) = (4, 1);
    wire.send(HEADERS, end_headers, 1, &block).await;
    wire.send(0, end_stream, 1, body).await;
    while let Some(frame) = wire.frame().await {
        // The answer, a reset, or the end of the connection.
        if frame.kind == RST_STREAM
            || frame.kind == 7
            || (frame.stream == 1 && frame.flags & 1 == 1)
        {
            break;
        }
    }
}

async fn what_http2_says_becomes_one_request_or_none(path: Path) {
    let recorder = Recorder::start(OK).await;
    let rig = recorder.rig(path).await;
    let plain = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    let with = |more: &[(&'static str, &'static str)]| {
        let mut fields = plain.to_vec();
        for (name, value) in more {
            match fields.iter_mut().find(|(n, _)| n == name && n.starts_with(':')) {
                Some(field) => field.1 = value,
                None => fields.push((name, value)),
            }
        }
        fields
    };
    let cases: &[&[(&str, &str)]] = &[
        &[],
        &[("transfer-encoding", "chunked")],
        &[("connection", "x")],
        &[("upgrade", "websocket")],
        &[("x", "y\r\ncontent-length: 0")],
        &[("x", "y\rz")],
        &[("x", "y\nz")],
        &[("x", "y\0z")],
        &[("x\r\ny", "z")],
        &[("x:y", "z")],
        &[("X", "z")],
        &[(":path", "/ HTTP/1.1\r\nx: y")],
        &[(":path", "/ HTTP/1.1")],
        &[(":path", "x")],
        &[(":path", "/a b")],
        &[(":method", "GET / HTTP/1.1\r\n\r\nGET")],
        &[(":method", "G T")],
        &[(":authority", "a\r\nx: y")],
        &[(":authority", "u@a")],
        &[(":scheme", "http\r\n")],
        &[(":protocol", "websocket")],
        &[("host", "b")],
        &[("content-length", "3")],
        &[("content-length", "7")],
        &[("content-length", "5"), ("content-length", "6")],
        &[("content-length", "+5")],
        &[("content-length", "5")],
        &[("content-length", "5, 5")],
        &[("te", "trailers, chunked")],
    ];
    for case in cases {
        over_http2(&rig, &with(case), b"01234").await;
        for seen in recorder.take() {
            // One that the gateway itself broke off may have no end; it has no second beginning.
            let mut scanner = Scanner::new(1 << 16);
            let scan = scanner.scan(seen.as_bytes());
            assert_eq!(scan.fault, None, "{case:?}\n{seen}");
            assert_eq!(seen.matches(" HTTP/1.1\r\n").count(), 1, "{case:?}\n{seen}");
        }
    }
    over_http2(&rig, &with(&[("content-length", "5")]), b"01234").await;
    eventually(|| !recorder.seen.lock().unwrap().is_empty()).await;
    let seen = recorder.take();
    assert_eq!(seen.iter().map(|seen| requests(seen)).collect::<Vec<_>>(), [1]);
}

async fn answers_that_can_be_read_in_two_ways_are_not_passed_on(path: Path) {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx: y\r\n z\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx: y\rz\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let recorder = Recorder::start(answer).await;
        let rig = recorder.rig(path).await;
        let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let got = rig.raw(request).await;
        assert!(got.starts_with("HTTP/1.1 502 "), "{answer:?}\n{got}");
        assert!(got.contains("pigeon-reason: engine_protocol_error"), "{answer:?}\n{got}");
        let h2 = http::Request::get(format!("http://{}/", rig.address)).body(Bytes::new()).unwrap();
        assert_eq!(rig.h2(h2).await.head.status, 502, "{answer:?}");
        rig.until_free().await;
    }
}
