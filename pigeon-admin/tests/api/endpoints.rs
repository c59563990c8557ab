//! `/v1/engines/{name}/endpoints`: how proxies see the endpoints of an engine, and draining them.

use pigeon_proto::v1::endpoint_usage::State;
use pigeon_proto::v1::{EndpointUsage, EngineUsage, Usage};
use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::server::{Server, until};

const TWO: &str =
    "kind: engine\nname: e\nspec: {endpoints: [{address: 'x:1'}, {address: 'y:1', weight: 3}]}\n";
const X: &str = "/v1/engines/e/endpoints/x:1";

/// What a proxy says of endpoint `x:1` of engine `e`.
fn says(state: State, reason: &str, first_message: Vec<u32>) -> Usage {
    let endpoint = EndpointUsage {
        engine: "e".into(),
        address: "x:1".into(),
        in_use: 2,
        slots: 4,
        state: state.into(),
        reason: reason.into(),
        calls: 10,
        failures: 3,
        first_message: first_message.clone(),
    };
    let engine = EngineUsage { engine: "e".into(), calls: 10, first_message, ..Default::default() };
    Usage { endpoints: vec![endpoint], engines: vec![engine] }
}

#[tokio::test]
async fn the_worst_view_of_an_endpoint_is_told_with_its_reason() {
    let s = Server::start().await;
    s.apply(TWO).await;
    let (one, two) = (Proxy::connect(&s, "edge-1").await, Proxy::connect(&s, "edge-2").await);
    // 10 calls each: 5 below 64 µs, 5 from 1.024 to 2.048 ms.
    let times = || vec![5, 0, 0, 0, 0, 5];
    one.tell(says(State::Healthy, "", times())).await;
    two.tell(says(State::Ejected, "5 calls in a row failed", times())).await;
    let list = until(|| async {
        let list = s.get("/v1/engines/e/endpoints").await.expect(200);
        (list["items"][0]["calls"] == 20).then_some(list)
    })
    .await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&list["next_page_token"], &list["revision"]),
        (&Value::Null, &json!(s.revision().await))
    );
    let view = |proxy, state, reason| json!({"proxy": proxy, "state": state, "reason": reason});
    let x = json!({"address": "x:1", "drain": false, "state": "ejected",
        "reason": "5 calls in a row failed",
        "proxies": [view("edge-2", "ejected", "5 calls in a row failed"), view("edge-1", "healthy", "")],
        "slots": 8, "in_use": 4, "calls": 20, "failures": 6,
        "first_message_ms": {"p50": 0.06, "p99": 2.03}});
    assert_eq!(list["items"][0], x);
    assert_eq!(list["items"][1]["state"], Value::Null, "no proxy has told of it");
    assert_eq!(s.get(X).await.expect(200), x);
    let engine = s.get("/v1/engines/e").await.expect(200);
    assert_eq!(engine["status"]["endpoints"], list["items"]);
    assert_eq!(engine["status"]["first_message_ms"], x["first_message_ms"]);
    // Once they agree there is nothing to list.
    two.tell(says(State::Healthy, "", vec![])).await;
    until(|| async {
        let x = s.get(X).await.expect(200);
        (x["state"] == "healthy" && x["proxies"] == json!([]) && x["reason"] == "").then_some(())
    })
    .await;
    s.stop().await;
}

#[tokio::test]
async fn an_endpoint_is_drained_and_nothing_else_changes() {
    let s = Server::start().await;
    s.apply(TWO).await;
    let before = s.get("/v1/engines/e").await.expect(200);
    let a = s.send("PATCH", X, json!({"drain": true})).await;
    let x = a.expect(200);
    assert_eq!((&x["address"], &x["drain"]), (&json!("x:1"), &json!(true)));
    assert_eq!((&x["applied"]["done"], a.header("pigeon-applied")), (&json!(true), Some("0/0")));
    let after = s.get("/v1/engines/e").await;
    assert_eq!(a.header("etag"), after.header("etag"));
    let mut expected = before["spec"].clone();
    expected["endpoints"][0]["drain"] = json!(true);
    assert_eq!(after.expect(200)["spec"], expected);
    let revision = s.revision().await;
    s.send("PATCH", X, json!({"drain": true})).await.expect(200);
    assert_eq!(s.revision().await, revision, "a change of nothing makes no revision");
    let dry = s.send("PATCH", &format!("{X}?dry_run=true"), json!({"drain": false})).await;
    let dry = dry.expect(200);
    assert_eq!((&dry["drain"], dry.get("applied")), (&json!(false), None));
    s.send("PATCH", "/v1/engines/e/endpoints/X:1", json!({"drain": false})).await.expect(200);
    assert_eq!(s.get("/v1/engines/e").await.expect(200)["spec"], before["spec"]);
    s.stop().await;
}

#[tokio::test]
async fn conditions_are_those_of_the_engine() {
    let s = Server::start().await;
    s.apply(TWO).await;
    let etag = s.get(X).await.header("etag").expect("a tag").to_owned();
    let drain = |tags: String, on| {
        let s = &s;
        async move {
            s.send_with("PATCH", X, &[("if-match", tags.as_str())], json!({"drain": on})).await
        }
    };
    let stale = drain("\"r1\"".into(), true).await.problem(412, "PGN-A412");
    assert_eq!(stale["etag"], etag);
    drain(etag.clone(), true).await.expect(200);
    drain(etag, false).await.problem(412, "PGN-A412");
    drain("*".into(), false).await.expect(200);
    let create = [("if-none-match", "*")];
    s.send_with("PATCH", X, &create, json!({"drain": true})).await.problem(400, "PGN-A400");
    s.stop().await;
}

#[tokio::test]
async fn writes_at_once_lose_nothing() {
    let s = Server::start().await;
    s.apply(TWO).await;
    let drain = json!({"drain": true});
    let y = s.send("PATCH", "/v1/engines/e/endpoints/y:1", drain.clone());
    let (x, y) = tokio::join!(s.send("PATCH", X, drain), y);
    x.expect(200);
    y.expect(200);
    let list = s.get("/v1/engines/e/endpoints").await.expect(200);
    assert_eq!(
        (&list["items"][0]["drain"], &list["items"][1]["drain"]),
        (&json!(true), &json!(true))
    );
    s.stop().await;
}

#[tokio::test]
async fn what_is_not_there_and_what_cannot_be_said() {
    let s = Server::start().await;
    s.apply(TWO).await;
    for path in
        ["/v1/engines/no/endpoints", "/v1/engines/No!/endpoints", "/v1/engines/no/endpoints/x:1"]
    {
        s.get(path).await.problem(404, "PGN-A404");
    }
    let p = s.get("/v1/engines/e/endpoints/z:1").await.problem(404, "PGN-A404");
    assert!(p["detail"].as_str().expect("text").contains("\"z:1\""), "{p}");
    assert_eq!(p["next"][0], "pigeon-ctl engine endpoints e");
    s.send("PATCH", "/v1/engines/e/endpoints/z:1", json!({"drain": true}))
        .await
        .problem(404, "PGN-A404");
    let p = s.send("PATCH", X, json!({"drain": 1, "weight": 2})).await.problem(422, "PGN-V101");
    assert_eq!(p["errors"].as_array().map(Vec::len), Some(2), "{p}");
    assert_eq!(p["errors"][0]["object"], "engine/e");
    let a = s.call("PATCH", X, &[("content-type", "application/json")], "{}").await;
    a.problem(415, "PGN-A415");
    s.get("/v1/engines/e/endpoints?page_size=1").await.problem(400, "PGN-A402");
    s.stop().await;
}
