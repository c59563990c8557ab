//! JSON calls of engines that speak gRPC: what comes through, how it ends, and what is refused.

use bytes::Bytes;
use http::Method;
use pigeon_proto::demo::v1::PingReply;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::Server;

use super::support::*;
use super::tls::pki::Pki;

on_both_paths! {
    a_unary_call,
    a_stream_comes_line_by_line,
    how_a_call_fails_is_said_in_json,
    what_cannot_be_translated_is_refused,
    bodies_and_messages_have_limits,
    engines_that_do_not_describe_themselves_are_named,
    a_full_engine_refuses_in_json,
    deadlines_hold,
    a_caller_that_goes_cancels_the_call,
    a_dead_endpoint_is_passed_by,
    grpc_on_the_same_route_goes_on,
    pages_may_call,
    by_tls,
}

const PING: &str = "/pigeon.demo.v1.Echo/Ping";
const GENERATE: &str = "/pigeon.demo.v1.Chat/Generate";
const STATS: &str = "/pigeon.demo.v1.Echo/Stats";

const JSON: &str = "
---
kind: route
name: json
spec: {match: {path: '/*'}, engine: e, transcode: true}
";

fn post(rig: &Rig, path: &str, body: impl Into<Bytes>) -> http::Request<Bytes> {
    let request = http::Request::post(format!("http://{}{path}", rig.address));
    request.header("content-type", "application/json").body(body.into()).unwrap()
}

fn with(mut request: http::Request<Bytes>, knobs: &[(&'static str, &str)]) -> http::Request<Bytes> {
    for (name, value) in knobs {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.head.headers.get(name).map(|value| value.to_str().unwrap())
}

fn body(answer: &Answer) -> Value {
    let body = answer.body.as_ref().expect("a body");
    serde_json::from_slice(body).unwrap_or_else(|e| panic!("{e}: {body:?}"))
}

fn lines(answer: &Answer) -> Vec<Value> {
    let body = answer.body.as_ref().expect("a body");
    assert!(body.ends_with(b"\n"), "{body:?}");
    let lines = body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// A refusal of the gateway: its status, its reason, and words of its detail.
fn refused(answer: &Answer, status: u16, reason: &str, words: &str) {
    assert_eq!(answer.head.status, status, "{answer:?}");
    assert_eq!(header(answer, "content-type"), Some("application/problem+json"));
    assert_eq!(header(answer, "pigeon-reason"), Some(reason));
    let problem = body(answer);
    assert_eq!(problem["status"], status);
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains(words), "{detail}");
}

async fn a_unary_call(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 1, "") + JSON)).await;
    let call = post(&rig, PING, r#"{"payload": "aGVsbG8="}"#);
    let answer = rig.h2(with(call, &[("demo-echo-x", "y")])).await;
    assert_eq!(answer.head.status, 200);
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    assert_eq!(header(&answer, "demo-engine"), Some("demo-1"));
    assert_eq!(header(&answer, "demo-echo-x"), Some("y"));
    assert_eq!(header(&answer, "grpc-status"), None);
    assert_eq!(answer.trailers, None, "no client of JSON reads them");
    assert_eq!(body(&answer), json!({"payload": "aGVsbG8=", "engine": "demo-1"}));
    // HTTP/1.1, and no body at all: a message without fields.
    let head = format!("POST {STATS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = rig.raw(&head).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains(r#""maxConcurrentSeen":1"#), "{answer}");
    rig.until_free().await;
    assert_eq!((rig.usage().calls, rig.usage().failures), (2, 0));
    let metrics = rig.metrics.render();
    let counted = r#"pigeon_calls_total{code="2xx",engine="e",route="json"} 2"#;
    assert!(metrics.contains(counted), "{metrics}");
}

async fn a_stream_comes_line_by_line(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 1, "") + JSON)).await;
    let prompt = r#"{"text": "one two three", "tokens": 3}"#;
    let answer = rig.h2(post(&rig, GENERATE, prompt)).await;
    assert_eq!(header(&answer, "content-type"), Some("application/x-ndjson"));
    assert_eq!(
        lines(&answer),
        [
            json!({"text": "one"}),
            json!({"text": "two", "index": 1}),
            json!({"text": "three", "index": 2})
        ]
    );
    // The second message is an hour away; the first is there all the same.
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    let head = format!(
        "POST {GENERATE} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         demo-gap-ms: 3600000\r\ncontent-length: {}\r\n\r\n{prompt}",
        prompt.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    let first = async {
        while !seen.contains("{\"text\":\"one\"}\n") {
            let mut buffer = [0; 4_096];
            let n = socket.read(&mut buffer).await.unwrap();
            assert!(n > 0, "the answer ends: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    };
    tokio::time::timeout(FOR_EVER, first).await.expect("the first line");
    drop(socket);
    rig.until_free().await;
}

async fn how_a_call_fails_is_said_in_json(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 1, "") + JSON)).await;
    for (code, status) in [("5", 404), ("3", 400), ("8", 429), ("14", 503), ("2", 500)] {
        for target in [PING, GENERATE] {
            let call = with(post(&rig, target, "{}"), &[("demo-fail", code)]);
            let answer = rig.h2(call).await;
            assert_eq!(answer.head.status, status, "{target} {code}");
            assert_eq!(header(&answer, "content-type"), Some("application/json"));
            assert_eq!(header(&answer, "pigeon-reason"), None, "the engine said it");
            let error = body(&answer);
            assert_eq!(error["code"].to_string(), code);
            assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
            let detail = &error["details"][0];
            assert_eq!(detail["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
            assert!(detail["reason"].is_string(), "{error}");
        }
    }
    // Once messages have gone out, the last line says it.
    let call = post(&rig, GENERATE, r#"{"text": "a b c", "tokens": 3}"#);
    let answer = rig.h2(with(call, &[("demo-fail", "5"), ("demo-fail-after", "2")])).await;
    assert_eq!(answer.head.status, 200);
    let lines = lines(&answer);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2]["error"]["code"], 5);
    assert!(lines[2]["error"]["details"].is_array(), "{lines:?}");
    rig.until_free().await;
    assert_eq!(rig.usage().failures, 0, "nothing that the gateway did");
    let metrics = rig.metrics.render();
    assert!(metrics.contains(r#"pigeon_calls_total{code="4xx",engine="e",route="json"} 6"#));
}

async fn what_cannot_be_translated_is_refused(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 1, "") + JSON)).await;
    let answer = rig.h2(post(&rig, "/pigeon.demo.v1.Echo/Pong", "{}")).await;
    refused(&answer, 404, "no_route", "no method of the engine");
    let mut call = post(&rig, PING, "");
    *call.method_mut() = Method::GET;
    let answer = rig.h2(call).await;
    refused(&answer, 405, "method_not_allowed", "POST");
    assert_eq!(header(&answer, "allow"), Some("POST"));
    for (text, words) in [
        (r#"{"paylod": "aGk="}"#, "paylod"),
        (
            r#"{"payload": 1}"#,
            "payload: invalid type: integer `1`, expected a base64-encoded string, at line 1",
        ),
        (r#"{"payload": "aGk="} {}"#, "trailing"),
        (r#"{"payload": "#, "EOF"),
        ("[]", "pigeon.demo.v1.PingRequest"),
    ] {
        refused(&rig.h2(post(&rig, PING, text)).await, 400, "bad_request", words);
    }
    let query = format!("{PING}?payload=aGk=");
    refused(&rig.h2(post(&rig, &query, "{}")).await, 400, "bad_request", "payload");
    let deep = "[".repeat(1 << 16);
    refused(&rig.h2(post(&rig, PING, deep)).await, 400, "bad_request", "PingRequest");
    let mut call = post(&rig, PING, "payload=aGk=");
    call.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    refused(&rig.h2(call).await, 415, "bad_request", "content-type: application/json");
    let call = with(post(&rig, PING, "{}"), &[("content-encoding", "gzip")]);
    refused(&rig.h2(call).await, 415, "bad_request", "compressed");
    let answer = rig.h2(post(&rig, "/pigeon.demo.v1.Speech/Transcribe", "{}")).await;
    refused(&answer, 501, "bad_request", "stream of messages");
    rig.until_free().await;
    // None of them came to the engine, and none is its fault.
    assert_eq!((demo.stats.read().calls, rig.usage().failures), (0, 0));
    // The connection and the route serve on.
    assert_eq!(rig.h2(post(&rig, PING, "{}")).await.head.status, 200);
}

async fn bodies_and_messages_have_limits(path: Path) {
    let demo = demo().await;
    let text = strict(&[demo.address], 1, ", max_message_bytes: 64") + JSON;
    let rig = Rig::start(path, &text).await;
    let padded = format!("{{\"payload\": \"aGk=\"{}}}", " ".repeat(100));
    refused(&rig.h2(post(&rig, PING, padded.clone())).await, 413, "too_large", "64");
    // Also when its length is not told.
    let chunked = format!(
        "POST {PING} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{padded}\r\n0\r\n\r\n",
        padded.len()
    );
    let answer = rig.raw(&chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // An answer too long: 40 bytes and the engine's name fit in, with their tags, and 60 do not.
    let payload = |n: usize| format!("{{\"payload\":\"{}\"}}", "AAAA".repeat(n / 3));
    assert_eq!(rig.h2(post(&rig, PING, payload(33))).await.head.status, 200);
    let limited = JSON.replace("transcode: true", "transcode: true, max_body_bytes: 10");
    rig.install(&(strict(&[demo.address], 1, "") + &limited));
    refused(&rig.h2(post(&rig, PING, payload(33))).await, 413, "too_large", "10");
    rig.until_free().await;
}

/// An engine of gRPC that has no service at all.
async fn mute() -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_routes(Routes::default());
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn engines_that_do_not_describe_themselves_are_named(path: Path) {
    let rig = Rig::start(path, &(strict(&[mute().await], 1, "") + JSON)).await;
    let answer = rig.h2(post(&rig, PING, "{}")).await;
    refused(&answer, 502, "engine_protocol_error", "server reflection");
    let nobody = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    rig.install(
        &(strict(&[nobody], 1, "").replace("name: e\n", "name: f\n")
            + &JSON.replace("engine: e", "engine: f")),
    );
    refused(&rig.h2(post(&rig, PING, "{}")).await, 502, "connect_failed", "");
    rig.install(&("kind: engine\nname: e\nspec: {}\n".to_owned() + JSON));
    refused(&rig.h2(post(&rig, PING, "{}")).await, 503, "no_endpoint", "");
    eventually(|| rig.gateway.calls_open() == 0).await;
}

async fn a_full_engine_refuses_in_json(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 1, "") + JSON)).await;
    let (more, chunks) = upload();
    let mut speech = rig.speech();
    let held = tokio::spawn(async move { speech.recognize(chunks).await });
    rig.until(|usage| usage.endpoints[0].in_use == 1).await;
    for target in [PING, GENERATE] {
        let answer = rig.h2(post(&rig, target, "{}")).await;
        refused(&answer, 503, "saturated", "");
        assert!(header(&answer, "retry-after").is_some(), "{answer:?}");
        assert_eq!(body(&answer)["engine"], "e");
    }
    drop((held, more));
    rig.until_free().await;
}

async fn deadlines_hold(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 1, "") + JSON)).await;
    let slow = [("demo-delay-ms", "3600000"), ("grpc-timeout", "100m")];
    for target in [PING, GENERATE] {
        let text = if target == PING { "{}" } else { r#"{"tokens": 1}"# };
        let answer = rig.h2(with(post(&rig, target, text), &slow)).await;
        refused(&answer, 504, "deadline", "");
        rig.until_free().await;
    }
    let call = with(post(&rig, PING, "{}"), &[("grpc-timeout", "soon")]);
    refused(&rig.h2(call).await, 400, "bad_request", "grpc-timeout");
    // Of a stream: after what came in time.
    let call = post(&rig, GENERATE, r#"{"text": "a b", "tokens": 2}"#);
    let slow = [("demo-gap-ms", "3600000"), ("grpc-timeout", "300m")];
    let answer = rig.h2(with(call, &slow)).await;
    let lines = lines(&answer);
    assert_eq!((lines.len(), &lines[0]), (2, &json!({"text": "a"})));
    assert_eq!(lines[1]["error"]["code"], 4);
    assert_eq!(lines[1]["error"]["reason"], "deadline");
    rig.until_free().await;
    // The route's own.
    rig.install(
        &(strict(&[demo.address], 1, "")
            + &JSON.replace("transcode: true", "transcode: true, timeout: 50ms")),
    );
    let call = with(post(&rig, PING, "{}"), &[("demo-delay-ms", "3600000")]);
    refused(&rig.h2(call).await, 504, "deadline", "");
    rig.until_free().await;
    demo.until(|stats| stats.concurrent_now == 0).await;
}

async fn a_caller_that_goes_cancels_the_call(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 1, "") + JSON)).await;
    let head = format!(
        "POST {PING} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         demo-delay-ms: 3600000\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    demo.until(|stats| stats.calls == 1).await;
    drop(socket);
    demo.until(|stats| stats.cancelled == 1).await;
    rig.until_free().await;
}

async fn a_dead_endpoint_is_passed_by(path: Path) {
    let demo = demo().await;
    let nobody = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let rig = Rig::start(path, &(strict(&[nobody, demo.address], 1, "") + JSON)).await;
    for _ in 0..8 {
        let answer = rig.h2(post(&rig, PING, r#"{"payload": "aGVsbG8="}"#)).await;
        assert_eq!(body(&answer)["payload"], "aGVsbG8=", "{answer:?}");
    }
    rig.until_free().await;
}

async fn grpc_on_the_same_route_goes_on(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 1, "") + JSON)).await;
    assert_eq!(rig.echo().ping(ping()).await.unwrap().into_inner().payload, "hello");
    let message = ping().encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed = [&[0][..], &length, &message].concat();
    let mut call = post(&rig, PING, framed);
    call.headers_mut().insert("content-type", "application/grpc-web".parse().unwrap());
    let answer = rig.h2(call).await;
    let reply = answer.body.unwrap();
    let length = usize::from(reply[4]);
    assert_eq!(PingReply::decode(&reply[5..5 + length]).unwrap().payload, "hello");
    rig.until_free().await;
}

async fn pages_may_call(path: Path) {
    let demo = demo().await;
    let cors = "transcode: true, cors: {origins: ['https://app.example']}";
    let rig = Rig::start(
        path,
        &(strict(&[demo.address], 1, "") + &JSON.replace("transcode: true", cors)),
    )
    .await;
    let origin = ("origin", "https://app.example");
    for (target, status) in [(PING, 200), ("/nobody", 404)] {
        let answer = rig.h2(with(post(&rig, target, "{}"), &[origin])).await;
        assert_eq!(answer.head.status, status);
        assert_eq!(header(&answer, "access-control-allow-origin"), Some(origin.1));
    }
}

async fn by_tls(path: Path) {
    let pki = Pki::new();
    pki.issue("engine", &["engine.test"]);
    let demo = demo().await;
    let front = pki.before("engine", &[b"h2"], false, demo.address).await;
    let ca = pki.path("ca.pem").display().to_string();
    let text = engine(&[front.address], &format!("tls: {{ca: {ca}, server_name: engine.test}}"));
    let rig = Rig::start(path, &(text + JSON)).await;
    let answer = rig.h2(post(&rig, PING, r#"{"payload": "aGVsbG8="}"#)).await;
    assert_eq!(body(&answer)["payload"], "aGVsbG8=", "{answer:?}");
    rig.until_free().await;
}
