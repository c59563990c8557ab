//! Starting with, and without, what an earlier run has kept.

use pigeon_proto::v1::welcome::Mode;
use pigeon_proxy::config::Source;
use std::time::Duration;
use tokio::net::TcpListener;

use crate::fake_admin::{FakeAdmin, state};
use crate::proxy::{Home, Running, nowhere};

const TEXT: &str = "kind: engine\nname: e\nspec: {}\n---\n\
    kind: listener\nname: default\nspec: {address: '127.0.0.1:8080'}\n";

/// A home whose proxy has served revision 3 and is gone.
async fn used_home() -> Home {
    let (mut admin, home) = (FakeAdmin::start().await, Home::new());
    let proxy = Running::start(home.config(admin.address)).await;
    let mut session = admin.session().await;
    session.snapshot(&state(3, TEXT)).await;
    session.ack(3).await;
    proxy.stop().await;
    home
}

#[tokio::test]
async fn a_restart_without_the_admin_serves_at_once() {
    let home = used_home().await;
    // First contact is awaited for ten minutes here, but a refused connection says enough.
    let proxy = Running::start(home.config(nowhere())).await;
    let serving = proxy.serving(|s| s.received == 3).await;
    assert_eq!((serving.source, serving.effective), (Source::Lkg, 3));
    assert_eq!(serving.listen.len(), 1);
    assert_eq!(proxy.get("/readyz").await.0, 200);
    let state = proxy.json("/state").await;
    assert_eq!((&state["source"], &state["incarnation"]), (&"lkg".into(), &2.into()));
    proxy.stop().await;
}

#[tokio::test]
async fn a_restart_with_a_hanging_admin_serves_after_first_contact() {
    let home = used_home().await;
    // Takes connections (the system does) and never says a word.
    let hanging = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut config = home.config(hanging.local_addr().expect("address"));
    config.timings.first_contact = Duration::from_millis(50);
    let proxy = Running::start(config).await;
    assert_eq!(proxy.serving(|s| s.received == 3).await.source, Source::Lkg);
    // The attempt was still under way: nothing but the time has brought it about.
    assert_eq!(proxy.connection(|_| true).await.last_error, None);
    proxy.stop().await;
}

#[tokio::test]
async fn an_admin_that_answers_confirms_it() {
    let home = used_home().await;
    let mut admin = FakeAdmin::start().await;
    let proxy = Running::start(home.config(admin.address)).await;
    let mut session = admin.session().await;
    // Until the admin has answered, or is known not to, nothing old is served.
    assert_eq!(proxy.serving(|_| true).await.source, Source::None);
    session.welcome(Mode::Resume, 3, 10_000).await;
    session.ack(3).await;
    assert_eq!(proxy.serving(|s| s.received == 3).await.source, Source::Stream);
    proxy.stop().await;
}

#[tokio::test]
async fn an_admin_that_comes_back_takes_over_from_it() {
    let home = used_home().await;
    let address = nowhere();
    let proxy = Running::start(home.config(address)).await;
    proxy.serving(|s| s.source == Source::Lkg).await;
    let mut admin = FakeAdmin::on(address, |_| None).await;
    let mut session = admin.session().await;
    assert_eq!(session.subscribe.have_revision, 3);
    session.snapshot(&state(7, "kind: engine\nname: f\nspec: {}\n")).await;
    session.ack(7).await;
    let serving = proxy.serving(|s| s.received == 7).await;
    assert_eq!((serving.source, serving.listen.len()), (Source::Stream, 0));
    proxy.stop().await;
}

#[tokio::test]
async fn a_corrupt_file_is_put_aside_and_never_fatal() {
    let home = used_home().await;
    let mut bytes = std::fs::read(home.last_known_good()).expect("kept");
    let last = bytes.len() - 1;
    bytes[last] ^= 0xff;
    std::fs::write(home.last_known_good(), bytes).expect("written");
    let proxy = Running::start(home.config(nowhere())).await;
    proxy.connection(|c| c.last_error.is_some()).await;
    let serving = proxy.serving(|_| true).await;
    assert_eq!((serving.source, serving.received), (Source::None, 0));
    // The standard listener is open all the same; its calls are answered `no_config`.
    assert_eq!(serving.listen.len(), 1);
    assert_eq!(proxy.get("/readyz").await.0, 503);
    assert_eq!(proxy.get("/healthz").await.0, 200);
    assert!(!home.last_known_good().exists());
    assert!(home.state().join("last-known-good.corrupt").exists());
    proxy.stop().await;
}
