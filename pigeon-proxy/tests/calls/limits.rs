//! Limits of routes as clients see them.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::support::*;

on_both_paths! {
    beyond_the_burst_calls_are_told_when_to_come_again,
    a_call_that_is_refused_costs_nothing_and_reaches_nobody,
    what_was_taken_is_known_after_a_change,
    a_source_has_so_many_calls_at_once_over_all_its_connections,
    a_source_has_so_many_connections_and_others_have_theirs,
}

fn routes(limits: &str) -> String {
    let limited = ROUTES.replace("engine: e}", &format!("engine: e, limits: [{limits}]}}"));
    assert_ne!(limited, ROUTES);
    limited
}

fn get() -> http::Request<Bytes> {
    http::Request::get("http://x/hello").body(Bytes::new()).unwrap()
}

async fn beyond_the_burst_calls_are_told_when_to_come_again(path: Path) {
    let demo = demo().await;
    let text = engine(&[demo.address], "") + &routes("{rate: 1/h, burst: 2}");
    let rig = Rig::start(path, &text).await;
    for _ in 0..2 {
        assert!(rig.echo().ping(ping()).await.is_ok());
    }
    let status = rig.echo().ping(ping()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::ResourceExhausted, Some("rate_limited")));
    let retry = status.get_error_details().retry_info().unwrap().retry_delay.unwrap();
    let hour = Duration::from_secs(3_600);
    assert!(retry > hour - FOR_EVER && retry <= hour, "{retry:?}");
    // The route of plain HTTP has a bucket of its own, whatever its calls come by.
    assert_eq!(rig.h2(get()).await.head.status, 200);
    let request = "GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(rig.raw(request).await.starts_with("HTTP/1.1 200 "));
    let answer = rig.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(answer.contains("pigeon-reason: rate_limited"), "{answer}");
    let seconds = answer.split_once("retry-after: ").unwrap().1.split_once('\r').unwrap().0;
    assert!((3_580..=3_600).contains(&seconds.parse::<u32>().unwrap()), "{answer}");
    let answer = rig.h2(get()).await;
    assert_eq!(answer.head.status, 429);
    assert_eq!(answer.head.headers["retry-after"].to_str().unwrap().len(), 4);
    let metrics = rig.metrics.render();
    let counted = r#"pigeon_rejections_total{engine="e",reason="rate_limited",route="http"} 2"#;
    assert!(metrics.contains(counted), "{metrics}");
}

async fn a_call_that_is_refused_costs_nothing_and_reaches_nobody(path: Path) {
    let demo = demo().await;
    let limits = "{rate: 1/h, burst: 3}, {rate: 1/h, burst: 1, per: source}";
    let rig = Rig::start(path, &(engine(&[demo.address], "") + &routes(limits))).await;
    assert!(rig.echo().ping(ping()).await.is_ok());
    for _ in 0..5 {
        assert_eq!(rig.echo().ping(ping()).await.unwrap_err().code(), Code::ResourceExhausted);
    }
    assert_eq!(demo.stats.read().calls, 1);
    // Two of three tokens of the route are left: only the source is out of them.
    rig.install(&(engine(&[demo.address], "") + &routes("{rate: 1/h, burst: 3}")));
    for left in [true, true, false] {
        assert_eq!(rig.echo().ping(ping()).await.is_ok(), left);
    }
    rig.until_free().await;
}

async fn what_was_taken_is_known_after_a_change(path: Path) {
    let demo = demo().await;
    let with = |limits: &str, more: &str| engine(&[demo.address], more) + &routes(limits);
    let rig = Rig::start(path, &with("{rate: 1/h}", "")).await;
    assert!(rig.echo().ping(ping()).await.is_ok());
    // Something else changes.
    rig.install(&with("{rate: 1/h}", "balance: random"));
    assert!(rig.echo().ping(ping()).await.is_err());
    // Nobody has to wait for the hour of a limit that is no more.
    rig.install(&with("{rate: 1000/s, burst: 1}", ""));
    let again = async { while rig.echo().ping(ping()).await.is_err() {} };
    tokio::time::timeout(FOR_EVER, again).await.unwrap();
    rig.install(&with("", ""));
    for _ in 0..5 {
        assert!(rig.echo().ping(ping()).await.is_ok());
    }
}

fn listener(limits: &str) -> String {
    format!("\n---\nkind: listener\nname: default\nspec: {{address: '127.0.0.1:1', {limits}}}\n")
}

/// Connects from another address of this machine.
async fn connect(rig: &Rig, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(rig.address).await.unwrap()
}

/// Asks once, on a connection of its own; nothing if it is closed without an answer.
async fn ask(mut socket: TcpStream) -> String {
    let request = b"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut answer = String::new();
    // One that is closed at once may be reset.
    let _ = socket.write_all(request).await;
    let _ = socket.read_to_string(&mut answer).await;
    answer
}

async fn a_source_has_so_many_calls_at_once_over_all_its_connections(path: Path) {
    let demo = demo().await;
    let text = engine(&[demo.address], "") + ROUTES + &listener("max_streams_per_source: 2");
    let rig = Rig::start(path, &text).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let (send, audio) = upload();
        let mut answers = rig.speech().recognize(audio).await.unwrap().into_inner();
        send.send(chunk(b"x")).await.unwrap();
        answers.message().await.unwrap();
        held.push((send, answers));
    }
    // By each kind of call, on the connection there is and on new ones.
    for _ in 0..3 {
        let status = rig.echo().ping(ping()).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::ResourceExhausted, Some("rate_limited"))
        );
        assert!(status.message().contains("at once"), "{status:?}");
        assert_eq!(rig.h2(get()).await.head.status, 429);
    }
    let answer = ask(connect(&rig, [127, 0, 0, 1]).await).await;
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: 1"), "{answer}");
    let answer = ask(connect(&rig, [127, 0, 0, 2]).await).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "another source: {answer}");
    // What was refused has taken nothing: one that ends makes room for one, again and again.
    held.pop();
    for _ in 0..3 {
        let again = async { while rig.echo().ping(ping()).await.is_err() {} };
        tokio::time::timeout(FOR_EVER, again).await.unwrap();
    }
    let again = async { while rig.h2(get()).await.head.status != 200 {} };
    tokio::time::timeout(FOR_EVER, again).await.unwrap();
    drop(held);
    rig.until_free().await;
}

async fn a_source_has_so_many_connections_and_others_have_theirs(path: Path) {
    let demo = demo().await;
    let with = |limits: &str| engine(&[demo.address], "") + ROUTES + &listener(limits);
    let mut rig = Rig::start(path, &with("max_connections_per_source: 2")).await;
    let (one, _two) = (connect(&rig, [127, 0, 0, 3]).await, connect(&rig, [127, 0, 0, 3]).await);
    let metrics = || rig.metrics.render();
    eventually(|| metrics().contains(r#"pigeon_connections{listener="default"} 2"#)).await;
    let answer = ask(connect(&rig, [127, 0, 0, 3]).await).await;
    assert_eq!(answer, "", "the third is closed");
    let refused = r#"pigeon_connections_refused_total{listener="default",reason="source"} 1"#;
    eventually(|| metrics().contains(refused)).await;
    let answer = ask(connect(&rig, [127, 0, 0, 4]).await).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "another source: {answer}");
    // One goes, one may come.
    drop(one);
    let again = async { while ask(connect(&rig, [127, 0, 0, 3]).await).await.is_empty() {} };
    tokio::time::timeout(FOR_EVER, again).await.unwrap();
    // Without the limit, those that were counted go as they came.
    let without = snapshot(&with("max_connections: 100"));
    assert_eq!(rig.listeners.as_mut().unwrap().reconcile(&without), []);
    let answer = ask(connect(&rig, [127, 0, 0, 3]).await).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
