//! Following an admin: what is asked for, what serves, what is told back, and how trouble ends.

use bytes::Bytes;
use pigeon_proto::v1::{self, config_down::M, config_up, welcome::Mode};
use pigeon_proxy::app::SourceConfig;
use pigeon_proxy::config::Source;
use tonic::Status;

use crate::fake_admin::{CLUSTER, FakeAdmin, delta, digest, puts, state};
use crate::proxy::{Home, Running, TOKEN};

const ENGINE: &str = "kind: engine\nname: e\nspec: {endpoints: [{address: 'h:1'}]}\n";
const ROUTE: &str = "---\nkind: route\nname: r\nspec: {match: {path: /r}, engine: e}\n";
const LISTENER: &str = "---\nkind: listener\nname: default\nspec: {address: '127.0.0.1:8080'}\n";

#[tokio::test]
async fn a_fresh_proxy_takes_a_snapshot_and_follows_deltas() {
    let (mut admin, home) = (FakeAdmin::start().await, Home::new());
    let proxy = Running::start(home.config(admin.address)).await;
    let mut session = admin.session().await;
    let s = &session.subscribe;
    assert_eq!(session.authorization, format!("Bearer {TOKEN}"));
    assert_eq!((s.cluster_id.as_str(), s.have_revision, s.have_digest.len()), ("", 0, 0));
    let node = s.node.clone().expect("a node");
    assert_eq!((node.incarnation, node.name.as_str()), (1, proxy.name.as_str()));
    let at = node.listen.get("default").expect("the standard listener");
    assert!(at.starts_with("127.0.0.1:") && !at.ends_with(":0"), "{at}");

    let first = state(3, &format!("{ENGINE}{LISTENER}"));
    session.snapshot(&first).await;
    let ack = session.ack(3).await;
    assert_eq!((ack.effective, ack.rejected.len()), (3, 0));
    let stream =
        |m| matches!(m, config_up::M::Status(s) if s.source() == v1::status::Source::Stream);
    session.up(|m| stream(m).then_some(())).await;

    let second = state(4, &format!("{ENGINE}{LISTENER}{ROUTE}"));
    session.send(M::Delta(delta(&first, &second))).await;
    assert_eq!(session.ack(4).await.effective, 4);
    let beat = v1::Beat { id: 1, revision: 9, digest: digest(&second) };
    session.send(M::Beat(beat)).await;
    assert_eq!(session.ack(9).await.effective, 9);
    let serving = proxy.serving(|s| s.received == 9).await;
    assert_eq!(serving.source, Source::Stream);
    proxy.stop().await;
    session.left().await;
}

#[tokio::test]
async fn a_lost_stream_is_resumed_with_what_is_held() {
    let (mut admin, home) = (FakeAdmin::start().await, Home::new());
    let proxy = Running::start(home.config(admin.address)).await;
    let held = state(3, ENGINE);
    let mut session = admin.session().await;
    session.snapshot(&held).await;
    session.ack(3).await;
    drop(session);
    let mut session = admin.session().await;
    let s = &session.subscribe;
    assert_eq!((s.cluster_id.as_str(), s.generation, s.have_revision), (CLUSTER, 1, 3));
    assert_eq!(s.have_digest, digest(&held));
    session.welcome(Mode::Resume, 3, 10_000).await;
    // A new admin process must hear it again.
    assert_eq!(session.ack(3).await.effective, 3);
    proxy.stop().await;
}

#[tokio::test]
async fn a_gap_and_a_wrong_digest_are_cured_while_the_old_state_serves() {
    let (mut admin, home) = (FakeAdmin::start().await, Home::new());
    let proxy = Running::start(home.config(admin.address)).await;
    let (first, second) = (state(3, ENGINE), state(4, &format!("{ENGINE}{ROUTE}")));
    let mut session = admin.session().await;
    session.snapshot(&first).await;
    session.ack(3).await;
    let good = delta(&first, &second);
    session.send(M::Delta(v1::Delta { prev: 2, ..good.clone() })).await;
    session.left().await;

    let session = admin.session().await;
    assert_eq!(session.subscribe.have_revision, 3);
    session.welcome(Mode::Resume, 3, 10_000).await;
    session.send(M::Delta(v1::Delta { digest: Bytes::from_static(&[1; 16]), ..good })).await;
    session.left().await;

    let mut session = admin.session().await;
    assert_eq!((session.subscribe.have_revision, session.subscribe.have_digest.len()), (0, 0));
    assert_eq!(proxy.serving(|_| true).await.received, 3);
    session.snapshot(&second).await;
    session.ack(4).await;
    let (_, metrics) = proxy.get("/metrics").await;
    assert!(metrics.contains("\npigeon_config_digest_mismatches_total 1\n"), "{metrics}");
    assert!(metrics.contains("\npigeon_config_protocol_errors_total 2\n"), "{metrics}");
    assert!(metrics.contains("\npigeon_config_snapshots_total 2\n"), "{metrics}");
    proxy.stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_told_and_holds_nothing_up() {
    let (mut admin, home) = (FakeAdmin::start().await, Home::new());
    let proxy = Running::start(home.config(admin.address)).await;
    let mut session = admin.session().await;
    let first = state(3, &format!("{ENGINE}{ROUTE}"));
    session.snapshot(&first).await;
    session.ack(3).await;
    let mut puts = puts(ENGINE, 4);
    puts[0].spec = Bytes::from_static(b"\xff");
    let mut after = first.to_puts();
    after.retain(|p| p.key != puts[0].key);
    after.extend(puts);
    let second = pigeon_proto::model::RawState::new(4, after.clone()).expect("a state");
    session.send(M::Delta(delta(&first, &second))).await;
    let ack = session.ack(4).await;
    assert_eq!((ack.effective, ack.rejected.len()), (3, 1));
    let r = &ack.rejected[0];
    assert_eq!((r.kind.as_str(), r.name.as_str(), r.code.as_str()), ("engine", "e", "PGN-P302"));
    assert_eq!((r.mod_revision, r.serving_mod_revision), (4, 3));
    after.extend(crate::fake_admin::puts("kind: engine\nname: f\nspec: {}\n", 5));
    let third = pigeon_proto::model::RawState::new(5, after).expect("a state");
    session.send(M::Delta(delta(&second, &third))).await;
    assert_eq!(session.ack(5).await.effective, 3);
    let state = proxy.json("/state").await;
    assert_eq!(state["rejected"][0]["serving_mod_revision"], 3);
    proxy.stop().await;

    // Also after a restart the older version stands in.
    let proxy = Running::start(home.config(admin.address)).await;
    let mut session = admin.session().await;
    assert_eq!(session.subscribe.have_revision, 5);
    session.welcome(Mode::Resume, 5, 10_000).await;
    let ack = session.ack(5).await;
    assert_eq!((ack.effective, ack.rejected[0].serving_mod_revision), (3, 3));
    proxy.stop().await;
}

#[tokio::test]
async fn a_refused_token_is_named_and_a_new_one_is_read() {
    let check = |a: &str| (a != "Bearer right").then(|| Status::unauthenticated("unknown token"));
    let (mut admin, home) = (FakeAdmin::refusing(check).await, Home::new());
    let proxy = Running::start(home.config(admin.address)).await;
    let error = proxy.connection(|c| c.last_error.is_some()).await.last_error.expect("an error");
    assert!(error.contains("proxy.token") && error.contains("unknown token"), "{error}");
    assert!(!error.contains(TOKEN), "{error}");
    let (code, ready) = proxy.get("/readyz").await;
    assert_eq!(code, 503);
    assert!(ready.contains("no_config") && ready.contains("proxy.token"), "{ready}");
    std::fs::write(home.token(), "right").expect("written");
    proxy.reload.ask();
    let session = admin.session().await;
    session.snapshot(&state(1, ENGINE)).await;
    let connection = proxy.connection(|c| c.connected).await;
    assert_eq!(connection.last_error, None);
    proxy.stop().await;
}

#[tokio::test]
async fn an_admin_of_another_cluster_is_refused_by_either_side() {
    let (mut admin, home) = (FakeAdmin::start().await, Home::new());
    let proxy = Running::start(home.config(admin.address)).await;
    let mut session = admin.session().await;
    session.snapshot(&state(3, ENGINE)).await;
    session.ack(3).await;
    drop(session);
    let session = admin.session().await;
    let other = v1::Welcome { cluster_id: "other".into(), revision: 9, ..Default::default() };
    session.send(M::Welcome(other)).await;
    let said = |c: &pigeon_proxy::config::Connection| {
        c.last_error.as_ref().is_some_and(|e| e.contains("--state-dir"))
    };
    let error = proxy.connection(said).await.last_error.expect("an error");
    assert!(error.contains("cluster other"), "{error}");
    assert_eq!(proxy.serving(|_| true).await.received, 3);
    proxy.stop().await;

    drop(admin);
    let refuse = |_: &str| Some(Status::failed_precondition("you are of cluster-1"));
    let admin = FakeAdmin::refusing(refuse).await;
    let proxy = Running::start(home.config(admin.address)).await;
    let error = proxy.connection(said).await.last_error.expect("an error");
    assert!(error.contains("you are of cluster-1"), "{error}");
    proxy.stop().await;
}

#[tokio::test]
async fn a_silent_admin_counts_as_dead() {
    let (mut admin, home) = (FakeAdmin::start().await, Home::new());
    let proxy = Running::start(home.config(admin.address)).await;
    let first = admin.session().await;
    first.welcome(Mode::Resume, 0, 100).await;
    // The stream stays open, and nothing comes.
    let _second = admin.session().await;
    let error = proxy.connection(|c| c.last_error.is_some()).await.last_error.expect("an error");
    assert!(error.contains("said nothing for 300ms"), "{error}");
    first.left().await;
    proxy.stop().await;
}

#[tokio::test]
async fn a_goaway_brings_the_proxy_back() {
    let (mut admin, home) = (FakeAdmin::start().await, Home::new());
    let proxy = Running::start(home.config(admin.address)).await;
    let mut session = admin.session().await;
    session.snapshot(&state(3, ENGINE)).await;
    session.ack(3).await;
    let away = v1::GoAway { after_ms: 1, reason: "restart".into() };
    session.send(M::Goaway(away)).await;
    session.left().await;
    assert_eq!(admin.session().await.subscribe.have_revision, 3);
    proxy.stop().await;
}

#[tokio::test]
async fn an_admin_that_comes_later_is_found() {
    let (home, address) = (Home::new(), crate::proxy::nowhere());
    let proxy = Running::start(home.config(address)).await;
    let error = proxy.connection(|c| c.last_error.is_some()).await.last_error.expect("an error");
    assert!(error.contains("refused"), "{error}");
    let mut admin = FakeAdmin::on(address, |_| None).await;
    let session = admin.session().await;
    session.snapshot(&state(1, ENGINE)).await;
    proxy.serving(|s| s.received == 1).await;
    proxy.stop().await;
}

#[tokio::test]
async fn of_several_admins_any_will_do() {
    let (mut one, mut other, home) =
        (FakeAdmin::start().await, FakeAdmin::start().await, Home::new());
    let mut config = home.config(one.address);
    let SourceConfig::Admin(admin) = &mut config.source else { panic!("an admin") };
    admin.addresses.push(format!("http://{}", other.address).parse().expect("an address"));
    let proxy = Running::start(config).await;
    let mut turns = Vec::new();
    for _ in 0..3 {
        // Whichever it is with ends the stream; it goes to the other at once, also if it is asked to wait.
        let (session, which) = tokio::select! {
            session = one.session() => (session, "one"),
            session = other.session() => (session, "other"),
        };
        if turns.is_empty() {
            session.snapshot(&state(3, ENGINE)).await;
            proxy.serving(|s| s.received == 3).await;
        } else {
            assert_eq!(session.subscribe.have_revision, 3);
            session.welcome(Mode::Resume, 3, 5_000).await;
        }
        turns.push(which);
        let away = v1::GoAway { after_ms: 3_600_000, reason: "restart".into() };
        session.send(M::Goaway(away)).await;
        session.left().await;
    }
    assert!(turns[0] == turns[2] && turns[0] != turns[1], "{turns:?}");
    proxy.stop().await;

    // One that is not there is passed by.
    let (mut admin, home) = (FakeAdmin::start().await, Home::new());
    let mut config = home.config(crate::proxy::nowhere());
    let SourceConfig::Admin(both) = &mut config.source else { panic!("an admin") };
    both.addresses.push(format!("http://{}", admin.address).parse().expect("an address"));
    let proxy = Running::start(config).await;
    admin.session().await.snapshot(&state(1, ENGINE)).await;
    proxy.serving(|s| s.received == 1).await;
    proxy.stop().await;
}
