//! Copies of calls for another engine, which never delay, fail or change the call itself.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt as _;

use super::support::*;
use super::told::{Say, told};

on_both_paths! {
    the_other_engine_gets_the_call_and_its_answer_is_dropped,
    a_stream_both_ways_is_copied_while_it_goes_on,
    an_engine_that_is_away_or_silent_changes_nothing,
    copies_take_only_slots_that_are_free,
    a_copy_that_falls_behind_is_given_up,
    a_call_that_is_broken_off_takes_its_copy_with_it,
    plain_http_is_copied_to_both_kinds_of_engines,
    none_of_the_calls_that_are_not_chosen_is_copied,
}

/// Engine `e` with routes whose calls are copied to engine `f`.
fn config(e: SocketAddr, f: SocketAddr, rest: &str) -> String {
    let other = engine(&[f], rest).replace("name: e", "name: f");
    let routes = ROUTES.replace("engine: e}", "engine: e, timeout: 10s, shadow: {engine: f}}");
    engine(&[e], "") + "---\n" + &other + &routes
}

impl Rig {
    /// Waits until so many copies had this outcome.
    async fn copied(&self, route: &str, outcome: &str, count: u32) {
        let line = format!(
            r#"pigeon_shadow_total{{engine="f",outcome="{outcome}",route="{route}"}} {count}"#
        );
        let wanted = async {
            while !self.metrics.render().contains(&line) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(FOR_EVER, wanted).await;
        assert!(waited.is_ok(), "{line}: {}", self.metrics.render());
    }

    /// Every slot of the other engine comes back.
    async fn copies_end(&self) {
        eventually(|| {
            let usage = self.gateway.usage();
            usage.iter().all(|engine| engine.endpoints.iter().all(|endpoint| endpoint.in_use == 0))
        })
        .await;
    }
}

async fn the_other_engine_gets_the_call_and_its_answer_is_dropped(path: Path) {
    let (demo, copies) = (demo().await, told(|_| Say::Grpc(13)).await);
    let rig = Rig::start(path, &config(demo.address, copies.address, "")).await;
    for n in 1..=3 {
        let request = with(ping(), &[("x-a", "b"), ("pigeon-shadow", "no")]);
        assert_eq!(rig.echo().ping(request).await.unwrap().into_inner().payload, "hello");
        rig.copied("echo", "answered", n).await;
    }
    let seen = copies.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0].uri.path(), "/pigeon.demo.v1.Echo/Ping");
    assert_eq!((&seen[0].body[..5], &seen[0].body[7..]), (&[0, 0, 0, 0, 7][..], &b"hello"[..]));
    let header = |name: &str| seen[0].headers.get(name).map(|v| v.to_str().unwrap().to_owned());
    assert_eq!(header("pigeon-shadow").as_deref(), Some("1"));
    assert_eq!(header("x-a").as_deref(), Some("b"));
    assert_eq!(header("te").as_deref(), Some("trailers"));
    assert!(header("grpc-timeout").is_some() && header("x-request-id").is_some());
    let metrics = rig.metrics.render();
    assert!(
        metrics.contains(r#"pigeon_calls_total{code="OK",engine="e",route="echo"} 3"#),
        "{metrics}"
    );
    rig.copies_end().await;
}

async fn a_stream_both_ways_is_copied_while_it_goes_on(path: Path) {
    let (one, other) = (demo().await, demo().await);
    let rig = Rig::start(path, &config(one.address, other.address, "")).await;
    let (send, upload) = upload();
    send.send(chunk(b"first")).await.unwrap();
    let mut answer = rig.speech().recognize(upload).await.unwrap().into_inner();
    answer.next().await.unwrap().unwrap();
    // Both are in the middle of it.
    other.until(|stats| stats.concurrent_now == 1).await;
    send.send(chunk(b"second")).await.unwrap();
    answer.next().await.unwrap().unwrap();
    drop(send);
    while let Some(message) = answer.next().await {
        message.unwrap();
    }
    rig.copied("grpc", "answered", 1).await;
    other.until(|stats| stats.concurrent_now == 0 && stats.cancelled == 0).await;
    rig.copies_end().await;
}

async fn an_engine_that_is_away_or_silent_changes_nothing(path: Path) {
    let demo = demo().await;
    let away = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let rig = Rig::start(path, &config(demo.address, away, "")).await;
    rig.echo().ping(ping()).await.unwrap();
    rig.copied("echo", "failed", 1).await;
    let silent = told(|_| Say::Silence).await;
    let text = config(demo.address, silent.address, "").replace("timeout: 10s", "timeout: 700ms");
    rig.install(&text);
    rig.echo().ping(ping()).await.unwrap();
    rig.copied("echo", "late", 1).await;
    let resets = told(|_| Say::Reset(h2::Reason::INTERNAL_ERROR)).await;
    rig.install(&config(demo.address, resets.address, ""));
    rig.echo().ping(ping()).await.unwrap();
    rig.copied("echo", "failed", 2).await;
    rig.copies_end().await;
}

async fn copies_take_only_slots_that_are_free(path: Path) {
    let (demo, silent) = (demo().await, told(|_| Say::Silence).await);
    let rest = "pool: {mode: strict, slots: 1, queue: 10}";
    let rig = Rig::start(path, &config(demo.address, silent.address, rest)).await;
    for n in 0..4 {
        rig.echo().ping(ping()).await.unwrap();
        if n > 0 {
            rig.copied("echo", "no_slot", n).await;
        }
    }
    assert_eq!(rig.gateway.usage()[1].waiting, 0);
    eventually(|| silent.calls() == 1).await;
}

async fn a_copy_that_falls_behind_is_given_up(path: Path) {
    let demo = demo().await;
    // Takes connections, and reads nothing of them.
    let stuck = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let rest = "protocol: h2c, health: none";
    let rig = Rig::start(path, &config(demo.address, stuck.local_addr().unwrap(), rest)).await;
    let big = Bytes::from(vec![b'x'; 3 << 20]);
    let post = http::Request::post(format!("http://{}/echo", rig.address)).body(big.clone());
    assert!(rig.h2(post.unwrap()).await.body.unwrap() == big);
    rig.copied("http", "behind", 1).await;
    rig.copies_end().await;
}

async fn a_call_that_is_broken_off_takes_its_copy_with_it(path: Path) {
    let (one, other) = (demo().await, demo().await);
    let rig = Rig::start(path, &config(one.address, other.address, "")).await;
    let socket = TcpStream::connect(rig.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let uri = format!("http://{}/pigeon.demo.v1.Speech/Recognize", rig.address);
    let request = http::Request::post(uri).header("content-type", "application/grpc");
    let (answer, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(b"\0\0\0\0\x03\x0a\x01a"), false).unwrap();
    other.until(|stats| stats.concurrent_now == 1).await;
    connection.abort();
    rig.copied("grpc", "abandoned", 1).await;
    other.until(|stats| stats.concurrent_now == 0 && stats.cancelled == 1).await;
    rig.copies_end().await;
    drop((answer, body));
}

async fn plain_http_is_copied_to_both_kinds_of_engines(path: Path) {
    let (one, other) = (demo().await, demo().await);
    for protocol in ["http1", "h2c"] {
        let rest = format!("protocol: {protocol}");
        let rig = Rig::start(path, &config(one.address, other.address, &rest)).await;
        let raw = "GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        assert!(rig.raw(raw).await.ends_with("hello from demo-1\n"));
        let post = http::Request::post(format!("http://{}/echo", rig.address));
        let answer = rig.h2(post.body(Bytes::from_static(b"data")).unwrap()).await;
        assert_eq!(answer.body.unwrap(), "data");
        rig.copied("http", "answered", 2).await;
        rig.copies_end().await;
    }
}

async fn none_of_the_calls_that_are_not_chosen_is_copied(path: Path) {
    let (demo, copies) = (demo().await, told(|_| Say::Grpc(0)).await);
    let text = config(demo.address, copies.address, "");
    let rig = Rig::start(path, &text.replace("{engine: f}", "{engine: f, percent: 50}")).await;
    for _ in 0..60 {
        rig.echo().ping(ping()).await.unwrap();
    }
    // 60 fair coins all the same once in 10^17 times.
    let total = |metrics: &str| -> u32 {
        let lines = metrics.lines().filter(|line| line.starts_with("pigeon_shadow_total{"));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u32>().ok()).sum()
    };
    rig.copies_end().await;
    let copied = total(&rig.metrics.render());
    assert!(0 < copied && copied < 60, "{copied}");
}
