//! Engines that do exactly what a test says, byte by byte.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::support::*;

on_both_paths! {
    the_engine_sees_the_callers_host_and_the_forwarded_headers,
    answers_without_a_body,
    an_engine_that_does_not_speak_http,
    an_engine_that_closes_without_an_answer,
    a_body_that_breaks_off_is_not_taken_for_complete,
    connections_are_kept_and_a_stale_one_is_replaced,
    idle_connections_are_closed,
    a_client_that_breaks_its_upload_off_frees_the_slot,
    a_client_that_goes_while_the_engine_thinks_frees_the_slot,
}

/// An engine that hands its connections to the test.
struct Scripted(TcpListener);

impl Scripted {
    async fn start() -> Self {
        Self(TcpListener::bind(("127.0.0.1", 0)).await.unwrap())
    }

    async fn rig(&self, path: Path, rest: &str) -> Rig {
        Rig::start(path, &(engine(&[self.0.local_addr().unwrap()], rest) + ROUTES)).await
    }

    async fn accept(&self) -> TcpStream {
        tokio::time::timeout(FOR_EVER, self.0.accept()).await.unwrap().unwrap().0
    }
}

/// Reads up to the end of a head.
async fn head(socket: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(FOR_EVER, socket.read_u8()).await.unwrap();
        read.push(byte.unwrap());
    }
    String::from_utf8(read).unwrap()
}

const GET: &str = "GET /x?q=1 HTTP/1.1\r\nhost: a.example:81\r\nconnection: close\r\n\r\n";

/// What a client gets for `GET` from an engine that answers `answer` and closes.
async fn answered(path: Path, answer: &str) -> String {
    let engine = Scripted::start().await;
    let rig = engine.rig(path, "pool: {mode: strict, slots: 1}").await;
    let (got, ()) = tokio::join!(rig.raw(GET), async {
        let mut socket = engine.accept().await;
        head(&mut socket).await;
        socket.write_all(answer.as_bytes()).await.unwrap();
    });
    rig.until_free().await;
    got
}

async fn the_engine_sees_the_callers_host_and_the_forwarded_headers(path: Path) {
    let engine = Scripted::start().await;
    let rig = engine.rig(path, "").await;
    let request = "POST /x?q=1 HTTP/1.1\r\nHost: a.example:81\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\
        Keep-Alive: 5\r\nX-Forwarded-For: 9.9.9.9\r\nPigeon-Tenant: root\r\nX-Request-Id: abc\r\n\
        Accept: a\r\nAccept: b\r\nContent-Length: 3\r\n\r\nxyz";
    let (got, seen) = tokio::join!(rig.raw(request), async {
        let mut socket = engine.accept().await;
        let seen = head(&mut socket).await;
        let mut body = [0; 3];
        socket.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"xyz");
        let answer = "HTTP/1.1 201 Made\r\ncontent-length: 2\r\nconnection: x-gone\r\nx-gone: 1\r\nset-cookie: a\r\nset-cookie: b\r\n\r\nok";
        socket.write_all(answer.as_bytes()).await.unwrap();
        seen
    });
    let mut lines: Vec<&str> = seen.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "POST /x?q=1 HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "accept: a",
            "accept: b",
            "content-length: 3",
            "host: a.example:81",
            "x-forwarded-for: 9.9.9.9, 127.0.0.1",
            "x-forwarded-host: a.example:81",
            "x-forwarded-proto: http",
            "x-request-id: abc",
        ]
    );
    assert!(got.starts_with("HTTP/1.1 201 ") && got.ends_with("\r\n\r\nok"), "{got}");
    assert!(got.contains("set-cookie: a\r\nset-cookie: b\r\n") && !got.contains("x-gone"), "{got}");
}

async fn answers_without_a_body(path: Path) {
    let got = answered(path, "HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(got.starts_with("HTTP/1.1 204 ") && !got.contains("content-length"), "{got}");
    let got = answered(path, "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n").await;
    assert!(got.starts_with("HTTP/1.1 304 ") && got.contains("etag: \"x\""), "{got}");
    let got = answered(path, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert!(got.contains("content-length: 0\r\n"), "{got}");
    let got = answered(path, "HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    assert!(got.contains("until the end"), "{got}");
}

async fn an_engine_that_does_not_speak_http(path: Path) {
    let got = answered(path, "this is not HTTP at all\r\n\r\n").await;
    assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
    assert!(got.contains("pigeon-reason: engine_protocol_error"), "{got}");
}

async fn an_engine_that_closes_without_an_answer(path: Path) {
    let got = answered(path, "").await;
    assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
    assert!(got.contains("pigeon-reason: engine_reset"), "{got}");
}

async fn a_body_that_breaks_off_is_not_taken_for_complete(path: Path) {
    let got =
        answered(path, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    assert!(got.contains("hello") && !got.ends_with("0\r\n\r\n"), "{got}");
    let got = answered(path, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    assert!(got.ends_with("\r\n\r\nhello"), "{got}");
}

async fn connections_are_kept_and_a_stale_one_is_replaced(path: Path) {
    let engine = Scripted::start().await;
    let rig = engine.rig(path, "").await;
    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    // Both calls over one client connection, so that one worker serves both.
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    let get = b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n";
    client.write_all(get).await.unwrap();
    let mut first = engine.accept().await;
    head(&mut first).await;
    first.write_all(ok).await.unwrap();
    head(&mut client).await;
    let mut body = [0; 2];
    client.read_exact(&mut body).await.unwrap();
    // The second call comes on the same connection …
    client.write_all(get).await.unwrap();
    head(&mut first).await;
    // … which the engine closes without an answer, as if it had been idle for too long.
    drop(first);
    let mut second = engine.accept().await;
    head(&mut second).await;
    second.write_all(ok).await.unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
    client.read_exact(&mut body).await.unwrap();
    // What may not be sent twice is not.
    let post = b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    client.write_all(post).await.unwrap();
    head(&mut second).await;
    drop(second);
    assert!(head(&mut client).await.starts_with("HTTP/1.1 502 "));
}

async fn idle_connections_are_closed(path: Path) {
    let engine = Scripted::start().await;
    let rig = engine.rig(path, "pool: {idle_timeout: 100ms}").await;
    let (_, mut socket) = tokio::join!(rig.raw(GET), async {
        let mut socket = engine.accept().await;
        head(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        socket
    });
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(FOR_EVER, socket.read_to_end(&mut rest)).await;
    assert_eq!(closed.unwrap().unwrap(), 0);
}

async fn a_client_that_breaks_its_upload_off_frees_the_slot(path: Path) {
    let engine = Scripted::start().await;
    let rig = engine.rig(path, "pool: {mode: strict, slots: 1}").await;
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    let request = b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\npart";
    client.write_all(request).await.unwrap();
    let mut socket = engine.accept().await;
    head(&mut socket).await;
    assert_eq!(rig.in_use(), 1);
    drop(client);
    rig.until_free().await;
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    assert_eq!(rest, b"part");
}

async fn a_client_that_goes_while_the_engine_thinks_frees_the_slot(path: Path) {
    let engine = Scripted::start().await;
    let rig = engine.rig(path, "pool: {mode: strict, slots: 1}").await;
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    client.write_all(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut socket = engine.accept().await;
    head(&mut socket).await;
    drop(client);
    rig.until_free().await;
    assert_eq!(socket.read(&mut [0; 1]).await.unwrap_or(0), 0, "its connection is closed");
    assert!(rig.metrics.render().contains(r#"code="cancelled",engine="e",route="http"} 1"#));
}
