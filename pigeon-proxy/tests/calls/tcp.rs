//! Raw connections: one is one call and holds one slot.

#[path = "tcp/tls.rs"]
mod tls;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::support::*;

/// An engine of nobody's protocol; the tests play it.
struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

async fn server() -> Server {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    Server { listener, address }
}

impl Server {
    async fn accept(&self) -> TcpStream {
        let accepted = tokio::time::timeout(FOR_EVER, self.listener.accept()).await;
        accepted.expect("nobody connects").unwrap().0
    }

    /// Whether nobody has connected.
    async fn is_left_alone(&self) -> bool {
        tokio::time::timeout(Duration::from_millis(50), self.listener.accept()).await.is_err()
    }
}

/// A closed port.
async fn nobody() -> SocketAddr {
    server().await.address
}

/// A tcp listener with a route to the engine `e`.
fn raw(engine: &str, listener: &str, route: &str) -> String {
    format!(
        "{engine}\n---\nkind: listener\nname: default\nspec: {{address: '127.0.0.1:1', protocol: tcp{listener}}}\n\
         ---\nkind: route\nname: r\nspec: {{match: {{listener: default}}, engine: e{route}}}\n"
    )
}

async fn rig(engine: &str, listener: &str, route: &str) -> Rig {
    // HTTP/2 plays no part here.
    Rig::start(Path::Relay, &raw(engine, listener, route)).await
}

impl Rig {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Is not taken: that may be seen while connecting, or after.
    async fn refuses(&self) {
        match TcpStream::connect(self.address).await {
            Ok(mut socket) => is_reset(&mut socket).await,
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    async fn until_counted(&self, line: &str) {
        eventually(|| self.metrics.render().lines().any(|l| l == line)).await;
    }
}

async fn says(socket: &mut (impl AsyncRead + Unpin), wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    tokio::time::timeout(FOR_EVER, socket.read_exact(&mut got)).await.unwrap().unwrap();
    assert_eq!(got, wanted);
}

/// Everything up to the end, in order.
async fn rest_of(socket: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut rest = Vec::new();
    tokio::time::timeout(FOR_EVER, socket.read_to_end(&mut rest)).await.unwrap().unwrap();
    rest
}

/// The other side breaks the connection off.
async fn is_reset(socket: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(FOR_EVER, socket.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset, "after {rest:?}");
}

fn reset(socket: TcpStream) {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_side_closes_for_itself() {
    let engine = server().await;
    let rig = rig(&strict(&[engine.address], 1, ""), "", "").await;
    let mut client = rig.connect().await;
    let mut upstream = engine.accept().await;
    // The engine may be the first to speak.
    upstream.write_all(b"welcome").await.unwrap();
    says(&mut client, b"welcome").await;
    let large = vec![7; 3 << 20];
    let (sent, got) = tokio::join!(
        async {
            client.write_all(&large).await.unwrap();
            client.shutdown().await.unwrap();
        },
        rest_of(&mut upstream)
    );
    assert!(got == large, "{sent:?}");
    assert_eq!(rig.in_use(), 1);
    upstream.write_all(b"bye").await.unwrap();
    drop(upstream);
    assert_eq!(rest_of(&mut client).await, b"bye");
    rig.until_free().await;
    rig.until_counted(r#"pigeon_calls_total{code="closed",engine="e",route="r"} 1"#).await;
    let bytes =
        |d, n| format!(r#"pigeon_tcp_bytes_total{{direction="{d}",engine="e",route="r"}} {n}"#);
    rig.until_counted(&bytes("in", 3 << 20)).await;
    rig.until_counted(&bytes("out", 10)).await;
    assert_eq!((rig.usage().calls, rig.usage().failures), (1, 0));
}

#[tokio::test]
async fn a_connection_beyond_the_slots_waits_for_one() {
    let engine = server().await;
    let pool = ", queue: 1, queue_timeout: 60s";
    let rig = rig(&strict(&[engine.address], 2, pool), "", "").await;
    let (one, _two) = (rig.connect().await, rig.connect().await);
    let first = engine.accept().await;
    let _second = engine.accept().await;
    let mut third = rig.connect().await;
    third.write_all(b"while I wait").await.unwrap();
    rig.until(|u| u.waiting == 1).await;
    // The line is full.
    rig.refuses().await;
    let refused = r#"pigeon_rejections_total{engine="e",reason="saturated",route="r"} 1"#;
    rig.until_counted(refused).await;
    assert!(engine.is_left_alone().await);
    // Which of the first two it is, nobody knows: both ends of one.
    drop((one, first));
    let mut upstream = engine.accept().await;
    says(&mut upstream, b"while I wait").await;
    assert_eq!(rig.in_use(), 2);
}

#[tokio::test]
async fn who_waits_too_long_or_leaves_has_no_place_in_line() {
    let engine = server().await;
    let pool = ", queue: 9, queue_timeout: 100ms";
    let quick = rig(&strict(&[engine.address], 1, pool), "", "").await;
    let _held = quick.connect().await;
    let _upstream = engine.accept().await;
    let begun = Instant::now();
    quick.refuses().await;
    assert!(begun.elapsed() >= Duration::from_millis(100));

    let pool = ", queue: 9, queue_timeout: 60s";
    let rig = rig(&strict(&[engine.address], 1, pool), "", "").await;
    let _held = rig.connect().await;
    let _upstream = engine.accept().await;
    // Closed before a word, and broken off after one.
    for word in ["", "hello"] {
        let mut waiter = rig.connect().await;
        waiter.write_all(word.as_bytes()).await.unwrap();
        rig.until(|u| u.waiting == 1).await;
        if word.is_empty() {
            drop(waiter);
        } else {
            reset(waiter);
        }
        rig.until(|u| u.waiting == 0).await;
    }
    rig.until_counted(r#"pigeon_calls_total{code="cancelled",engine="e",route="r"} 2"#).await;
    assert!(engine.is_left_alone().await);
    // Who has said all there is to say and listens keeps the place.
    let mut patient = rig.connect().await;
    patient.write_all(b"question").await.unwrap();
    patient.shutdown().await.unwrap();
    rig.until(|u| u.waiting == 1).await;
    drop((_held, _upstream));
    let mut upstream = engine.accept().await;
    assert_eq!(rest_of(&mut upstream).await, b"question");
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_by() {
    let (gone, engine) = (nobody().await, server().await);
    let rig = rig(&strict(&[gone, engine.address], 4, ", queue: 4"), "", "").await;
    for _ in 0..4 {
        let _client = rig.connect().await;
        engine.accept().await;
    }
    rig.until_free().await;

    let dead = self::rig(&strict(&[nobody().await], 4, ""), "", "").await;
    dead.refuses().await;
    let failed = r#"pigeon_rejections_total{engine="e",reason="connect_failed",route="r"} 1"#;
    dead.until_counted(failed).await;
    dead.until_free().await;
}

#[tokio::test]
async fn what_breaks_on_one_side_breaks_on_the_other() {
    let engine = server().await;
    let pool = ", cancel_cooldown: 10m";
    let rig = rig(&strict(&[engine.address], 2, pool), "", "").await;
    // The engine is reset: its slot is free at once.
    let mut client = rig.connect().await;
    let mut upstream = engine.accept().await;
    upstream.write_all(b"half an ans").await.unwrap();
    says(&mut client, b"half an ans").await;
    reset(upstream);
    is_reset(&mut client).await;
    rig.until_free().await;
    let failed = r#"pigeon_rejections_total{engine="e",reason="engine_reset",route="r"} 1"#;
    rig.until_counted(failed).await;
    // The client is: the engine is told, and its slot rests.
    let mut client = rig.connect().await;
    let mut upstream = engine.accept().await;
    // Only once bytes pass is the engine reached for the gateway, too: before, a slot needs no rest.
    upstream.write_all(b"x").await.unwrap();
    says(&mut client, b"x").await;
    upstream.write_all(b"y").await.unwrap();
    reset(client);
    is_reset(&mut upstream).await;
    rig.until_counted(r#"pigeon_calls_total{code="cancelled",engine="e",route="r"} 1"#).await;
    assert_eq!(rig.in_use(), 1, "it rests");
}

#[tokio::test]
async fn resets_eject_the_endpoint_that_does_it() {
    let (bad, good) = (server().await, server().await);
    let rest = "pool: {mode: strict, slots: 9}, ejection: {failures: 2}, balance: round_robin";
    let rig = rig(&self::engine(&[bad.address, good.address], rest), "", "").await;
    for turn in 0..8 {
        let mut client = rig.connect().await;
        tokio::select! {
            mut upstream = bad.accept() => {
                // Before the gateway knows that it is connected a reset would be a refusal, and no failed call.
                upstream.write_all(b"hello").await.unwrap();
                says(&mut client, b"hello").await;
                reset(upstream);
                is_reset(&mut client).await;
            }
            upstream = good.accept() => {
                drop(upstream);
                assert_eq!(rest_of(&mut client).await, b"", "{turn}");
            }
        }
        drop(client);
        rig.until_free().await;
    }
    let states = || rig.usage().endpoints.iter().map(|e| e.state.as_str()).collect::<Vec<_>>();
    assert_eq!(states(), ["ejected", "healthy"]);
}

#[tokio::test]
async fn silence_and_age_end_a_connection() {
    let engine = server().await;
    let pool = ", cancel_cooldown: 0s";
    for (listener, least) in [(", idle_timeout: 200ms", 200), (", max_lifetime: 300ms", 270)] {
        let rig = rig(&strict(&[engine.address], 2, pool), listener, "").await;
        let begun = Instant::now();
        let mut client = rig.connect().await;
        let mut upstream = engine.accept().await;
        client.write_all(b"hello").await.unwrap();
        says(&mut upstream, b"hello").await;
        is_reset(&mut client).await;
        is_reset(&mut upstream).await;
        assert!(begun.elapsed() >= Duration::from_millis(least), "{listener}");
        let ended = r#"pigeon_rejections_total{engine="e",reason="deadline",route="r"} 1"#;
        rig.until_counted(ended).await;
        rig.until_free().await;
    }
}

#[tokio::test]
async fn limits_splits_and_a_missing_route() {
    let engine = server().await;
    let limited = rig(&strict(&[engine.address], 2, ""), "", ", limits: [{rate: 1/h}]").await;
    let _client = limited.connect().await;
    let _upstream = engine.accept().await;
    limited.refuses().await;
    let counted = r#"pigeon_rejections_total{engine="e",reason="rate_limited",route="r"} 1"#;
    limited.until_counted(counted).await;

    let other = server().await;
    let both = strict(&[engine.address], 99, "")
        + &format!(
            "---\nkind: engine\nname: f\nspec: {{endpoints: [{{address: '{}'}}]}}\n",
            other.address
        );
    let split = rig(&both, "", ", split: [{engine: f, percent: 50}]").await;
    let mut seen = [0, 0];
    let mut open = Vec::new();
    while seen.contains(&0) {
        assert!(seen[0] + seen[1] < 60, "{seen:?}");
        let client = split.connect().await;
        let upstream = tokio::select! {
            upstream = engine.accept() => { seen[0] += 1; upstream }
            upstream = other.accept() => { seen[1] += 1; upstream }
        };
        open.push((client, upstream));
    }

    // Routes for everything are for calls of HTTP.
    let text =
        raw(&strict(&[engine.address], 2, ""), "", "").replace("match: {listener: default}, ", "");
    let unmatched = Rig::start(Path::Relay, &text).await;
    unmatched.refuses().await;
    let counted = r#"pigeon_rejections_total{engine="",reason="no_route",route=""} 1"#;
    unmatched.until_counted(counted).await;
    assert!(engine.is_left_alone().await);
}

#[tokio::test]
async fn connections_survive_changes_until_their_endpoint_has_drained() {
    let engine = server().await;
    let pool = ", drain_timeout: 1s, cancel_cooldown: 0s";
    let rig = rig(&strict(&[engine.address], 2, pool), "", "").await;
    let mut client = rig.connect().await;
    let mut upstream = engine.accept().await;
    let other = server().await;
    rig.install(&raw(&strict(&[other.address], 2, pool), "", ""));
    client.write_all(b"still here").await.unwrap();
    says(&mut upstream, b"still here").await;
    let _new = rig.connect().await;
    let _upstream = other.accept().await;
    is_reset(&mut client).await;
    is_reset(&mut upstream).await;
    let ended = r#"pigeon_rejections_total{engine="e",reason="draining",route="r"} 1"#;
    rig.until_counted(ended).await;
    rig.until(|u| u.endpoints[0].in_use == 1).await;
}

#[tokio::test]
async fn a_listener_that_closes_waits_for_its_connections_and_then_cuts_them() {
    for limit in [FOR_EVER, Duration::from_millis(100)] {
        let engine = server().await;
        let mut rig = rig(&strict(&[engine.address], 1, ""), "", "").await;
        let mut client = rig.connect().await;
        let mut upstream = engine.accept().await;
        let listeners = rig.listeners.take().unwrap();
        let drained = tokio::spawn(listeners.drain(limit, Duration::ZERO));
        eventually_refuses(rig.address).await;
        client.write_all(b"go on").await.unwrap();
        says(&mut upstream, b"go on").await;
        if limit == FOR_EVER {
            assert!(!drained.is_finished());
            client.shutdown().await.unwrap();
            assert_eq!(rest_of(&mut upstream).await, b"");
            drop(upstream);
            assert_eq!(rest_of(&mut client).await, b"");
        } else {
            is_reset(&mut client).await;
            is_reset(&mut upstream).await;
        }
        tokio::time::timeout(FOR_EVER, drained).await.unwrap().unwrap();
    }
}

async fn eventually_refuses(address: SocketAddr) {
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(FOR_EVER, refused).await.expect("it still takes connections");
}

#[tokio::test]
async fn a_slow_reader_holds_the_sender_back() {
    let engine = server().await;
    let rig = rig(&strict(&[engine.address], 2, ""), "", "").await;
    let client = rig.connect().await;
    let mut upstream = engine.accept().await;
    let mut sent = 0_usize;
    let chunk = vec![1; 1 << 20];
    // Until the sockets are full, and no further.
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(200), upstream.write(&chunk)).await
    {
        sent += written.unwrap();
        assert!(sent < 64 << 20, "somebody holds it all");
    }
    drop(upstream);
    let mut client = client;
    assert_eq!(rest_of(&mut client).await.len(), sent);
}
