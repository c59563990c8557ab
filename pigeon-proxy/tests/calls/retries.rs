//! Calls that are tried again, and those that are not.

use bytes::Bytes;
use h2::Reason;

use super::support::*;
use super::told::{Say, told};
use super::wire::WireEngine;

on_both_paths! {
    a_listed_status_is_tried_again_elsewhere_with_all_of_the_request,
    what_is_not_listed_is_not_tried_again,
    the_last_answer_is_the_engines_own,
    an_answer_that_has_begun_is_not_tried_again,
    the_budget_keeps_retries_few,
    a_request_beyond_the_buffer_is_not_tried_again,
    a_refused_stream_is_tried_again,
    an_engine_that_refuses_everything,
    a_goaway_leaves_the_rest_to_another_connection,
    a_goaway_to_all_sends_the_call_to_the_other_endpoint,
    a_reset_is_tried_again_where_it_is_listed,
    an_http_status_is_tried_again_where_it_is_listed,
    a_call_that_was_not_seen_keeps_its_slot,
    calls_are_split_by_percent,
}

fn route(rest: &str) -> String {
    format!("\n---\nkind: route\nname: r\nspec: {{match: {{}}, engine: e, {rest}}}\n")
}

const ON_UNAVAILABLE: &str = "retry: {attempts: 2, on: [UNAVAILABLE], budget: 100, backoff: 1ms}";

/// A gRPC call with one message of `length` bytes.
fn call(rig: &Rig, length: usize) -> http::Request<Bytes> {
    let mut body = vec![0];
    body.extend(u32::try_from(length).unwrap().to_be_bytes());
    body.extend((0..length).map(|i| (i % 251) as u8));
    http::Request::post(format!("http://{}/a.B/C", rig.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body.into())
        .unwrap()
}

/// The gRPC status of an answer, from its head or its trailers.
fn status(answer: &Answer) -> &str {
    let trailers = answer.trailers.as_ref().and_then(|t| t.get("grpc-status"));
    trailers.or(answer.head.headers.get("grpc-status")).unwrap().to_str().unwrap()
}

fn why(answer: &Answer) -> Option<&str> {
    answer.head.headers.get("pigeon-reason").map(|v| v.to_str().unwrap())
}

async fn a_listed_status_is_tried_again_elsewhere_with_all_of_the_request(path: Path) {
    let bad = told(|_| Say::Grpc(14)).await;
    let good = told(|_| Say::Message(3, 0)).await;
    let config = strict(&[bad.address, good.address], 4, "") + &route(ON_UNAVAILABLE);
    let rig = Rig::start(path, &config).await;
    for _ in 0..20 {
        assert_eq!(status(&rig.h2(call(&rig, 40_000)).await), "0");
    }
    rig.until_free().await;
    assert_eq!(good.calls(), 20);
    // The bad one was taken for about half of the calls, and never twice for one.
    assert!((1..=20).contains(&bad.calls()), "{}", bad.calls());
    let again: Vec<_> = good
        .seen()
        .into_iter()
        .filter(|seen| seen.headers.contains_key("grpc-previous-rpc-attempts"))
        .collect();
    assert_eq!(again.len(), bad.calls());
    let whole = call(&rig, 40_000).into_body();
    for seen in again {
        assert_eq!(seen.headers["grpc-previous-rpc-attempts"], "1");
        assert!(seen.body == whole);
    }
    let metrics = rig.metrics.render();
    let retries = format!(r#"pigeon_retries_total{{engine="e",route="r"}} {}"#, bad.calls());
    assert!(metrics.contains(&retries), "{metrics}");
    assert_eq!((rig.usage().calls, rig.usage().failures), (20, 0));
}

async fn what_is_not_listed_is_not_tried_again(path: Path) {
    let engine = told(|_| Say::Grpc(8)).await;
    let rig = Rig::start(path, &(strict(&[engine.address], 1, "") + &route(ON_UNAVAILABLE))).await;
    assert_eq!(status(&rig.h2(call(&rig, 1)).await), "8");
    let rig = Rig::start(path, &(strict(&[engine.address], 1, "") + &route("priority: 0"))).await;
    assert_eq!(status(&rig.h2(call(&rig, 1)).await), "8");
    rig.until_free().await;
    assert_eq!(engine.calls(), 2);
}

async fn the_last_answer_is_the_engines_own(path: Path) {
    let engine = told(|_| Say::Grpc(14)).await;
    let rig = Rig::start(path, &(strict(&[engine.address], 1, "") + &route(ON_UNAVAILABLE))).await;
    let mut request = call(&rig, 1);
    // The caller has tried before, too.
    request.headers_mut().insert("grpc-previous-rpc-attempts", "3".parse().unwrap());
    let answer = rig.h2(request).await;
    assert_eq!((status(&answer), why(&answer)), ("14", None));
    assert_eq!(answer.head.headers["grpc-message"], "mine");
    let previous: Vec<_> = engine
        .seen()
        .iter()
        .map(|seen| seen.headers["grpc-previous-rpc-attempts"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(previous, ["3", "4", "5"]);
    rig.until_free().await;
}

async fn an_answer_that_has_begun_is_not_tried_again(path: Path) {
    let engine = told(|_| Say::Message(1, 14)).await;
    let rig = Rig::start(path, &(strict(&[engine.address], 1, "") + &route(ON_UNAVAILABLE))).await;
    let answer = rig.h2(call(&rig, 1)).await;
    assert_eq!((status(&answer), answer.body.as_ref().unwrap().len()), ("14", 6));
    rig.until_free().await;
    assert_eq!(engine.calls(), 1);
}

async fn the_budget_keeps_retries_few(path: Path) {
    let engine = told(|_| Say::Grpc(14)).await;
    let retry =
        "retry: {attempts: 5, on: [UNAVAILABLE], budget: 10, backoff: 0ms, max_backoff: 0ms}";
    let rig = Rig::start(path, &(strict(&[engine.address], 1, "") + &route(retry))).await;
    for _ in 0..50 {
        assert_eq!(status(&rig.h2(call(&rig, 1)).await), "14");
    }
    rig.until_free().await;
    // 10 % are 5; without a budget they would be 250. Each further 10 s allow 3 more.
    let retries = engine.calls() - 50;
    assert!((5..=14).contains(&retries), "{retries}");
    // Whoever wonders why not more were made sees it.
    let text = rig.metrics.render();
    for series in ["pigeon_retry_budget{", "pigeon_retry_budget_used{"] {
        assert!(text.contains(&format!(r#"{series}route="r"}} "#)), "{text}");
    }
    let denied = format!("pigeon_retry_budget_exhausted_total{{route=\"r\"}} {}\n", 50);
    assert!(text.contains(&denied), "{text}");
}

async fn a_request_beyond_the_buffer_is_not_tried_again(path: Path) {
    let engine = told(|_| Say::Grpc(14)).await;
    let retry = "retry: {attempts: 2, on: [UNAVAILABLE], budget: 100, buffer: 1000}";
    let rig = Rig::start(path, &(strict(&[engine.address], 1, "") + &route(retry))).await;
    assert_eq!(status(&rig.h2(call(&rig, 2_000)).await), "14");
    assert_eq!(engine.calls(), 1);
    assert_eq!(status(&rig.h2(call(&rig, 900)).await), "14");
    assert_eq!(engine.calls(), 4);
    rig.until_free().await;
}

async fn a_refused_stream_is_tried_again(path: Path) {
    let refuse = Say::Reset(Reason::REFUSED_STREAM);
    let engine = told(move |n| if n == 0 { refuse } else { Say::Message(3, 0) }).await;
    let rig = Rig::start(path, &(strict(&[engine.address], 1, "") + &route("priority: 0"))).await;
    assert_eq!(status(&rig.h2(call(&rig, 40_000)).await), "0");
    let seen = engine.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].body == seen[1].body);
    assert!(!seen[1].headers.contains_key("grpc-previous-rpc-attempts"), "nobody has seen it");
    rig.until_free().await;
    // With another endpoint there is no way back to the first.
    let bad = told(move |_| refuse).await;
    let config = strict(&[bad.address, engine.address], 4, "") + &route("priority: 0");
    let rig = Rig::start(path, &config).await;
    for _ in 0..10 {
        assert_eq!(status(&rig.h2(call(&rig, 1)).await), "0");
    }
    assert_eq!(engine.calls(), 12);
    assert!(bad.calls() <= 10, "{}", bad.calls());
    rig.until_free().await;
    assert_eq!(rig.usage().failures, 0);
}

async fn an_engine_that_refuses_everything(path: Path) {
    let engine = told(|_| Say::Reset(Reason::REFUSED_STREAM)).await;
    let rig = Rig::start(path, &(strict(&[engine.address], 1, "") + &route("priority: 0"))).await;
    let answer = rig.h2(call(&rig, 1)).await;
    assert_eq!((status(&answer), why(&answer)), ("14", Some("engine_reset")));
    assert_eq!(engine.calls(), 4);
    rig.until_free().await;
}

async fn a_goaway_leaves_the_rest_to_another_connection(path: Path) {
    let engine = WireEngine::start().await;
    let rig = Rig::start(path, &(strict(&[engine.address()], 4, "") + &route("priority: 0"))).await;
    // Over one client connection, so that one worker serves both.
    let socket = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let first = send(&client, call(&rig, 5)).await;
    let mut old = engine.accept().await;
    let kept = old.request().await;
    let second = send(&client, call(&rig, 5)).await;
    let left_out = old.request().await;
    assert!(left_out > kept);
    old.goaway(kept).await;
    let mut new = engine.accept().await;
    let again = new.request().await;
    new.grpc(again, 0).await;
    assert_eq!(second.await.unwrap().headers()["grpc-status"], "0");
    // The call that the old connection has goes on there.
    old.grpc(kept, 5).await;
    assert_eq!(first.await.unwrap().headers()["grpc-status"], "5");
    rig.until_free().await;
    assert_eq!(rig.usage().failures, 0);
}

async fn send(
    client: &h2::client::SendRequest<Bytes>,
    request: http::Request<Bytes>,
) -> h2::client::ResponseFuture {
    let (head, body) = request.into_parts();
    let mut client = client.clone().ready().await.unwrap();
    let request = http::Request::from_parts(head, ());
    let (response, mut upload) = client.send_request(request, false).unwrap();
    upload.send_data(body, true).unwrap();
    response
}

async fn a_goaway_to_all_sends_the_call_to_the_other_endpoint(path: Path) {
    let (leaving, staying) = (WireEngine::start().await, told(|_| Say::Grpc(0)).await);
    // One slot each, and the other one is taken first: the call begins at the one that leaves.
    let config = strict(&[leaving.address()], 1, "") + &route("priority: 0");
    let rig = Rig::start(path, &config).await;
    let (answer, _wire) = tokio::join!(rig.h2(call(&rig, 5)), async {
        let mut wire = leaving.accept().await;
        wire.request().await;
        let both = strict(&[leaving.address(), staying.address], 1, "") + &route("priority: 0");
        rig.install(&both);
        wire.goaway(0).await;
        // Closed at once, with something of ours unread, it would take the GOAWAY back.
        wire
    });
    assert_eq!(status(&answer), "0");
    assert_eq!(staying.calls(), 1);
    rig.until_free().await;
}

async fn a_reset_is_tried_again_where_it_is_listed(path: Path) {
    let crash = |n| if n % 2 == 0 { Say::Reset(Reason::INTERNAL_ERROR) } else { Say::Grpc(0) };
    let engine = told(crash).await;
    let retry = "retry: {attempts: 1, on: [reset], budget: 100}";
    let rig = Rig::start(path, &(strict(&[engine.address], 1, "") + &route(retry))).await;
    assert_eq!(status(&rig.h2(call(&rig, 9)).await), "0");
    assert_eq!(engine.calls(), 2);
    let rig = Rig::start(path, &(strict(&[engine.address], 1, "") + &route("priority: 0"))).await;
    let answer = rig.h2(call(&rig, 9)).await;
    assert_eq!((status(&answer), why(&answer)), ("13", Some("engine_reset")));
    assert_eq!(engine.calls(), 3);
    rig.until_free().await;
}

async fn an_http_status_is_tried_again_where_it_is_listed(path: Path) {
    for protocol in ["h2c", "auto"] {
        let engine = told(|n| if n == 0 { Say::Http(503) } else { Say::Http(404) }).await;
        let settings = format!("protocol: {protocol}, pool: {{mode: strict, slots: 1}}");
        let retry = "retry: {attempts: 3, on: ['503'], budget: 100}";
        let rig = Rig::start(
            path,
            &(super::support::engine(&[engine.address], &settings) + &route(retry)),
        )
        .await;
        let mut request = call(&rig, 9);
        if protocol == "h2c" {
            request.headers_mut().remove("content-type");
        }
        let answer = rig.h2(request).await;
        assert_eq!(answer.head.status, 404, "{protocol}");
        assert_eq!(answer.body.unwrap(), "the engine's own words");
        assert_eq!(engine.calls(), 2, "{protocol}");
        rig.until_free().await;
    }
}

async fn a_call_that_was_not_seen_keeps_its_slot(path: Path) {
    // The line is always full: whoever gives the only slot back does not get it again.
    let refuse_once = |n| if n == 0 { Say::Reset(Reason::REFUSED_STREAM) } else { Say::Grpc(0) };
    let engine = told(refuse_once).await;
    let pool = ", queue: 1, queue_timeout: 20s";
    let rig = Rig::start(path, &(strict(&[engine.address], 1, pool) + &route("priority: 0"))).await;
    // A call in line takes its slot as soon as it is free.
    let calls = (0..2).map(|_| rig.h2(call(&rig, 2)));
    let answers = futures_util::future::join_all(calls).await;
    for answer in &answers {
        assert_eq!(status(answer), "0", "{answer:?}");
    }
    assert_eq!(engine.most_on_one(), 1);
    assert_eq!(engine.calls(), 3);
    rig.until_free().await;
}

async fn calls_are_split_by_percent(path: Path) {
    let (main, part) = (demo().await, demo().await);
    let other = engine(&[part.address], "").replace("name: e\n", "name: f\n");
    let config = engine(&[main.address], "")
        + "\n---\n"
        + &other
        + &route("split: [{engine: f, percent: 25}]");
    let rig = Rig::start(path, &config).await;
    for _ in 0..400 {
        rig.echo().ping(ping()).await.unwrap();
    }
    let (main, part) = (main.stats.read().calls, part.stats.read().calls);
    assert_eq!(main + part, 400);
    // 100 ± 7 standard deviations.
    assert!((40..=160).contains(&part), "{part}");
    let metrics = rig.metrics.render();
    let line = format!(r#"pigeon_calls_total{{code="OK",engine="f",route="r"}} {part}"#);
    assert!(metrics.contains(&line), "{metrics}");
}

#[tokio::test]
async fn an_http1_request_is_sent_again_with_its_body() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let retry = "retry: {attempts: 1, on: ['503'], budget: 100}";
    let rig = Rig::start(Path::Hyper, &(strict(&[address], 1, "") + &route(retry))).await;
    let request =
        "PUT /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody";
    let (answer, ()) = tokio::join!(rig.raw(request), async {
        let answers =
            ["503 No\r\ncontent-length: 0\r\n\r\n", "200 OK\r\ncontent-length: 2\r\n\r\nok"];
        let (mut socket, _) = listener.accept().await.unwrap();
        for answer in answers {
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\nbody") {
                seen.push(socket.read_u8().await.unwrap());
            }
            socket.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await.unwrap();
        }
    });
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    rig.until_free().await;
}
