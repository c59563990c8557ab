//! What the status port answers.

use crate::fake_admin::{FakeAdmin, state};
use crate::proxy::{Home, Running, TOKEN};

#[tokio::test]
async fn from_no_configuration_to_ready() {
    let (mut admin, home) = (FakeAdmin::start().await, Home::new());
    let proxy = Running::start(home.config(admin.address)).await;
    let mut session = admin.session().await;
    assert_eq!(proxy.get("/healthz").await.0, 200);
    let (code, body) = proxy.get("/readyz").await;
    assert_eq!(code, 503);
    assert!(body.contains(r#""reason":"no_config""#), "{body}");
    let metrics = proxy.get("/metrics").await.1;
    for line in [
        "pigeon_config_source{source=\"none\"} 1",
        "pigeon_config_revision 0",
        "pigeon_config_connected 0",
        "pigeon_config_age_seconds 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in {metrics}");
    }
    let text = "kind: listener\nname: default\nspec: {address: '127.0.0.1:8080'}\n";
    session.snapshot(&state(3, text)).await;
    session.ack(3).await;
    let (code, body) = proxy.get("/readyz").await;
    assert_eq!(code, 200, "{body}");
    let metrics = proxy.get("/metrics").await.1;
    for line in [
        "pigeon_config_source{source=\"none\"} 0",
        "pigeon_config_source{source=\"stream\"} 1",
        "pigeon_config_revision 3",
        "pigeon_config_effective_revision 3",
        "pigeon_config_connected 1",
        "pigeon_config_rejected 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in {metrics}");
    }
    proxy.stop().await;
}

#[tokio::test]
async fn the_state_tells_everything_but_secrets() {
    let (mut admin, home) = (FakeAdmin::start().await, Home::new());
    let mut config = home.config(admin.address);
    config.name = Some("edge-1".parse().expect("a name"));
    let proxy = Running::start(config).await;
    let mut session = admin.session().await;
    session.snapshot(&state(3, "kind: engine\nname: e\nspec: {}\n")).await;
    session.ack(3).await;
    let (code, text) = proxy.get("/state").await;
    assert_eq!(code, 200);
    assert!(!text.contains(TOKEN), "{text}");
    let s: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let node = session.subscribe.node.as_ref().expect("a node");
    for (field, value) in [
        ("/name", "edge-1".into()),
        ("/node_id", node.node_id.clone().into()),
        ("/source", "stream".into()),
        ("/revision", 3.into()),
        ("/effective_revision", 3.into()),
        ("/admin/connected", true.into()),
        ("/draining", false.into()),
        ("/calls_open", 0.into()),
    ] {
        assert_eq!(s.pointer(field), Some(&value), "{field} in {text}");
    }
    assert_eq!(proxy.get("/nothing").await.0, 404);
    proxy.stop().await;
}
