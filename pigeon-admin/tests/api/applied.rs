//! Writes and proxies: who has applied what, and waiting for it.

use pigeon_proto::v1::Rejected;
use serde_json::json;

use crate::proxy::Proxy;
use crate::server::{Server, names, until};

#[tokio::test]
async fn a_write_waits_until_every_proxy_serves_it() {
    let s = Server::start().await;
    let (mut one, mut two) =
        (Proxy::connect(&s, "edge-1").await, Proxy::connect(&s, "edge-2").await);
    let revision = s.revision().await;
    one.ack(&s, revision, revision, vec![]).await;
    two.ack(&s, revision, revision, vec![]).await;
    let body = json!({"name": "a", "spec": {}});
    let write = s.send("POST", "/v1/engines?wait=applied&timeout=20s", body);
    let proxies = async {
        for proxy in [&mut one, &mut two] {
            let at = proxy.receive(revision + 1).await;
            proxy.ack(&s, at, at, vec![]).await;
        }
    };
    let (a, ()) = tokio::join!(write, proxies);
    let object = a.expect(201);
    assert_eq!(a.header("pigeon-applied"), Some("2/2"));
    let applied = &object["applied"];
    assert_eq!((&applied["proxies"], &applied["applied"]), (&json!(2), &json!(2)));
    assert_eq!((&applied["done"], &applied["pending"]), (&json!(true), &json!([])));
    assert!(applied["ms"].is_u64(), "{applied}");
    s.stop().await;
}

#[tokio::test]
async fn a_proxy_that_says_nothing_or_no_makes_it_202() {
    let s = Server::start().await;
    let mut edge = Proxy::connect(&s, "edge-1").await;
    let revision = s.revision().await;
    edge.ack(&s, revision, revision, vec![]).await;
    let at_once = s.send("POST", "/v1/engines", json!({"name": "a", "spec": {}})).await;
    let object = at_once.expect(201);
    assert_eq!(object["applied"]["pending"], json!(["edge-1"]), "without wait: how it stands");
    let put = json!({"spec": {"endpoints": [{"address": "x:1"}]}});
    let a = s.send("PUT", "/v1/engines/a?wait=applied&timeout=50ms", put).await;
    let object = a.expect(202);
    assert_eq!(a.header("pigeon-applied"), Some("0/1"));
    assert_eq!(object["applied"]["done"], false);
    assert!(a.header("etag").is_some());
    let listener = json!({"spec": {"address": "127.0.0.1:9"}});
    let write = s.send("PUT", "/v1/listeners/x?wait=applied&timeout=20s", listener);
    let refuse = async {
        let at = edge.receive(revision + 3).await;
        let rejected = Rejected {
            kind: "listener".into(),
            name: "x".into(),
            mod_revision: at,
            code: "PGN-P301".into(),
            message: "permission denied".into(),
            serving_mod_revision: 0,
        };
        edge.ack(&s, at, at - 1, vec![rejected]).await;
        at
    };
    let (a, at) = tokio::join!(write, refuse);
    let applied = a.expect(202)["applied"].clone();
    let rejected = json!([{"proxy": "edge-1", "kind": "listener", "name": "x", "mod_revision": at,
        "serving_mod_revision": 0, "code": "PGN-P301", "message": "permission denied"}]);
    assert_eq!(applied["rejected"], rejected);
    assert_eq!(applied["pending"], json!([]));
    let proxy = s.get("/v1/proxies/edge-1").await.expect(200);
    assert_eq!((&proxy["state"], &proxy["lag"]), (&json!("rejected"), &json!(1)));
    assert_eq!(proxy["rejected"][0]["message"], "permission denied");
    let yaml = [("content-type", "application/yaml")];
    let text = "kind: engine\nname: b\nspec: {}\n";
    let a = s.call("POST", "/v1/apply?wait=applied&timeout=50ms", &yaml, text).await;
    assert_eq!(a.expect(202)["applied"]["pending"], json!(["edge-1"]));
    s.delete("/v1/engines/b?wait=applied&timeout=50ms").await.expect(202);
    s.stop().await;
}

#[tokio::test]
async fn proxies_show_what_they_said() {
    let s = Server::start().await;
    s.apply("kind: engine\nname: e\nspec: {endpoints: [{address: 'x:1'}, {address: 'x:2'}], pool: {mode: strict, slots: 8}}\n").await;
    let revision = s.revision().await;
    let edge = Proxy::connect(&s, "edge-1").await;
    let fresh = s.get("/v1/proxies/edge-1").await.expect(200);
    assert_eq!((&fresh["connected"], &fresh["state"]), (&json!(true), &json!("behind")));
    assert_eq!((&fresh["last_ack_at"], &fresh["last_ack_age_ms"]), (&json!(null), &json!(null)));
    edge.ack(&s, revision, revision, vec![]).await;
    let list = s.get("/v1/proxies").await.expect(200);
    assert_eq!((names(&list), &list["revision"]), (vec!["edge-1"], &json!(revision)));
    let proxy = &list["items"][0];
    assert_eq!((&proxy["state"], &proxy["lag"]), (&json!("in_sync"), &json!(0)));
    assert_eq!(proxy["node_id"], "node-edge-1");
    assert_eq!((&proxy["version"], &proxy["machine"]), (&json!("0.0.1"), &json!("m/b")));
    assert_eq!(
        (&proxy["revision"], &proxy["effective_revision"]),
        (&json!(revision), &json!(revision))
    );
    assert_eq!(proxy["listen"], json!({"default": "127.0.0.1:8080"}));
    assert!(proxy["last_ack_age_ms"].is_u64() && proxy["connected_at"].is_string(), "{proxy}");
    edge.report("e", "x:1", 8, 3).await;
    let engine = until(|| async {
        let engine = s.get("/v1/engines/e").await.json();
        (engine["status"]["in_use"] == 3).then_some(engine)
    })
    .await;
    let status = &engine["status"];
    assert_eq!((&status["slots"], &status["waiting"]), (&json!(8), &json!(1)));
    assert_eq!((&status["calls"], &status["failures"]), (&json!(20), &json!(2)));
    let use_of = |i: usize| {
        let e = &status["endpoints"][i];
        json!([e["address"], e["slots"], e["in_use"]])
    };
    assert_eq!((use_of(0), use_of(1)), (json!(["x:1", 8, 3]), json!(["x:2", null, 0])));
    drop(edge);
    until(|| async {
        let proxy = s.get("/v1/proxies/edge-1").await.json();
        (proxy["state"] == "disconnected").then_some(())
    })
    .await;
    s.stop().await;
}
