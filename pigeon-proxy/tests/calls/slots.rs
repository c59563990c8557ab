//! Slots as clients and engines see them.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pigeon_proto::demo::v1::{Audio, Transcript};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::support::*;

on_both_paths! {
    forty_calls_over_four_slots_all_succeed_and_never_more_at_once,
    slots_hold_over_several_endpoints_and_many_cancelled_calls,
    waiting_ends_with_saturated_and_a_hint,
    a_full_line_refuses_at_once,
    a_waiter_that_goes_away_leaves_at_once,
    waiting_counts_against_the_calls_own_deadline,
    a_request_that_ends_while_it_waits_is_ended_at_the_engine,
    loose_grows_to_its_factor_and_then_waits,
    off_counts_and_never_limits,
    a_slot_rests_after_we_broke_its_call_off,
    waiters_are_served_first_come_first_served,
}

/// `n` pings at once, each kept by the engine for `ms`.
async fn pings(rig: &Rig, n: usize, ms: &str) -> Vec<Result<(), Status>> {
    let calls = (0..n).map(|_| {
        let mut client = rig.echo();
        let request = with(ping(), &[("demo-delay-ms", ms)]);
        async move { client.ping(request).await.map(|_| ()) }
    });
    join_all(calls).await
}

/// A stream that occupies one slot until both halves are dropped.
type Held = (tokio::sync::mpsc::Sender<Audio>, Streaming<Transcript>);

async fn occupy(rig: &Rig) -> Held {
    let (send, audio) = upload();
    let mut answers = rig.speech().recognize(audio).await.unwrap().into_inner();
    send.send(chunk(b"x")).await.unwrap();
    answers.message().await.unwrap();
    (send, answers)
}

async fn forty_calls_over_four_slots_all_succeed_and_never_more_at_once(path: Path) {
    let demo = demo().await;
    let rig =
        Rig::start(path, &(strict(&[demo.address], 4, ", queue: 64, queue_timeout: 20s") + ROUTES))
            .await;
    let results = pings(&rig, 40, "5").await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let stats = demo.stats.read();
    assert_eq!(stats.calls, 40);
    assert!(stats.max_concurrent_seen <= 4, "{stats:?}");
    rig.until_free().await;
    assert_eq!(rig.usage().calls, 40);
    let metrics = rig.metrics.render();
    assert!(metrics.contains(r#"pigeon_queue_wait_seconds_count{engine="e",route="echo"}"#));
    assert!(metrics.contains("pigeon_slots{endpoint="), "{metrics}");
}

async fn slots_hold_over_several_endpoints_and_many_cancelled_calls(path: Path) {
    let (one, two) = (demo().await, demo().await);
    let pool = ", queue: 64, queue_timeout: 20s, cancel_cooldown: 50ms";
    let rig = Rig::start(path, &(strict(&[one.address, two.address], 2, pool) + ROUTES)).await;
    let calls = (0..60_u64).map(|i| {
        let mut client = rig.echo();
        let request = with(ping(), &[("demo-delay-ms", "10")]);
        let limit = if i % 3 == 0 { Duration::from_millis(i) } else { FOR_EVER };
        async move { tokio::time::timeout(limit, client.ping(request)).await.map(|r| r.map(|_| ())) }
    });
    let results = join_all(calls).await;
    for result in results.iter().flatten() {
        assert!(result.is_ok(), "{result:?}");
    }
    for demo in [&one, &two] {
        assert!(demo.stats.read().max_concurrent_seen <= 2, "{:?}", demo.stats.read());
    }
    rig.until_free().await;
}

async fn waiting_ends_with_saturated_and_a_hint(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(
        path,
        &(strict(&[demo.address], 1, ", queue: 9, queue_timeout: 100ms") + ROUTES),
    )
    .await;
    let held = occupy(&rig).await;
    let began = Instant::now();
    let status = rig.echo().ping(ping()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::ResourceExhausted, Some("saturated")));
    assert!(began.elapsed() >= Duration::from_millis(100));
    let retry = status.get_error_details().retry_info().unwrap().retry_delay.unwrap();
    assert!((Duration::from_millis(100)..=Duration::from_secs(30)).contains(&retry), "{retry:?}");
    drop(held);
    rig.until_free().await;
    assert!(rig.echo().ping(ping()).await.is_ok());
    assert_eq!(demo.stats.read().calls, 2, "the saturated call never reached the engine");
}

async fn a_full_line_refuses_at_once(path: Path) {
    let demo = demo().await;
    let rig =
        Rig::start(path, &(strict(&[demo.address], 1, ", queue: 1, queue_timeout: 60s") + ROUTES))
            .await;
    let held = occupy(&rig).await;
    let mut client = rig.echo();
    let waiter = tokio::spawn(async move { client.ping(ping()).await });
    rig.until(|u| u.waiting == 1).await;
    let status = rig.echo().ping(ping()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::ResourceExhausted, Some("saturated")));
    // And as HTTP.
    let answer = rig.raw("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: "), "{answer}");
    drop(held);
    assert!(waiter.await.unwrap().is_ok());
    rig.until_free().await;
}

async fn a_waiter_that_goes_away_leaves_at_once(path: Path) {
    let demo = demo().await;
    let rig =
        Rig::start(path, &(strict(&[demo.address], 1, ", queue: 1, queue_timeout: 60s") + ROUTES))
            .await;
    let _held = occupy(&rig).await;
    for _ in 0..3 {
        let mut client = rig.echo();
        let waiter = tokio::spawn(async move { client.ping(ping()).await });
        rig.until(|u| u.waiting == 1).await;
        waiter.abort();
        rig.until(|u| u.waiting == 0).await;
    }
    // Over HTTP/1.1 the connection says that the client is gone.
    let mut socket = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    let request = b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut socket, request).await.unwrap();
    rig.until(|u| u.waiting == 1).await;
    drop(socket);
    rig.until(|u| u.waiting == 0).await;
    assert_eq!(demo.stats.read().calls, 1);
}

/// Nothing but the end of the request is kept for the engine, and must get there.
async fn a_request_that_ends_while_it_waits_is_ended_at_the_engine(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 1, ", queue: 5") + ROUTES)).await;
    let (send, audio) = upload();
    let mut first = rig.speech().recognize(audio).await.unwrap().into_inner();
    let (none, empty) = upload();
    drop(none);
    let mut speech = rig.speech();
    let waiting = tokio::spawn(async move { speech.recognize(empty).await });
    rig.until(|u| u.waiting == 1).await;
    drop(send);
    while first.message().await.unwrap().is_some() {}
    let ended = async {
        let mut answers = waiting.await.unwrap().unwrap().into_inner();
        while answers.message().await.unwrap().is_some() {}
    };
    tokio::time::timeout(FOR_EVER, ended).await.expect("the engine waits for the end");
    rig.until_free().await;
}

async fn waiting_counts_against_the_calls_own_deadline(path: Path) {
    let demo = demo().await;
    let route = "\n---\nkind: route\nname: slow\nspec: {match: {path: /hello}, engine: e, timeout: 100ms}\n";
    let config = strict(&[demo.address], 1, ", queue: 9, queue_timeout: 60s") + ROUTES + route;
    let rig = Rig::start(path, &config).await;
    let _held = occupy(&rig).await;
    let answer = rig.raw("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.contains("pigeon-reason: deadline"), "{answer}");
    rig.until(|u| u.waiting == 0).await;
}

async fn loose_grows_to_its_factor_and_then_waits(path: Path) {
    let demo = demo().await;
    let pool = "pool: {mode: loose, slots: 1, loose_factor: 3, queue: 9, queue_timeout: 20s}";
    let rig = Rig::start(path, &(engine(&[demo.address], pool) + ROUTES)).await;
    let results = pings(&rig, 9, "50").await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(demo.stats.read().max_concurrent_seen, 3);
    rig.until_free().await;
}

async fn off_counts_and_never_limits(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + ROUTES)).await;
    let results = pings(&rig, 50, "200").await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(demo.stats.read().max_concurrent_seen > 20);
    rig.until_free().await;
    assert_eq!(rig.usage().endpoints[0].slots, None);
}

async fn a_slot_rests_after_we_broke_its_call_off(path: Path) {
    let demo = demo().await;
    let pool = ", queue: 9, queue_timeout: 20s, cancel_cooldown: 400ms";
    let rig = Rig::start(path, &(strict(&[demo.address], 1, pool) + ROUTES)).await;
    let mut client = rig.echo();
    let call =
        tokio::spawn(async move { client.ping(with(ping(), &[("demo-delay-ms", "60000")])).await });
    demo.until(|s| s.concurrent_now == 1).await;
    let began = Instant::now();
    call.abort();
    demo.until(|s| s.cancelled == 1).await;
    rig.echo().ping(ping()).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    rig.until_free().await;
}

async fn waiters_are_served_first_come_first_served(path: Path) {
    let demo = demo().await;
    let rig =
        Rig::start(path, &(strict(&[demo.address], 1, ", queue: 99, queue_timeout: 20s") + ROUTES))
            .await;
    let held = occupy(&rig).await;
    let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
    for i in 0..10 {
        let (mut client, done) = (rig.echo(), done.clone());
        tokio::spawn(async move {
            client.ping(ping()).await.unwrap();
            done.send(i).unwrap();
        });
        rig.until(|u| u.waiting == i + 1).await;
    }
    drop((held, done));
    let mut seen = Vec::new();
    while let Some(i) = order.recv().await {
        seen.push(i);
    }
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
}
