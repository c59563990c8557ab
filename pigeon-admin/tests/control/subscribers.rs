//! What proxies say, and what the admin makes of it.

use std::sync::Arc;
use std::time::Duration;

use pigeon_admin::metrics::Metrics;
use pigeon_admin::proxies::{Proxies, ProxyState};
use pigeon_admin::publisher::Ring;
use pigeon_admin::stream::{self, Feed};
use pigeon_admin::token::{self, Secret};
use pigeon_proto::v1::{self, config_up};
use serde_json::json;
use tempfile::tempdir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::proxy::Proxy;
use crate::support::{Running, catalog, engine, put, soon, start, write};

async fn connect(admin: &Running, name: &str) -> Proxy {
    let proxy = Proxy::connect(&admin.grpc, &admin.proxy_token, Proxy::hello(name));
    let mut proxy = soon("a welcome", proxy).await.expect("welcome");
    soon("a snapshot", proxy.follow(admin.state.catalog.view().revision)).await;
    proxy
}

/// Waits until what is known of `name` is as wanted.
async fn becomes(admin: &Running, name: &str, wanted: impl Fn(&ProxyState) -> bool) -> ProxyState {
    let mut changed = admin.state.proxies.changed();
    soon(&format!("{name} becomes as wanted"), async {
        loop {
            changed.borrow_and_update();
            if let Some(state) = admin.state.proxies.get(name).filter(&wanted) {
                return state;
            }
            changed.changed().await.expect("open");
        }
    })
    .await
}

fn refusal(mod_revision: u64) -> v1::Rejected {
    v1::Rejected {
        kind: "listener".into(),
        name: "x".into(),
        mod_revision,
        code: "PGN-P301".into(),
        message: format!("the port is taken\x1b[2J{}", "!".repeat(5000)),
        serving_mod_revision: 0,
    }
}

#[tokio::test]
async fn acknowledgements_are_counted_until_everyone_has_answered() {
    let dir = tempdir().expect("dir");
    let admin = start(dir.path()).await;
    let (mut a, mut b) = (connect(&admin, "a").await, connect(&admin, "b").await);
    a.ack(1, 1, vec![]).await;
    b.ack(1, 1, vec![]).await;
    let proxies = admin.state.proxies.clone();
    let all = soon("both", proxies.wait_applied(1, Duration::from_secs(10))).await;
    assert_eq!((all.proxies, all.applied, all.done), (2, 2, true));

    let o = write(&admin.state.catalog, put(&engine("e", 1))).await.expect("write");
    let now = proxies.applied(o.revision);
    assert_eq!((now.applied, now.done, now.pending), (0, false, vec!["a".into(), "b".into()]));
    let waiting = tokio::spawn({
        let proxies = proxies.clone();
        async move { proxies.wait_applied(2, Duration::from_secs(30)).await }
    });
    soon("a delta", a.follow(2)).await;
    soon("a delta", b.follow(2)).await;
    a.ack(2, 2, vec![]).await;
    let state = becomes(&admin, "a", |p| p.effective == 2).await;
    assert!(state.last_ack_ms.is_some() && state.last_ack_age.is_some());
    assert_eq!(state.state(2), "in_sync");
    assert!(!waiting.is_finished(), "b has not answered");
    b.ack(2, 2, vec![]).await;
    assert!(soon("both", waiting).await.expect("task").done);
    // One that goes away is not waited for, but stays listed.
    drop(b);
    becomes(&admin, "b", |p| !p.connected).await;
    assert_eq!(proxies.applied(2).proxies, 1);
    assert_eq!(proxies.get("b").expect("listed").state(2), "disconnected");
    admin.stop().await;
}

#[tokio::test]
async fn a_refusal_is_shown_cut_to_size_and_causes_no_resend() {
    let dir = tempdir().expect("dir");
    let admin = start(dir.path()).await;
    let mut a = connect(&admin, "a").await;
    write(&admin.state.catalog, put(&engine("e", 1))).await.expect("write");
    soon("a delta", a.follow(2)).await;
    a.ack(2, 1, vec![refusal(2)]).await;
    let state = becomes(&admin, "a", |p| !p.rejected.is_empty()).await;
    assert_eq!((state.revision, state.effective, state.state(2)), (2, 1, "rejected"));
    let shown = &state.rejected[0];
    assert_eq!((shown.code.as_str(), shown.mod_revision), ("PGN-P301", 2));
    assert!(shown.message.starts_with("the port is taken[2J!") && shown.message.len() == 500);
    let wait = admin.state.proxies.wait_applied(2, Duration::from_secs(30));
    let answered = soon("an answer, although a refusal", wait).await;
    assert_eq!((answered.applied, answered.done, answered.pending.len()), (0, false, 0));
    assert_eq!(answered.rejected[0].0, "a");
    // The next message is the next change, not the last one again.
    write(&admin.state.catalog, put(&engine("e", 2))).await.expect("write");
    let deltas = a.deltas;
    soon("a delta", a.follow(3)).await;
    assert_eq!((a.deltas, a.snapshots), (deltas + 1, 1));
    a.ack(3, 3, vec![]).await;
    becomes(&admin, "a", |p| p.rejected.is_empty() && p.effective == 3).await;
    admin.stop().await;
}

#[tokio::test]
async fn a_newer_stream_of_the_same_proxy_ends_the_older() {
    let dir = tempdir().expect("dir");
    let admin = start(dir.path()).await;
    let mut old = connect(&admin, "a").await;
    old.ack(1, 1, vec![]).await;
    becomes(&admin, "a", |p| p.effective == 1).await;
    let new = connect(&admin, "a").await;
    let status = soon("the old one ends", old.failure()).await;
    assert_eq!(status.code(), Code::Aborted, "{status}");
    assert!(status.message().contains("replaced by a newer connection"), "{status}");
    let list = admin.state.proxies.list();
    assert_eq!((list.len(), list[0].connected, list[0].effective), (1, true, 0));
    new.ack(1, 1, vec![]).await;
    becomes(&admin, "a", |p| p.effective == 1 && p.connected).await;
    admin.stop().await;
}

#[tokio::test]
async fn usage_and_status_are_kept_while_connected() {
    let dir = tempdir().expect("dir");
    let admin = start(dir.path()).await;
    let (a, b) = (connect(&admin, "a").await, connect(&admin, "b").await);
    for (proxy, in_use) in [(&a, 3), (&b, 4)] {
        let endpoint = v1::EndpointUsage {
            engine: "asr".into(),
            address: "h:1".into(),
            in_use,
            slots: 32,
            ..Default::default()
        };
        let engine =
            v1::EngineUsage { engine: "asr".into(), waiting: 1, calls: 10, ..Default::default() };
        let usage = v1::Usage { endpoints: vec![endpoint], engines: vec![engine] };
        proxy.say(config_up::M::Usage(usage)).await;
    }
    let listen = [("default".to_owned(), "127.0.0.1:18080".to_owned())].into();
    let status = v1::Status { source: 2, config_age_ms: 5, listen };
    a.say(config_up::M::Status(status)).await;
    let state = becomes(&admin, "a", |p| p.source == "lkg").await;
    assert_eq!(state.listen["default"], "127.0.0.1:18080");
    let asr = async |in_use: u64| {
        let mut changed = admin.state.proxies.changed();
        soon("the sum", async {
            loop {
                changed.borrow_and_update();
                match admin.state.proxies.usage().remove("asr") {
                    Some(asr) if asr.in_use == in_use => return asr,
                    _ => changed.changed().await.expect("open"),
                }
            }
        })
        .await
    };
    let both = asr(7).await;
    assert_eq!((both.slots, both.waiting, both.calls), (Some(64), 2, 20));
    drop(b);
    assert_eq!(asr(3).await.slots, Some(32));
    admin.stop().await;
}

#[tokio::test]
async fn messages_out_of_place_end_the_stream() {
    let dir = tempdir().expect("dir");
    let admin = start(dir.path()).await;
    let (up, mut down) =
        Proxy::open(&admin.grpc, &admin.proxy_token).await.expect("the stream opens");
    let ack = config_up::M::Ack(v1::Ack::default());
    up.send(v1::ConfigUp { m: Some(ack) }).await.expect("sent");
    let status = soon("a refusal", down.message()).await.expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");

    let mut a = connect(&admin, "a").await;
    a.say(config_up::M::Subscribe(Proxy::hello("a"))).await;
    assert_eq!(soon("a refusal", a.failure()).await.code(), Code::InvalidArgument);

    // What was never sent cannot be acknowledged: it does not count, and the stream goes on.
    let mut b = connect(&admin, "b").await;
    b.ack(1000, 1000, vec![]).await;
    b.ack(1, 1000, vec![]).await;
    becomes(&admin, "b", |p| p.revision == 1 && p.effective == 1).await;
    write(&admin.state.catalog, put(&engine("e", 1))).await.expect("write");
    soon("a delta", b.follow(2)).await;
    admin.stop().await;
}

/// Its own server, so that half a minute need not pass.
#[tokio::test]
async fn a_proxy_that_takes_nothing_is_cut_and_others_are_not() {
    let dir = tempdir().expect("dir");
    let c = catalog(dir.path()).await;
    // Random names, so that the snapshot is larger than all windows and buffers together.
    let label = || token::generate().expect("randomness")[13..73].to_owned();
    let host = || [label(), label(), label(), label()].join(".");
    let endpoints: Vec<_> = (0..16_000).map(|_| json!({"address": host() + ":1"})).collect();
    let large = json!({"kind": "engine", "name": "e", "spec": {"endpoints": endpoints}});
    write(&c, put(&large.to_string())).await.expect("write");
    let (proxies, shutdown) = (Proxies::default(), CancellationToken::new());
    let feed = Feed {
        ring: Arc::new(Ring::new(&c.view())),
        proxies: proxies.clone(),
        token: Secret::of("t"),
        cluster_id: c.view().cluster_id.clone(),
        generation: 1,
        metrics: Metrics::new().expect("metrics"),
        shutdown: shutdown.clone(),
        catch_up: Duration::ZERO,
        stall: Duration::from_millis(1_500),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = format!("http://{}", listener.local_addr().expect("address"));
    let serving = tokio::spawn(stream::serve(listener, feed, None, CancellationToken::new()));
    let stuck = Proxy::connect(&address, "t", Proxy::hello("stuck"));
    let mut stuck = soon("a welcome", stuck).await.expect("welcome");
    let well = Proxy::connect(&address, "t", Proxy::hello("well"));
    let mut well = soon("a welcome", well).await.expect("welcome");
    soon("a snapshot", well.follow(2)).await;
    let mut changed = proxies.changed();
    soon("the stuck one is cut", async {
        while proxies.get("stuck").is_some_and(|p| p.connected) {
            changed.changed().await.expect("open");
        }
    })
    .await;
    assert!(proxies.get("well").expect("listed").connected);
    // What had been sent can be read; then the connection is gone.
    let cut = soon("an end", async {
        loop {
            if let Err(status) = stuck.next().await {
                return status;
            }
        }
    })
    .await;
    assert_ne!(cut.code(), Code::Cancelled, "it ended in order: {cut}");
    shutdown.cancel();
    soon("a goodbye", well.goodbye()).await;
    drop((stuck, well));
    soon("the server ends", serving).await.expect("task").expect("server");
}
