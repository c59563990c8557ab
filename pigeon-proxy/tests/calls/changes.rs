//! Changes of the configuration under running calls, and the end.

use std::time::Duration;

use pigeon_proxy::listen::GRACE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use super::support::*;

on_both_paths! {
    a_configuration_installed_during_200_streams_disturbs_none,
    an_endpoint_removed_under_a_stream,
    waiters_of_a_removed_engine_are_told_and_new_slots_wake_waiters,
    without_a_configuration_and_while_draining_calls_are_told,
    draining_lets_calls_end_and_takes_no_connections,
    draining_cuts_what_is_left_at_its_limit,
    listeners_follow_the_configuration,
    an_engine_that_stops_properly_loses_no_call,
    draining_ends_http1_connections_after_their_call,
}

async fn a_configuration_installed_during_200_streams_disturbs_none(path: Path) {
    let demo = demo().await;
    let config = strict(&[demo.address], 500, ", queue: 9") + ROUTES;
    let mut rig = Rig::start(path, &config).await;
    let mut streams = Vec::new();
    for _ in 0..200 {
        let (send, audio) = upload();
        let answers = rig.speech().recognize(audio).await.unwrap().into_inner();
        streams.push((send, answers));
    }
    for round in 1..=5_u64 {
        let more = format!(
            "\n---\nkind: route\nname: more-{round}\nspec: {{match: {{path: /more-{round}}}, engine: e}}\n"
        );
        let config = config.clone() + &more;
        rig.install(&config);
        assert_eq!(rig.listeners.as_mut().unwrap().reconcile(&snapshot(&config)), []);
        assert_eq!(rig.in_use(), 200);
        for (send, answers) in &mut streams {
            send.send(chunk(b"x")).await.unwrap();
            assert_eq!(answers.message().await.unwrap().unwrap().heard, round);
        }
    }
    for (send, mut answers) in streams {
        drop(send);
        assert!(answers.message().await.unwrap().unwrap().r#final);
        assert_eq!(answers.message().await.unwrap(), None);
    }
    rig.until_free().await;
    assert_eq!((rig.usage().calls, rig.usage().failures), (200, 0));
}

async fn an_endpoint_removed_under_a_stream(path: Path) {
    let (old, new) = (demo().await, demo().await);
    let rig = Rig::start(path, &(strict(&[old.address], 1, ", queue: 9") + ROUTES)).await;
    let (send, audio) = upload();
    let mut answers = rig.speech().recognize(audio).await.unwrap().into_inner();
    rig.install(&(strict(&[new.address], 1, ", queue: 9") + ROUTES));
    for _ in 0..5 {
        rig.echo().ping(ping()).await.unwrap();
    }
    assert_eq!((old.stats.read().calls, new.stats.read().calls), (1, 5));
    send.send(chunk(b"x")).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().heard, 1);
    // Back again, while the stream from before still holds its slot: the other is used.
    rig.install(&(strict(&[old.address, new.address], 1, ", queue: 9") + ROUTES));
    assert_eq!(rig.in_use(), 1);
    rig.echo().ping(ping()).await.unwrap();
    assert_eq!((old.stats.read().calls, new.stats.read().calls), (1, 6));
    drop(send);
    assert!(answers.message().await.unwrap().unwrap().r#final);
    assert_eq!(answers.message().await.unwrap(), None);
    rig.until_free().await;
}

async fn waiters_of_a_removed_engine_are_told_and_new_slots_wake_waiters(path: Path) {
    let demo = demo().await;
    let line = ", queue: 9, queue_timeout: 60s";
    let rig = Rig::start(path, &(strict(&[demo.address], 1, line) + ROUTES)).await;
    let (_send, audio) = upload();
    let _answers = rig.speech().recognize(audio).await.unwrap();
    let mut client = rig.echo();
    let waiter = tokio::spawn(async move { client.ping(ping()).await });
    rig.until(|u| u.waiting == 1).await;
    rig.install(&(strict(&[demo.address], 2, line) + ROUTES));
    waiter.await.unwrap().unwrap();
    rig.install(&(strict(&[demo.address], 1, line) + ROUTES));
    let mut client = rig.echo();
    let waiter = tokio::spawn(async move { client.ping(ping()).await });
    rig.until(|u| u.waiting == 1).await;
    rig.gateway.install(&snapshot(""));
    let status = waiter.await.unwrap().unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::Unavailable, Some("no_endpoint")));
}

async fn without_a_configuration_and_while_draining_calls_are_told(path: Path) {
    let demo = demo().await;
    let config = strict(&[demo.address], 1, "") + ROUTES;
    let rig = Rig::bare(path, &config).await;
    assert!(!rig.gateway.has_config());
    let status = rig.echo().ping(ping()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::Unavailable, Some("no_config")));
    rig.install(&config);
    assert!(rig.gateway.has_config());
    rig.echo().ping(ping()).await.unwrap();
    rig.gateway.set_draining();
    let answer = rig.raw("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("pigeon-reason: draining"),
        "{answer}"
    );
}

async fn draining_lets_calls_end_and_takes_no_connections(path: Path) {
    let demo = demo().await;
    let mut rig = Rig::start(path, &(strict(&[demo.address], 4, "") + ROUTES)).await;
    let (send, audio) = upload();
    let mut answers = rig.speech().recognize(audio).await.unwrap().into_inner();
    let drain = tokio::spawn(rig.listeners.take().unwrap().drain(Duration::from_secs(60), GRACE));
    refused(&rig).await;
    assert!(!drain.is_finished());
    for heard in 1..=3 {
        send.send(chunk(b"x")).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().heard, heard);
    }
    drop(send);
    assert!(answers.message().await.unwrap().unwrap().r#final);
    assert_eq!(answers.message().await.unwrap(), None);
    tokio::time::timeout(FOR_EVER, drain).await.unwrap().unwrap();
    assert_eq!((rig.gateway.calls_open(), rig.in_use()), (0, 0));
}

async fn draining_cuts_what_is_left_at_its_limit(path: Path) {
    let demo = demo().await;
    let mut rig = Rig::start(path, &(strict(&[demo.address], 4, "") + ROUTES)).await;
    let (send, audio) = upload();
    let mut answers = rig.speech().recognize(audio).await.unwrap().into_inner();
    rig.listeners.take().unwrap().drain(Duration::from_millis(100), GRACE).await;
    assert!(answers.message().await.is_err());
    demo.until(|s| s.concurrent_now == 0).await;
    assert_eq!((rig.gateway.calls_open(), rig.in_use()), (0, 0));
    drop(send);
}

/// Waits until nobody listens any more.
async fn refused(rig: &Rig) {
    let waited = tokio::time::timeout(FOR_EVER, async {
        while tokio::net::TcpStream::connect(rig.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap();
}

const TWO: &str = "
---
kind: listener
name: default
spec: {address: '127.0.0.1:1'}
---
kind: listener
name: second
spec: {address: 'ADDRESS'}
";

async fn listeners_follow_the_configuration(path: Path) {
    let demo = demo().await;
    let base = engine(&[demo.address], "") + ROUTES;
    let mut rig = Rig::start(path, &base).await;
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken_address = taken.local_addr().unwrap();
    let with = |address: std::net::SocketAddr| {
        snapshot(&(base.clone() + &TWO.replace("ADDRESS", &address.to_string())))
    };
    let listeners = rig.listeners.as_mut().unwrap();
    let errors = listeners.reconcile(&with(taken_address));
    assert_eq!(errors[0].name.as_str(), "second");
    assert!(errors[0].message.contains("in use by another process"), "{errors:?}");
    assert_eq!(listeners.bound().len(), 1);
    drop(taken);
    assert_eq!(listeners.reconcile(&with(taken_address)), []);
    assert_eq!(listeners.bound()[&"second".parse().unwrap()], taken_address);
    // It cannot move where somebody else is, so it stays.
    let other = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    assert_eq!(listeners.reconcile(&with(other.local_addr().unwrap())).len(), 1);
    assert_eq!(listeners.bound()[&"second".parse().unwrap()], taken_address);
    // Nor to where another of this proxy is: both would accept.
    let errors = listeners.reconcile(&with(rig.address));
    assert!(errors[0].message.contains("listener \"default\""), "{errors:?}");
    assert_eq!(listeners.bound()[&"second".parse().unwrap()], taken_address);
    // The first keeps the port that port 0 led to.
    assert_eq!(listeners.bound()[&"default".parse().unwrap()], rig.address);
    assert_eq!(listeners.reconcile(&snapshot(&base)), []);
    assert_eq!(listeners.bound().len(), 1);
    rig.echo().ping(ping()).await.unwrap();
}

async fn an_engine_that_stops_properly_loses_no_call(path: Path) {
    let (stay, leave) = (demo().await, demo_until_told().await);
    let rig = Rig::start(path, &(strict(&[stay.address, leave.0.address], 50, "") + ROUTES)).await;
    for round in 0..300 {
        if round == 100 {
            let (leave, stop) = (&leave.0, leave.1.clone());
            assert!(leave.stats.read().calls > 0);
            stop.notify_one();
        }
        rig.echo().ping(ping()).await.unwrap();
        let hello = rig.raw("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(hello.starts_with("HTTP/1.1 200 "), "{round}: {hello}");
    }
    rig.until_free().await;
    assert_eq!(rig.usage().failures, 0);
}

async fn draining_ends_http1_connections_after_their_call(path: Path) {
    let demo = demo().await;
    let route = "\n---\nkind: route\nname: slow\nspec: {match: {path: /echo}, engine: e}\n";
    let mut rig = Rig::start(path, &(strict(&[demo.address], 4, "") + ROUTES + route)).await;
    let mut idle = TcpStream::connect(rig.address).await.unwrap();
    idle.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut busy = TcpStream::connect(rig.address).await.unwrap();
    let head = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab";
    busy.write_all(head).await.unwrap();
    rig.until(|u| u.calls == 1 && u.endpoints[0].in_use == 1).await;
    let drain = tokio::spawn(rig.listeners.take().unwrap().drain(Duration::from_secs(60), GRACE));
    let mut answer = String::new();
    idle.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("hello from"), "{answer}");
    busy.write_all(b"cd").await.unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("cd"), "{answer}");
    tokio::time::timeout(FOR_EVER, drain).await.unwrap().unwrap();
}
