//! Browsers: gRPC-Web in both its forms, over both protocols, and what pages of other origins may do.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use pigeon_proto::demo::v1::{PingReply, Token};
use prost::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::*;

on_both_paths! {
    a_unary_call_in_both_forms,
    over_http1_a_stream_comes_message_by_message,
    an_error_is_in_the_head_or_in_the_last_message,
    the_gateways_refusals_are_understood,
    what_is_not_base64_is_refused,
    a_page_of_another_origin_may_call_if_the_route_says_so,
    a_preflight_for_a_route_without_rules_goes_to_the_engine,
    grpc_itself_is_not_disturbed,
}

const PING: &str = "/pigeon.demo.v1.Echo/Ping";
const GENERATE: &str = "/pigeon.demo.v1.Chat/Generate";

/// One message in its frame.
fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &bytes].concat()
}

/// The messages of an answer, and the lines of the last one, which is its trailers.
fn unframed(mut body: &[u8]) -> (Vec<Bytes>, Option<String>) {
    let (mut messages, mut trailers) = (Vec::new(), None);
    while !body.is_empty() {
        assert_eq!(trailers, None, "nothing follows the trailers");
        let flag = body.get_u8();
        let length = body.get_u32() as usize;
        let (message, rest) = body.split_at(length);
        match flag {
            0 => messages.push(Bytes::copy_from_slice(message)),
            0x80 => trailers = Some(String::from_utf8(message.to_vec()).unwrap()),
            other => panic!("a frame with the flag {other}"),
        }
        body = rest;
    }
    (messages, trailers)
}

/// Parts that each end in padding, one after another.
fn from_text(text: &[u8]) -> Vec<u8> {
    let groups = text.chunks(4).map(|group| STANDARD.decode(group).unwrap());
    groups.collect::<Vec<_>>().concat()
}

fn post(rig: &Rig, path: &str, kind: &str, body: Vec<u8>) -> http::Request<Bytes> {
    let request = http::Request::post(format!("http://{}{path}", rig.address));
    let request = request.header("content-type", kind).header("x-grpc-web", "1");
    request.body(body.into()).unwrap()
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

async fn a_unary_call_in_both_forms(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 1, "") + ROUTES)).await;
    for (kind, text) in
        [("application/grpc-web+proto", false), ("application/grpc-web-text+proto", true)]
    {
        let frame = framed(&ping());
        let body = if text { STANDARD.encode(frame).into_bytes() } else { frame };
        let answer = rig.h2(post(&rig, PING, kind, body)).await;
        assert_eq!(answer.head.status, 200);
        assert_eq!(text_of(&answer.head.headers, "content-type"), Some(kind));
        assert_eq!(answer.trailers, None, "no browser reads them");
        let body = answer.body.unwrap();
        let body = if text { from_text(&body) } else { body.to_vec() };
        let (messages, trailers) = unframed(&body);
        assert_eq!(PingReply::decode(&*messages[0]).unwrap().payload, "hello");
        let trailers = trailers.expect("trailers");
        assert!(trailers.contains("grpc-status: 0\r\n"), "{trailers}");
    }
    rig.until_free().await;
    assert_eq!((rig.usage().calls, rig.usage().failures), (2, 0));
    let metrics = rig.metrics.render();
    assert!(metrics.contains(r#"pigeon_calls_total{code="OK",engine="e",route="echo"} 2"#));
}

/// Reads until the text has come.
async fn until(socket: &mut TcpStream, seen: &mut String, wanted: &str) {
    let read = async {
        while !seen.contains(wanted) {
            let mut buffer = [0; 4_096];
            let n = socket.read(&mut buffer).await.unwrap();
            assert!(n > 0, "the answer ends: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    };
    tokio::time::timeout(FOR_EVER, read).await.unwrap_or_else(|_| panic!("only {seen}"));
}

async fn over_http1_a_stream_comes_message_by_message(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + ROUTES)).await;
    let body = STANDARD.encode(framed(&prompt(3)));
    let head = format!(
        "POST {GENERATE} HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web-text\r\n\
         connection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    let token = |word: &str, index| STANDARD.encode(framed(&Token { text: word.into(), index }));
    // The second message is an hour away; the first is there all the same.
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(format!("{head}demo-gap-ms: 3600000\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut seen = String::new();
    until(&mut socket, &mut seen, &token("one", 0)).await;
    drop(socket);
    demo.until(|stats| stats.cancelled == 1).await;
    // A body that comes in parts, cut in the middle of a group of four.
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(format!("{head}\r\n{}", &body[..5]).as_bytes()).await.unwrap();
    demo.until(|stats| stats.calls == 2).await;
    socket.write_all(&body.as_bytes()[5..]).await.unwrap();
    let mut seen = String::new();
    until(&mut socket, &mut seen, "\r\n0\r\n").await;
    let tokens = [token("one", 0), token("two", 1), token("three", 2)];
    let at: Vec<Option<usize>> = tokens.iter().map(|token| seen.find(token)).collect();
    assert!(at.is_sorted() && at[0].is_some(), "{seen}");
    rig.until_free().await;
}

async fn an_error_is_in_the_head_or_in_the_last_message(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 1, "") + ROUTES)).await;
    let kind = "application/grpc-web";
    let mut call = post(&rig, PING, kind, framed(&ping()));
    call.headers_mut().insert("demo-fail", "5".parse().unwrap());
    let answer = rig.h2(call).await;
    // An answer that is nothing but its status has it in the head.
    assert_eq!(text_of(&answer.head.headers, "grpc-status"), Some("5"));
    assert_eq!(answer.body.unwrap(), "");
    let mut call = post(&rig, GENERATE, kind, framed(&prompt(3)));
    call.headers_mut().insert("demo-fail", "5".parse().unwrap());
    call.headers_mut().insert("demo-fail-after", "2".parse().unwrap());
    let answer = rig.h2(call).await;
    assert_eq!(text_of(&answer.head.headers, "grpc-status"), None);
    let (messages, trailers) = unframed(&answer.body.unwrap());
    assert_eq!(messages.len(), 2);
    let trailers = trailers.expect("trailers");
    assert!(trailers.contains("grpc-status: 5\r\n"), "{trailers}");
    assert!(trailers.contains("grpc-status-details-bin: "), "{trailers}");
    rig.until_free().await;
}

async fn the_gateways_refusals_are_understood(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 1, "") + ROUTES)).await;
    // A route for gRPC alone does not take it, and the one for all of HTTP does; there is no such service.
    let answer = rig.h2(post(&rig, "/no.Such/Method", "application/grpc-web", vec![])).await;
    assert_eq!(text_of(&answer.head.headers, "grpc-status"), Some("12"));
    // The only slot is taken.
    let (_more, chunks) = upload();
    let mut speech = rig.speech();
    let held = tokio::spawn(async move { speech.recognize(chunks).await });
    rig.until(|usage| usage.endpoints[0].in_use == 1).await;
    let answer = rig
        .h2(post(&rig, PING, "application/grpc-web-text", STANDARD.encode(framed(&ping())).into()))
        .await;
    assert_eq!(answer.head.status, 200);
    assert_eq!(text_of(&answer.head.headers, "grpc-status"), Some("8"));
    assert_eq!(text_of(&answer.head.headers, "pigeon-reason"), Some("saturated"));
    let kind = text_of(&answer.head.headers, "content-type");
    assert_eq!(kind, Some("application/grpc-web-text+proto"));
    held.abort();
}

async fn what_is_not_base64_is_refused(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + ROUTES)).await;
    for body in ["AAAAAA!=", "AAAAA"] {
        let body = body.as_bytes().to_vec();
        let answer = rig.h2(post(&rig, PING, "application/grpc-web-text", body)).await;
        assert_eq!(text_of(&answer.head.headers, "pigeon-reason"), Some("bad_request"));
        let message = text_of(&answer.head.headers, "grpc-message").unwrap();
        assert!(message.contains("base64"), "{message}");
    }
    rig.until_free().await;
}

const PAGES: &str = "
---
kind: route
name: echo
spec: {match: {grpc: pigeon.demo.v1.Echo}, engine: e, cors: {origins: ['https://app.example'], expose: [demo-engine]}}
---
kind: route
name: web
spec: {match: {path: '/hello'}, engine: e, cors: {origins: ['*']}, response_headers: {set: {access-control-allow-origin: none}}}
---
kind: route
name: rest
spec: {match: {path: '/*'}, engine: e}
";

async fn a_page_of_another_origin_may_call_if_the_route_says_so(path: Path) {
    let demo = demo().await;
    for protocol in ["auto", "h2c"] {
        let engine = engine(&[demo.address], &format!("protocol: {protocol}"));
        let rig = Rig::start(path, &(engine + PAGES)).await;
        let asked = |path: &str, origin: &str, names: &str| {
            let request = http::Request::options(format!("http://{}{path}", rig.address));
            let request =
                request.header("origin", origin).header("access-control-request-method", "POST");
            request.header("access-control-request-headers", names).body(Bytes::new()).unwrap()
        };
        let names = "content-type,x-grpc-web,x-user-agent";
        let answer = rig.h2(asked(PING, "https://app.example", names)).await;
        assert_eq!(answer.head.status, 204);
        let headers = &answer.head.headers;
        assert_eq!(text_of(headers, "access-control-allow-origin"), Some("https://app.example"));
        assert_eq!(text_of(headers, "access-control-allow-headers"), Some(names));
        assert_eq!(text_of(headers, "access-control-allow-methods"), Some("POST"));
        assert_eq!(text_of(headers, "content-length"), None);
        // Also where it does not say by its own header that it is gRPC-Web.
        let answer = rig.h2(asked(PING, "https://app.example", "content-type")).await;
        assert_eq!(answer.head.status, 204);
        let answer = rig.h2(asked(PING, "https://evil.example", names)).await;
        assert_eq!(text_of(&answer.head.headers, "access-control-allow-origin"), None);

        let mut call = post(&rig, PING, "application/grpc-web", framed(&ping()));
        call.headers_mut().insert("origin", "https://app.example".parse().unwrap());
        let headers = rig.h2(call).await.head.headers;
        assert_eq!(text_of(&headers, "access-control-allow-origin"), Some("https://app.example"));
        let exposed = text_of(&headers, "access-control-expose-headers").unwrap();
        assert!(
            exposed.starts_with("grpc-status, ") && exposed.ends_with(", demo-engine"),
            "{exposed}"
        );
        assert_eq!(text_of(&headers, "vary"), Some("origin"));

        let get = |path: &str, origin: Option<&str>| {
            let mut request = http::Request::get(format!("http://{}{path}", rig.address));
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            request.body(Bytes::new()).unwrap()
        };
        let headers = rig.h2(get("/hello", Some("http://localhost:3000"))).await.head.headers;
        let allowed = text_of(&headers, "access-control-allow-origin");
        assert_eq!(allowed, Some("http://localhost:3000"), "{protocol}");
        let headers = rig.h2(get("/hello", None)).await.head.headers;
        assert_eq!(text_of(&headers, "access-control-allow-origin"), None);
        assert_eq!(text_of(&headers, "vary"), Some("origin"), "{protocol}");
        // The refusal of a call can be read too, or a page knows no reason.
        let gone = "kind: engine\nname: e\nspec: {}\n".to_owned() + PAGES;
        rig.install(&gone);
        let mut call = post(&rig, PING, "application/grpc-web", framed(&ping()));
        call.headers_mut().insert("origin", "https://app.example".parse().unwrap());
        let headers = rig.h2(call).await.head.headers;
        assert_eq!(text_of(&headers, "pigeon-reason"), Some("no_endpoint"));
        assert_eq!(text_of(&headers, "access-control-allow-origin"), Some("https://app.example"));
    }
}

async fn a_preflight_for_a_route_without_rules_goes_to_the_engine(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + PAGES)).await;
    let request = http::Request::options(format!("http://{}/echo", rig.address));
    let request = request.header("origin", "https://app.example");
    let request =
        request.header("access-control-request-method", "PUT").body(Bytes::new()).unwrap();
    let answer = rig.h2(request).await;
    assert_ne!(answer.head.status, 204);
    rig.until_free().await;
    assert_eq!(rig.usage().calls, 1);
}

async fn grpc_itself_is_not_disturbed(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + PAGES)).await;
    let reply = rig.echo().ping(ping()).await.unwrap();
    assert_eq!(text(reply.metadata(), "access-control-allow-origin"), None);
    let mut asked = tonic::Request::new(ping());
    asked.metadata_mut().insert("origin", "https://app.example".parse().unwrap());
    let reply = rig.echo().ping(asked).await.unwrap();
    let allowed = text(reply.metadata(), "access-control-allow-origin");
    assert_eq!(allowed, Some("https://app.example"));
    assert_eq!(reply.into_inner().payload, "hello");
}
