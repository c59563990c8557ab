//! The gate for HTTP/1.1 beside hyper's parser: where the gate lets a connection pass, hyper finds the same
//! requests in it.

// clippy's `allow-unwrap-in-tests` does not reach what tests share.
#![allow(clippy::unwrap_used, missing_docs)]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use pigeon_proxy::http1::Scanner;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const LAST: &str = "GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// The targets that hyper sees, and the lengths of the bodies; none of a body that is malformed.
fn by_hyper(text: &str) -> Vec<(String, Option<usize>)> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        client.write_all(text.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let service = service_fn(|request: Request<Incoming>| async {
            let target = request.uri().to_string();
            let body = request.into_body().collect().await.ok();
            let length = body.map(|body| body.to_bytes().len());
            seen.lock().unwrap().push((target, length));
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(server), service);
        let mut answers = Vec::new();
        let (_, read) = tokio::join!(connection, client.read_to_end(&mut answers));
        read.unwrap();
    });
    seen.lock().unwrap().clone()
}

/// Whether the gate lets all of it pass, and is between two requests then.
fn passes(text: &str) -> bool {
    let mut scanner = Scanner::new(1 << 16);
    let scan = scanner.scan(text.as_bytes());
    if scan.fault.is_some() || scan.pass < text.len() || scanner.in_head() {
        return false;
    }
    let scan = scanner.scan(b"G");
    scan.pass == 0 && scanner.in_head()
}

const LINES: [&str; 5] = [
    "GET / HTTP/1.1",
    "POST /p HTTP/1.1",
    "GET / HTTP/1.0",
    "GET  / HTTP/1.1",
    "PUT http://a/ HTTP/1.1",
];
const FIELDS: [&str; 16] = [
    "host: a",
    "content-length: 5",
    "content-length: 0",
    "content-length: 05",
    "content-length: 5, 5",
    "content-length: +5",
    "Content-Length : 5",
    "transfer-encoding: chunked",
    "transfer-encoding: CHUNKED",
    "transfer-encoding: chunked, identity",
    "transfer-encoding:\u{c}chunked",
    "x: y",
    "x: y\r\n z",
    "x: y\rcontent-length: 5",
    "te: trailers",
    "connection: keep-alive",
];
const BODIES: [&str; 14] = [
    "",
    "01234",
    "0\r\n\r\n",
    "5\r\n01234\r\n0\r\n\r\n",
    "5;a=b\r\n01234\r\n0\r\n\r\n",
    "5;a\n\r\n01234\r\n0\r\n\r\n",
    "5 \r\n01234\r\n0\r\n\r\n",
    "5\n01234\n0\n\n",
    "0\r\nt: u\r\n\r\n",
    "0\r\nt: u\n\r\n",
    "-1\r\n\r\n",
    "0x5\r\n01234\r\n0\r\n\r\n",
    "5\r\n012345\r\n0\r\n\r\n",
    "10000000000000005\r\n01234\r\n0\r\n\r\n",
];

fn request() -> impl Strategy<Value = String> {
    let fields = prop::collection::vec(prop::sample::select(&FIELDS[..]), 0..3);
    let parts = (prop::sample::select(&LINES[..]), fields, prop::sample::select(&BODIES[..]));
    parts.prop_map(|(line, fields, body)| {
        let fields: String = fields.iter().flat_map(|field| [field, "\r\n"]).collect();
        format!("{line}\r\nhost: a\r\n{fields}\r\n{body}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_passes_is_read_by_hyper_in_the_same_way(requests in prop::collection::vec(request(), 1..3)) {
        // A request of HTTP/1.0 ends the connection.
        let ends = requests.iter().any(|request| request.contains("HTTP/1.0"));
        let text = requests.concat();
        if !ends && passes(&text) {
            let seen = by_hyper(&(text + LAST));
            prop_assert_eq!(seen.last(), Some(&("/last".to_owned(), Some(0))), "{:?}", seen);
            prop_assert_eq!(seen.len(), requests.len() + 1);
            prop_assert!(seen.iter().all(|(_, body)| body.is_some()));
        }
    }
}

/// So that the property above is not empty: hyper takes what the gate does not.
#[test]
fn hyper_takes_more() {
    let both = "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(by_hyper(both), [("/p".to_owned(), Some(0))]);
    assert!(!passes(both));
    let good =
        "POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n\r\n";
    assert_eq!(by_hyper(&(good.to_owned() + LAST))[0], ("/p".to_owned(), Some(5)));
    assert!(passes(good));
}
