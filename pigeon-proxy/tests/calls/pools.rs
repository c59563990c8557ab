//! What the settings of a pool do to connections, as engines see them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tonic::Code;

use super::support::*;
use super::told::{Say, Told, told};
use super::wire::{Frame, PING, SETTINGS, WINDOW_UPDATE, Wire, WireEngine};

on_both_paths! {
    exclusive_connections_carry_one_call_at_a_time,
    a_full_connection_is_followed_by_another,
    a_connection_takes_no_more_calls_than_max_requests,
    connections_are_replaced_under_load_without_a_failed_call,
    warm_connections_are_open_before_any_call_and_closed_when_they_are_not_wanted,
    an_engine_that_answers_no_pings_is_given_up,
    without_keepalive_there_are_no_pings,
    calls_end_at_a_removed_endpoint_after_its_drain_timeout,
    messages_that_are_too_long_end_the_call,
    uploads_that_are_cut_short_leave_the_clients_windows_open,
}

const ROUTE: &str = "\n---\nkind: route\nname: r\nspec: {match: {}, engine: e}\n";

async fn rig(path: Path, engine: &Told, pool: &str) -> Rig {
    let settings = format!("pool: {{mode: strict, slots: 100, {pool}}}");
    Rig::start(path, &(super::support::engine(&[engine.address], &settings) + ROUTE)).await
}

/// All from one connection, so that one worker serves them.
async fn calls(rig: &Rig, n: usize) -> Vec<Result<(), tonic::Status>> {
    join_all((0..n).map(|_| {
        let mut client = rig.echo();
        async move { client.ping(ping()).await.map(|_| ()) }
    }))
    .await
}

/// A message that a `PingReply` can be read from.
const EMPTY: Say = Say::Message(0, 0);

async fn exclusive_connections_carry_one_call_at_a_time(path: Path) {
    let demo = demo().await;
    let settings =
        "pool: {mode: strict, slots: 6, queue: 99, queue_timeout: 20s, reuse: exclusive}";
    let rig = Rig::start(path, &(engine(&[demo.address], settings) + ROUTE)).await;
    let slow = join_all((0..6).map(|_| {
        let mut client = rig.echo();
        async move { client.ping(with(ping(), &[("demo-delay-ms", "50")])).await }
    }));
    assert!(slow.await.iter().all(Result::is_ok));
    rig.until_free().await;
    // Now by an engine that counts.
    let engine = told(|_| EMPTY).await;
    let rig = self::rig(path, &engine, "reuse: exclusive").await;
    assert!(calls(&rig, 30).await.iter().all(Result::is_ok));
    assert_eq!(engine.most_on_one(), 1);
    let opened = engine.opened();
    assert!((1..=30).contains(&opened));
    // Idle ones are kept for the next call.
    for _ in 0..10 {
        assert!(calls(&rig, 1).await[0].is_ok());
    }
    assert_eq!(engine.opened(), opened);
    rig.until_free().await;
}

async fn a_full_connection_is_followed_by_another(path: Path) {
    let engine = told(|_| Say::Hang).await;
    let rig = rig(path, &engine, "max_streams_per_connection: 2, cancel_cooldown: 0ms").await;
    let held = join_all((0..6).map(|_| rig.h2_unread(request(&rig)))).await;
    eventually(|| engine.now() == 6).await;
    assert_eq!(engine.most_on_one(), 2);
    // On each worker one connection may have room left.
    assert!((3..=4).contains(&engine.opened()), "{}", engine.opened());
    drop(held);
    rig.until_free().await;
}

fn request(rig: &Rig) -> http::Request<Bytes> {
    http::Request::post(format!("http://{}/a.B/C", rig.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Bytes::from_static(&[0; 5]))
        .unwrap()
}

async fn a_connection_takes_no_more_calls_than_max_requests(path: Path) {
    let engine = told(|_| EMPTY).await;
    let rig = rig(path, &engine, "max_requests: 3").await;
    for _ in 0..12 {
        assert!(calls(&rig, 1).await[0].is_ok());
    }
    let seen = engine.seen();
    for connection in 0..4 {
        assert_eq!(seen.iter().filter(|s| s.connection == connection).count(), 3);
    }
    assert_eq!(engine.opened(), 4);
    // Also when many calls wait for a connection at once.
    assert!(calls(&rig, 30).await.iter().all(Result::is_ok));
    let seen = engine.seen();
    for connection in 0..engine.opened() {
        assert!(seen.iter().filter(|s| s.connection == connection).count() <= 3);
    }
    // Those that have taken all their calls are closed.
    eventually(|| engine.open() <= 1).await;
    rig.until_free().await;
}

async fn connections_are_replaced_under_load_without_a_failed_call(path: Path) {
    let engine = told(|_| EMPTY).await;
    let rig = rig(path, &engine, "max_lifetime: 1s").await;
    // One stream lives through it all: connections are drained, never cut.
    let demo = demo().await;
    let long = Rig::start(
        path,
        &(super::support::engine(&[demo.address], "pool: {max_lifetime: 1s}") + ROUTES),
    )
    .await;
    let (send, audio) = upload();
    let mut answers = long.speech().recognize(audio).await.unwrap().into_inner();
    let mut said = 0;
    while engine.opened() < 3 {
        assert!(calls(&rig, 4).await.iter().all(Result::is_ok));
        send.send(chunk(b"x")).await.unwrap();
        said += 1;
        assert_eq!(answers.message().await.unwrap().unwrap().heard, said);
    }
    drop(send);
    assert!(answers.message().await.unwrap().unwrap().r#final);
    rig.until_free().await;
    assert_eq!(rig.usage().failures, 0);
    eventually(|| engine.open() <= 1).await;
}

async fn warm_connections_are_open_before_any_call_and_closed_when_they_are_not_wanted(path: Path) {
    let engine = told(|_| EMPTY).await;
    let settings = "protocol: h2c, pool: {warm: 2, idle_timeout: 100ms}";
    let config = super::support::engine(&[engine.address], settings) + ROUTE;
    let rig = Rig::start(path, &config).await;
    // Two on each of two workers, and they stay although they are idle.
    eventually(|| engine.open() == 4).await;
    assert!(calls(&rig, 1).await[0].is_ok());
    assert_eq!((engine.opened(), engine.calls()), (4, 1));
    rig.install(&config.replace("warm: 2", "warm: 0"));
    eventually(|| engine.open() == 0).await;
    assert_eq!(engine.opened(), 4);
    rig.until_free().await;
}

async fn an_engine_that_answers_no_pings_is_given_up(path: Path) {
    let engine = WireEngine::start().await;
    let pool = ", keepalive_time: 1s, keepalive_timeout: 100ms";
    let rig = Rig::start(path, &(strict(&[engine.address()], 1, pool) + ROUTE)).await;
    let (answer, pings) = tokio::join!(rig.h2(request(&rig)), async {
        let mut wire = engine.accept().await;
        wire.answers_pings = false;
        let mut pings = 0;
        while let Some(frame) = wire.frame().await {
            pings += usize::from(frame.kind == PING);
        }
        pings
    });
    assert!(pings >= 1);
    let head = &answer.head.headers;
    assert_eq!(
        (&head["grpc-status"], &head["pigeon-reason"]),
        (&"14".parse().unwrap(), &"engine_reset".parse().unwrap())
    );
    rig.until_free().await;
}

async fn without_keepalive_there_are_no_pings(path: Path) {
    let engine = WireEngine::start().await;
    let route = "\n---\nkind: route\nname: r\nspec: {match: {}, engine: e, timeout: 1500ms}\n";
    let rig = Rig::start(path, &(strict(&[engine.address()], 1, "") + route)).await;
    let (answer, pings) = tokio::join!(rig.h2(request(&rig)), async {
        let mut wire = engine.accept().await;
        let mut pings = 0;
        // Up to the reset by the deadline.
        while let Some(frame) = wire.frame().await {
            pings += usize::from(frame.kind == PING);
            if frame.kind == super::wire::RST_STREAM {
                break;
            }
        }
        pings
    });
    assert_eq!((pings, &answer.head.headers["grpc-status"]), (0, &"4".parse().unwrap()));
    rig.until_free().await;
}

async fn calls_end_at_a_removed_endpoint_after_its_drain_timeout(path: Path) {
    let (silent, talking) = (told(|_| Say::Silence).await, demo().await);
    let pool = ", drain_timeout: 300ms, cancel_cooldown: 0ms";
    let config = |endpoints: &[std::net::SocketAddr]| strict(endpoints, 4, pool) + ROUTES;
    // A call that waits for the head of its answer …
    let rig = Rig::start(path, &config(&[silent.address])).await;
    let mut client = rig.echo();
    let waiting = tokio::spawn(async move { client.ping(ping()).await });
    eventually(|| silent.now() == 1).await;
    // … and one in the middle of it.
    rig.install(&config(&[talking.address]));
    let (send, audio) = upload();
    let mut answers = rig.speech().recognize(audio).await.unwrap().into_inner();
    let status = tokio::time::timeout(FOR_EVER, waiting).await.unwrap().unwrap().unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::Unavailable, Some("draining")));
    send.send(chunk(b"x")).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().heard, 1);
    rig.install(&config(&[silent.address]));
    let status = tokio::time::timeout(FOR_EVER, answers.message()).await.unwrap().unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::Unavailable, Some("draining")));
    talking.until(|s| s.cancelled == 1).await;
    eventually(|| silent.now() == 0).await;
    rig.until_free().await;
    drop(send);
}

async fn messages_that_are_too_long_end_the_call(path: Path) {
    let demo = demo().await;
    let pool = ", max_message_bytes: 2000, cancel_cooldown: 0ms";
    let rig = Rig::start(path, &(strict(&[demo.address], 4, pool) + ROUTES)).await;
    let ping = |length| pigeon_proto::demo::v1::PingRequest { payload: vec![7; length].into() };
    assert!(rig.echo().ping(ping(1_900)).await.is_ok());
    let status = rig.echo().ping(ping(3_000)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::ResourceExhausted, Some("too_large")));
    assert!(status.message().contains("2000 bytes"), "{status:?}");
    // In the middle of a stream: what came before was heard.
    let (send, audio) = upload();
    let mut answers = rig.speech().recognize(audio).await.unwrap().into_inner();
    send.send(chunk(b"x")).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().heard, 1);
    send.send(chunk(&[7; 3_000])).await.unwrap();
    let status = answers.message().await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::ResourceExhausted, Some("too_large")));
    demo.until(|s| s.concurrent_now == 0).await;
    rig.until_free().await;
    // And the other way.
    let engine = told(|n| Say::Message(if n == 0 { 2_000 } else { 2_001 }, 0)).await;
    let rig = self::rig(path, &engine, "max_message_bytes: 2000").await;
    let answer = rig.h2(request(&rig)).await;
    assert_eq!(answer.body.unwrap().len(), 2_005);
    let answer = rig.h2(request(&rig)).await;
    assert_eq!(answer.body.unwrap(), "");
    let trailers = answer.trailers.unwrap();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["pigeon-reason"]),
        (&"8".parse().unwrap(), &"too_large".parse().unwrap())
    );
    rig.until_free().await;
    assert_eq!(rig.usage().failures, 1);
}

/// The relay lets windows grow on its own; what they may grow to is tested there.
#[tokio::test]
async fn windows_are_told_to_the_engine() {
    let engine = WireEngine::start().await;
    let pool = "pool: {stream_window: 70000, connection_window: 1000000}";
    let config = super::support::engine(&[engine.address()], pool) + ROUTE;
    let rig = Rig::start(Path::Hyper, &config).await;
    let (answer, _wire) = tokio::join!(rig.h2(request(&rig)), async {
        let mut wire = engine.accept().await;
        let (mut stream_window, mut connection_window) = (0, 65_535);
        let mut stream = None;
        // The update may come after the call.
        while stream.is_none() || connection_window == 65_535 {
            let frame = wire.frame().await.unwrap();
            match frame.kind {
                SETTINGS if frame.flags == 0 => {
                    // Identifier 4 is SETTINGS_INITIAL_WINDOW_SIZE.
                    let entries = frame.payload.chunks(6).map(|e| (e[1], number(&e[2..])));
                    stream_window = entries.filter(|e| e.0 == 4).map(|e| e.1).next().unwrap();
                }
                WINDOW_UPDATE if frame.stream == 0 => connection_window += number(&frame.payload),
                super::wire::HEADERS => stream = Some(frame.stream),
                _ => {}
            }
        }
        assert_eq!((stream_window, connection_window), (70_000, 1_000_000));
        wire.grpc(stream.unwrap(), 0).await;
        // Closed at once, with something of ours unread, it would take the answer back.
        wire
    });
    assert_eq!(answer.head.headers["grpc-status"], "0");
}

/// What an engine that answers early did not want is given back to the client's windows.
async fn uploads_that_are_cut_short_leave_the_clients_windows_open(path: Path) {
    const AT_ONCE: u32 = 10;
    let engine = WireEngine::start().await;
    let rig = Rig::start(path, &(strict(&[engine.address()], AT_ONCE, "") + ROUTE)).await;
    let mut client = Wire::connect(rig.address).await;
    let mut window = 65_535;
    let mut wire = None;
    // More than either path lets a client have under way on a connection.
    for round in 0..(68 << 20) / (AT_ONCE * 65_535) {
        let ids: Vec<u32> = (0..AT_ONCE).map(|n| 2 * (round * AT_ONCE + n) + 1).collect();
        let mut streams = Vec::new();
        for id in &ids {
            client.ask(*id).await;
            if wire.is_none() {
                // Streams begin without a window: all that the client sends stays in the gateway.
                wire = Some(engine.accept_with(&[0, 4, 0, 0, 0, 0]).await);
            }
            streams.push(wire.as_mut().unwrap().request().await);
        }
        for id in &ids {
            while window < 65_535 {
                window_of(&mut client, &mut window).await;
            }
            for part in [[0; 13_107]; 5] {
                client.send(0, 0, *id, &part).await;
                window -= 13_107;
            }
        }
        // Answered in turn: everything before it has been read.
        client.send(PING, 0, 0, &[0; 8]).await;
        while window_of(&mut client, &mut window).await.kind != PING {}
        for stream in streams {
            wire.as_mut().unwrap().grpc(stream, 0).await;
        }
        let mut left = ids.len();
        while left > 0 {
            let frame = window_of(&mut client, &mut window).await;
            left -= usize::from(ids.contains(&frame.stream) && frame.flags & 1 != 0);
        }
    }
    rig.until_free().await;
}

/// The next frame; what it adds to the window of the connection is added.
async fn window_of(client: &mut Wire, window: &mut u32) -> Frame {
    let frame = client.frame().await.expect("the gateway closed the connection");
    if frame.kind == WINDOW_UPDATE && frame.stream == 0 {
        *window += number(&frame.payload);
    }
    frame
}

/// A connection whose engine reads nothing gets no more calls; another is opened. All calls come from one
/// client, so that one worker has them.
#[tokio::test]
async fn a_connection_that_is_stuck_gets_no_more_calls() {
    let engine = WireEngine::start().await;
    let pool = "pool: {max_streams_per_connection: 10000}";
    let config = super::support::engine(&[engine.address()], pool) + ROUTE;
    let rig = Rig::start(Path::Relay, &config).await;
    let mut client = Wire::connect(rig.address).await;
    client.ask(1).await;
    // Windows as large as they can be, and then not a byte is read.
    let mut stuck = engine.accept_with(&[0, 4, 0x7f, 0xff, 0xff, 0xff]).await;
    stuck.request().await;
    stuck.send(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()).await;
    let calls = async {
        let (mut window, mut credit, mut last) = (65_535, 65_535, 1);
        loop {
            let part = window.min(credit).min(16_384);
            if part > 0 {
                client.send(0, 0, 1, &vec![0; part as usize]).await;
                (window, credit) = (window - part, credit - part);
                continue;
            }
            let next = window_of(&mut client, &mut window);
            match tokio::time::timeout(Duration::from_millis(50), next).await {
                Ok(frame) if frame.kind == WINDOW_UPDATE && frame.stream == 1 => {
                    credit += number(&frame.payload);
                }
                Ok(_) => {}
                // Nothing is taken any more: the next call needs a connection of its own.
                Err(_) => {
                    last += 2;
                    client.ask(last).await;
                }
            }
        }
    };
    tokio::select! {
        () = calls => {}
        second = engine.accept() => drop(second),
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b))
}

/// HTTP/1.1 to the engine: the same on both paths.
#[tokio::test]
async fn warm_http1_connections_are_used_and_filled_up_again() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    // Connections so far, those open now, and which had a call.
    let (opened, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let used = Arc::new(Mutex::new(Vec::new()));
    let counted = (Arc::clone(&opened), Arc::clone(&open), Arc::clone(&used));
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (opened, open, used) = counted.clone();
            let number = opened.fetch_add(1, Ordering::SeqCst);
            open.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(byte) = socket.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        used.lock().unwrap().push(number);
                        let answer = b"HTTP/1.1 204 No\r\nconnection: close\r\n\r\n";
                        socket.write_all(answer).await.unwrap();
                        break;
                    }
                }
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    let settings = "protocol: http1, pool: {warm: 1}";
    let rig = Rig::start(Path::Hyper, &(engine(&[address], settings) + ROUTES)).await;
    // One on each of two workers.
    eventually(|| opened.load(Ordering::SeqCst) == 2).await;
    // A worker may not have got to its own when the first call comes, and then opens another.
    let used_warm = async {
        while used.lock().unwrap().last().is_none_or(|number| *number >= 2) {
            let get = "GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            assert!(rig.raw(get).await.starts_with("HTTP/1.1 204 "));
        }
    };
    tokio::time::timeout(FOR_EVER, used_warm).await.unwrap();
    eventually(|| open.load(Ordering::SeqCst) == 2).await;
    assert!(opened.load(Ordering::SeqCst) >= 3);
    rig.until_free().await;
}
