//! What a proxy is sent: snapshots, deltas, resumption, refusals.

use bytes::Bytes;
use pigeon_proto::model::RawState;
use pigeon_proto::v1::{self, welcome::Mode};
use tempfile::tempdir;
use tonic::Code;

use crate::proxy::Proxy;
use crate::support::{Running, delete, engine, put, route, soon, start, write};

async fn connect(admin: &Running, subscribe: v1::Subscribe) -> Proxy {
    let proxy = Proxy::connect(&admin.grpc, &admin.proxy_token, subscribe);
    soon("a welcome", proxy).await.expect("welcome")
}

/// What the configuration is, as a proxy that follows must hold it.
fn held(admin: &Running) -> RawState {
    let view = admin.state.catalog.view();
    let put = |(k, s): (&pigeon_proto::model::Key, &std::sync::Arc<_>)| {
        let s: &pigeon_admin::catalog::Stored = s;
        v1::Put {
            key: Some(v1::Key { kind: k.kind.to_string(), name: k.name.to_string() }),
            mod_revision: s.mod_revision,
            spec: s.object.spec.encode(),
        }
    };
    RawState::new(view.revision, view.objects.iter().map(put).collect()).expect("state")
}

#[tokio::test]
async fn a_new_proxy_gets_everything_and_then_what_changes() {
    let dir = tempdir().expect("dir");
    let admin = start(dir.path()).await;
    let catalog = &admin.state.catalog;
    write(catalog, put(&(engine("a", 1) + &route("r", "a")))).await.expect("write");
    let mut proxy = connect(&admin, Proxy::hello("p")).await;
    assert_eq!(proxy.welcome.mode(), Mode::Snapshot);
    assert_eq!(proxy.welcome.cluster_id, catalog.view().cluster_id);
    assert!(!proxy.welcome.reason.is_empty() && proxy.welcome.beat_ms == 5000);
    soon("a snapshot", proxy.follow(2)).await;
    assert_eq!(proxy.raw, held(&admin));

    write(catalog, put(&engine("a", 2))).await.expect("write");
    soon("a delta", proxy.follow(3)).await;
    write(catalog, delete(&["route/r", "engine/a"])).await.expect("write");
    soon("a delta", proxy.follow(4)).await;
    assert_eq!(proxy.raw, held(&admin));
    assert_eq!((proxy.snapshots, proxy.deltas), (1, 2));
    admin.stop().await;
}

#[tokio::test]
async fn a_proxy_that_comes_back_gets_only_what_it_missed() {
    let dir = tempdir().expect("dir");
    let admin = start(dir.path()).await;
    let catalog = &admin.state.catalog;
    let mut proxy = connect(&admin, Proxy::hello("p")).await;
    soon("a snapshot", proxy.follow(1)).await;
    let (again, raw) = (proxy.again("p"), proxy.raw.clone());
    drop(proxy);
    for port in 1..4 {
        let o = write(catalog, put(&engine("a", port))).await.expect("write");
        // Published, so that the next write is a delta of its own.
        let mut other = connect(&admin, Proxy::hello("other")).await;
        soon("published", other.follow(o.revision)).await;
    }
    let mut proxy = connect(&admin, again).await.holding(raw);
    assert_eq!(proxy.welcome.mode(), Mode::Resume);
    assert_eq!((proxy.welcome.revision, proxy.welcome.oldest_delta), (4, 1));
    soon("the deltas", proxy.follow(4)).await;
    assert_eq!(proxy.raw, held(&admin));
    assert_eq!((proxy.snapshots, proxy.deltas), (0, 3));

    // Also over a restart, when nothing has changed; a change finds it at once.
    let again = proxy.again("p");
    let raw = proxy.raw.clone();
    admin.stop().await;
    let admin = start(dir.path()).await;
    let mut proxy = connect(&admin, again).await.holding(raw);
    assert_eq!(proxy.welcome.mode(), Mode::Resume);
    write(&admin.state.catalog, put(&engine("b", 1))).await.expect("write");
    soon("a delta", proxy.follow(5)).await;
    assert_eq!(proxy.raw, held(&admin));
    admin.stop().await;
}

#[tokio::test]
async fn whoever_does_not_hold_our_past_gets_a_snapshot() {
    let dir = tempdir().expect("dir");
    let admin = start(dir.path()).await;
    write(&admin.state.catalog, put(&engine("a", 1))).await.expect("write");
    let mut proxy = connect(&admin, Proxy::hello("p")).await;
    soon("a snapshot", proxy.follow(2)).await;
    let good = proxy.again("p");
    drop(proxy);
    let cases = [
        ("ahead", v1::Subscribe { have_revision: 99, ..good.clone() }),
        ("something else", v1::Subscribe { have_digest: Bytes::from(vec![7; 16]), ..good.clone() }),
        ("something else", v1::Subscribe { have_digest: Bytes::new(), ..good.clone() }),
        ("holds nothing", v1::Subscribe { have_revision: 0, ..good.clone() }),
        ("restored", v1::Subscribe { generation: 0, ..good.clone() }),
    ];
    for (why, subscribe) in cases {
        let mut proxy = connect(&admin, subscribe).await;
        assert_eq!(proxy.welcome.mode(), Mode::Snapshot, "{why}");
        assert!(proxy.welcome.reason.contains(why), "{} is not {why}", proxy.welcome.reason);
        soon("a snapshot", proxy.follow(2)).await;
        assert_eq!(proxy.raw, held(&admin));
    }
    assert_eq!(connect(&admin, good).await.welcome.mode(), Mode::Resume);
    admin.stop().await;
}

#[tokio::test]
async fn chunks_are_no_larger_than_asked_for() {
    let dir = tempdir().expect("dir");
    let admin = start(dir.path()).await;
    let engines: String = (0..50).map(|i| engine(&format!("engine-{i}"), i + 1)).collect();
    write(&admin.state.catalog, put(&engines)).await.expect("write");
    let mut proxy = connect(&admin, v1::Subscribe { max_chunk: 40, ..Proxy::hello("p") }).await;
    soon("a snapshot", proxy.follow(2)).await;
    assert!(proxy.chunks.len() > 3, "{:?}", proxy.chunks);
    assert!(proxy.chunks.iter().all(|n| *n <= 40), "{:?}", proxy.chunks);
    assert_eq!(proxy.raw, held(&admin));
    admin.stop().await;
}

#[tokio::test]
async fn strangers_are_refused() {
    let dir = tempdir().expect("dir");
    let admin = start(dir.path()).await;
    let refused = async |token: &str, subscribe| {
        let proxy = Proxy::connect(&admin.grpc, token, subscribe);
        soon("a refusal", proxy).await.err().expect("must be refused")
    };
    let ours = admin.proxy_token.clone();
    let admin_token = std::fs::read_to_string(dir.path().join("admin.token")).expect("token");
    for wrong in ["", "x", &ours[1..], admin_token.trim()] {
        let status = refused(wrong, Proxy::hello("p")).await;
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        assert!(status.message().contains("proxy.token"), "{status}");
    }
    let other = v1::Subscribe { cluster_id: "another".into(), ..Proxy::hello("p") };
    let status = refused(&ours, other).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("another"), "{status}");
    let cluster_id = admin.state.catalog.view().cluster_id.clone();
    let newer = v1::Subscribe { cluster_id, generation: 2, ..Proxy::hello("p") };
    assert_eq!(refused(&ours, newer).await.code(), Code::FailedPrecondition);
    let nameless = v1::Subscribe { node: None, ..Proxy::hello("p") };
    assert_eq!(refused(&ours, nameless).await.code(), Code::InvalidArgument);
    assert!(admin.state.proxies.list().is_empty(), "nobody of these was let in");
    admin.stop().await;
}

#[tokio::test]
async fn a_thousand_writes_arrive_in_order_and_fewer_messages() {
    const WRITES: usize = 1_000;
    let dir = tempdir().expect("dir");
    let admin = start(dir.path()).await;
    let catalog = admin.state.catalog.clone();
    let mut proxy = connect(&admin, Proxy::hello("p")).await;
    soon("a snapshot", proxy.follow(1)).await;
    let writing = tokio::spawn(async move {
        for i in 0..WRITES {
            let name = format!("e{}", i % 37);
            let exists = catalog.view().objects.keys().any(|k| k.name.as_str() == name);
            let changes = match exists && i % 5 == 0 {
                true => delete(&[&format!("engine/{name}")]),
                false => put(&engine(&name, 1 + i)),
            };
            write(&catalog, changes).await.expect("write");
        }
    });
    // `follow` checks on every delta that it continues the one before and leads to the stated digest.
    let following = async {
        proxy.follow(1 + WRITES as u64).await;
        proxy
    };
    let proxy = tokio::time::timeout(std::time::Duration::from_secs(120), following)
        .await
        .expect("all writes arrive");
    writing.await.expect("task");
    assert_eq!(proxy.raw.digest(), held(&admin).digest());
    assert_eq!(proxy.raw, held(&admin));
    assert!(proxy.deltas < WRITES, "{} deltas", proxy.deltas);
    admin.stop().await;
}

#[tokio::test]
async fn a_clean_stop_tells_proxies_when_to_come_back() {
    let dir = tempdir().expect("dir");
    let admin = start(dir.path()).await;
    let mut proxy = connect(&admin, Proxy::hello("p")).await;
    soon("a snapshot", proxy.follow(1)).await;
    let (away, ()) = tokio::join!(soon("a goodbye", proxy.goodbye()), admin.stop());
    assert!((250..=1000).contains(&away.after_ms), "{away:?}");
    assert!(!away.reason.is_empty());
}
