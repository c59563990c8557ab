//! Plain HTTP: both protocols on both sides, headers, bodies, and what the gateway itself answers.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::*;

on_both_paths! {
    every_pair_of_protocols,
    grpc_over_http1_to_the_engine_and_back,
    a_body_streams_both_ways_while_it_is_sent,
    many_bodies_on_one_connection_leave_its_windows_open,
    head_has_a_length_and_no_body,
    the_gateways_own_answers,
    a_head_too_long_or_too_slow_is_refused,
    an_idle_connection_has_more_time_than_a_head,
    expect_is_answered_when_the_body_is_wanted,
    connections_over_the_limit_of_the_listener_are_closed,
}

fn get(rig: &Rig, path: &str) -> http::Request<Bytes> {
    http::Request::get(format!("http://{}{path}", rig.address)).body(Bytes::new()).unwrap()
}

async fn every_pair_of_protocols(path: Path) {
    let demo = demo().await;
    for protocol in ["auto", "http1", "h2c"] {
        let rig =
            Rig::start(path, &(engine(&[demo.address], &format!("protocol: {protocol}")) + ROUTES))
                .await;
        let answer = rig.raw("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{protocol}: {answer}");
        assert!(answer.ends_with("\r\n\r\nhello from demo-1\n"), "{protocol}: {answer}");
        assert!(answer.contains("content-length: 18\r\n"), "{protocol}: {answer}");
        let answer = rig.h2(get(&rig, "/hello")).await;
        assert_eq!(answer.head.status, 200, "{protocol}");
        assert_eq!(answer.body.unwrap(), "hello from demo-1\n", "{protocol}");
        let echo = http::Request::post(format!("http://{}/echo", rig.address));
        let big = Bytes::from(vec![b'x'; 3 << 20]);
        let answer = rig.h2(echo.body(big.clone()).unwrap()).await;
        assert!(answer.body.unwrap() == big, "{protocol}");
        rig.until_free().await;
        assert_eq!((rig.usage().calls, rig.usage().failures), (3, 0), "{protocol}");
        let metrics = rig.metrics.render();
        let line = r#"pigeon_calls_total{code="2xx",engine="e",route="http"} 3"#;
        assert!(metrics.contains(line), "{protocol}: {metrics}");
    }
}

async fn grpc_over_http1_to_the_engine_and_back(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "protocol: h2c") + ROUTES)).await;
    assert_eq!(rig.echo().ping(ping()).await.unwrap().into_inner().payload, "hello");
}

/// Bytes that are not given back are missed only when a window's worth of them has gone by.
async fn many_bodies_on_one_connection_leave_its_windows_open(path: Path) {
    let demo = demo().await;
    let small = "protocol: h2c, pool: {stream_window: 65535, connection_window: 65535}";
    let rig = Rig::start(path, &(engine(&[demo.address], small) + ROUTES)).await;
    let post = |size: usize| {
        let echo = http::Request::post(format!("http://{}/echo", rig.address));
        echo.body(http_body_util::Full::new(Bytes::from(vec![b'x'; size]))).unwrap()
    };
    let (mut sender, _) = rig.h2_unread(get(&rig, "/hello")).await;
    // More than the engine's window in small bodies, and than the client's and its budget in large ones.
    let sizes = [vec![1_024; 200], vec![1 << 20; 20]].concat();
    for (n, size) in sizes.into_iter().enumerate() {
        let call = async {
            sender.ready().await.unwrap();
            let answer = sender.send_request(post(size)).await.unwrap();
            answer.into_body().collect().await.unwrap().to_bytes().len()
        };
        let got = tokio::time::timeout(FOR_EVER, call).await;
        assert_eq!(got.unwrap_or_else(|_| panic!("call {n} hangs")), size);
    }
    rig.until_free().await;
}

async fn a_body_streams_both_ways_while_it_is_sent(path: Path) {
    let demo = demo().await;
    for protocol in ["http1", "h2c"] {
        let rig =
            Rig::start(path, &(engine(&[demo.address], &format!("protocol: {protocol}")) + ROUTES))
                .await;
        let mut socket = TcpStream::connect(rig.address).await.unwrap();
        let head = b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        socket.write_all(head).await.unwrap();
        let mut read = String::new();
        for part in ["first", "other"] {
            socket.write_all(format!("5\r\n{part}\r\n").as_bytes()).await.unwrap();
            // The other end of this part is there before the next is sent.
            until_read(&mut socket, &mut read, part).await;
        }
        socket.write_all(b"0\r\n\r\n").await.unwrap();
        until_read(&mut socket, &mut read, "0\r\n\r\n").await;
        assert!(read.contains("transfer-encoding: chunked"), "{read}");
        // The connection is kept.
        socket.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        until_read(&mut socket, &mut read, "hello from demo-1\n").await;
    }
}

async fn until_read(socket: &mut TcpStream, read: &mut String, wanted: &str) {
    let waited = tokio::time::timeout(FOR_EVER, async {
        while !read.contains(wanted) {
            let mut part = [0; 1_024];
            let n = socket.read(&mut part).await.unwrap();
            assert!(n > 0, "closed after {read}");
            read.push_str(str::from_utf8(&part[..n]).unwrap());
        }
    });
    assert!(waited.await.is_ok(), "no {wanted:?} in {read:?}");
}

async fn head_has_a_length_and_no_body(path: Path) {
    let demo = demo().await;
    for protocol in ["http1", "h2c"] {
        let rig =
            Rig::start(path, &(engine(&[demo.address], &format!("protocol: {protocol}")) + ROUTES))
                .await;
        let answer = rig.raw("HEAD /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
        assert!(answer.contains("content-length: 18\r\n"), "{protocol}: {answer}");
        let head = http::Request::head(format!("http://{}/hello", rig.address));
        let answer = rig.h2(head.body(Bytes::new()).unwrap()).await;
        assert_eq!(answer.head.headers["content-length"], "18");
        assert_eq!(answer.body.unwrap(), "");
        rig.until_free().await;
        assert!(rig.metrics.render().contains(r#"code="2xx",engine="e",route="http"} 2"#));
    }
}

const STRICT_ROUTES: &str = "
---
kind: route
name: get
spec: {match: {path: /hello, methods: [GET]}, engine: e}
---
kind: route
name: put
spec: {match: {path: /hello, methods: [PUT]}, engine: e}
";

async fn the_gateways_own_answers(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + STRICT_ROUTES)).await;
    let answer = rig.h2(get(&rig, "/nothing?token=secret")).await;
    assert_eq!(
        (answer.head.status.as_u16(), &answer.head.headers["pigeon-reason"]),
        (404, &"no_route".parse().unwrap())
    );
    assert_eq!(answer.head.headers["content-type"], "application/problem+json");
    let problem: serde_json::Value = serde_json::from_slice(&answer.body.unwrap()).unwrap();
    assert_eq!((&problem["reason"], &problem["status"]), (&"no_route".into(), &404.into()));
    let answer = rig.raw("DELETE /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, PUT\r\n"),
        "{answer}"
    );
    let answer = rig.raw("HEAD /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    let answer = rig.raw("CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let metrics = rig.metrics.render();
    assert!(
        metrics.contains(r#"pigeon_rejections_total{engine="",reason="no_route",route=""} 2"#),
        "{metrics}"
    );
}

/// A gateway whose listener has these limits.
async fn limited(path: Path, limits: &str) -> Rig {
    let listener = format!(
        "\n---\nkind: listener\nname: default\nspec: {{address: '127.0.0.1:1', {limits}}}\n"
    );
    Rig::start(path, &(engine(&[demo().await.address], "") + ROUTES + &listener)).await
}

async fn a_head_too_long_or_too_slow_is_refused(path: Path) {
    let rig = limited(path, "max_header_bytes: 8192, header_timeout: 200ms").await;
    let long = "x".repeat(9_000);
    let answer = rig.raw(&format!("GET /hello HTTP/1.1\r\nhost: x\r\nlong: {long}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    // Says nothing, or stops in the middle: closed.
    assert_eq!(rig.raw("").await, "");
    assert_eq!(rig.raw("PRI * HTTP/2.0\r\n").await, "");
    for slow in ["GET /hello HTTP/1.1\r\nhos", "GET /hello HTTP/1.1\r\nhost: x\r\n\r\nGET /hello"] {
        let answer = rig.raw(slow).await;
        assert!(answer.contains("HTTP/1.1 400 ") && answer.contains("in time"), "{answer}");
    }
}

async fn an_idle_connection_has_more_time_than_a_head(path: Path) {
    let rig = limited(path, "header_timeout: 200ms").await;
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    let hello = b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n";
    socket.write_all(hello).await.unwrap();
    let mut answer = [0; 4096];
    assert_ne!(socket.read(&mut answer).await.unwrap(), 0);
    // Others are the clock: one after the other runs out of its time.
    for _ in 0..2 {
        assert_eq!(rig.raw("").await, "");
    }
    socket.write_all(hello).await.unwrap();
    let n = socket.read(&mut answer).await.unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 200 OK\r\n"));
}

async fn expect_is_answered_when_the_body_is_wanted(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 1, ", queue: 1") + ROUTES)).await;
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             expect: 100-continue\r\ncontent-length: 5\r\n\r\n"
        )
    };
    // One call has the only slot.
    let (sender, body) = upload();
    let mut speech = rig.speech();
    let holder = tokio::spawn(async move { speech.recognize(body).await });
    rig.until(|u| u.endpoints[0].in_use == 1).await;
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(head("/echo").as_bytes()).await.unwrap();
    rig.until(|u| u.waiting == 1).await;
    // The line is full: refused, without a 100.
    let refused = rig.raw(&head("/echo")).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    // The one that waits has heard nothing yet.
    let nothing = socket.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    drop(sender);
    holder.await.unwrap().unwrap();
    let wanted = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut interim = [0; 25];
    socket.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, wanted);
    socket.write_all(b"01234").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("01234"), "{answer}");
    rig.until_free().await;
}

async fn connections_over_the_limit_of_the_listener_are_closed(path: Path) {
    let rig = limited(path, "max_connections: 2").await;
    let _one = TcpStream::connect(rig.address).await.unwrap();
    let _two = TcpStream::connect(rig.address).await.unwrap();
    let metrics = || rig.metrics.render();
    eventually(|| metrics().contains(r#"pigeon_connections{listener="default"} 2"#)).await;
    let mut three = TcpStream::connect(rig.address).await.unwrap();
    let mut nothing = Vec::new();
    let read = three.read_to_end(&mut nothing).await;
    assert!(matches!(read, Ok(0) | Err(_)));
    eventually(|| {
        metrics()
            .contains(r#"pigeon_connections_refused_total{listener="default",reason="limit"} 1"#)
    })
    .await;
}
