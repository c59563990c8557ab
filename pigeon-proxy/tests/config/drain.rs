//! Calls before there is a configuration, and calls at the end.

use std::time::Duration;

use pigeon_proto::v1::{Usage, config_up};
use tokio::net::TcpStream;

use crate::fake_admin::{FakeAdmin, LIMIT, state};
use crate::held_engine::HeldEngine;
use crate::proxy::{Home, Running, exchange, file, get};

#[tokio::test]
async fn the_first_start_answers_no_config_until_there_is_one() {
    let (mut admin, home) = (FakeAdmin::start().await, Home::new());
    let proxy = Running::start(home.config(admin.address)).await;
    let at = proxy.listener("default").await;
    let answer = exchange(at, "/x").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.to_lowercase().contains("pigeon-reason: no_config"), "{answer}");
    let mut session = admin.session().await;
    let text = "kind: listener\nname: default\nspec: {address: '127.0.0.1:8080'}\n";
    session.snapshot(&state(3, text)).await;
    session.ack(3).await;
    // On the same port: it has not moved.
    assert_eq!(get(at, "/x").await.0, 404);
    proxy.stop().await;
}

#[tokio::test]
async fn what_is_in_use_is_told() {
    let (mut admin, home) = (FakeAdmin::start().await, Home::new());
    let engine = HeldEngine::start().await;
    let proxy = Running::start(home.config(admin.address)).await;
    let mut session = admin.session().await;
    session.snapshot(&state(3, &engine.documents())).await;
    session.ack(3).await;
    let client = tokio::spawn(get(proxy.listener("default").await, "/x"));
    let call = engine.call().await;
    let in_use = |n: u32| {
        move |m| match m {
            config_up::M::Usage(u) if u.endpoints.iter().any(|e| e.in_use == n) => Some(u),
            _ => None,
        }
    };
    let usage: Usage = session.up(in_use(1)).await;
    let e = &usage.endpoints[0];
    assert_eq!((e.engine.as_str(), e.address.clone()), ("e", engine.address.to_string()));
    call.answer().await;
    assert_eq!(client.await.expect("answered"), (200, "done".into()));
    let usage = session.up(in_use(0)).await;
    assert_eq!((usage.engines[0].calls, usage.engines[0].failures), (1, 0));
    proxy.stop().await;
}

#[tokio::test]
async fn running_calls_end_and_new_ones_find_no_door() {
    let (engine, folder) = (HeldEngine::start().await, tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("pigeon.yaml");
    std::fs::write(&path, engine.documents()).expect("written");
    let mut proxy = Running::start(file(&path)).await;
    let at = proxy.listener("default").await;
    let client = tokio::spawn(get(at, "/x"));
    let call = engine.call().await;
    assert_eq!(proxy.get("/readyz").await.0, 200);
    proxy.tell_to_stop();
    // The door closes; until then a connection is taken and closed again.
    let closed = async { while TcpStream::connect(at).await.is_ok() {} };
    tokio::time::timeout(LIMIT, closed).await.expect("it closes");
    let (code, body) = proxy.get("/readyz").await;
    assert_eq!(code, 503);
    assert!(body.contains(r#""reason":"draining""#), "{body}");
    let state = proxy.json("/state").await;
    assert_eq!((&state["draining"], &state["calls_open"]), (&true.into(), &1.into()));
    call.answer().await;
    assert_eq!(client.await.expect("answered"), (200, "done".into()));
    proxy.stop().await;
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut() {
    let (engine, folder) = (HeldEngine::start().await, tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("pigeon.yaml");
    std::fs::write(&path, engine.documents()).expect("written");
    let mut config = file(&path);
    config.drain_timeout = Duration::from_millis(50);
    let proxy = Running::start(config).await;
    let client = tokio::spawn(exchange(proxy.listener("default").await, "/x"));
    let call = engine.call().await;
    proxy.stop().await;
    let answer = client.await.expect("ended");
    assert!(!answer.contains("done"), "{answer}");
    drop(call);
}
