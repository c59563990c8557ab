//! Revisions, the summary, route tests.

use serde_json::{Value, json};

use crate::server::{Server, names};

#[tokio::test]
async fn revisions_come_newest_first_in_pages() {
    let s = Server::start().await;
    s.send("PUT", "/v1/engines/a", json!({"spec": {}})).await.expect(201);
    s.send("PATCH", "/v1/engines/a", json!({"labels": {"k": "v"}})).await.expect(200);
    s.delete("/v1/engines/a").await.expect(200);
    let newest = s.revision().await;
    let page = s.get("/v1/revisions?page_size=2").await.expect(200);
    let items = page["items"].as_array().expect("items");
    let numbers: Vec<_> = items.iter().map(|r| r["revision"].as_u64()).collect();
    assert_eq!(numbers, [Some(newest), Some(newest - 1)]);
    let change = json!({"op": "del", "action": "delete", "kind": "engine", "name": "a"});
    assert_eq!(items[0]["changes"], json!([change]));
    assert_eq!(items[1]["changes"][0]["action"], "update");
    assert!(items[0]["at"].as_str().expect("text").ends_with('Z'));
    let token = page["next_page_token"].as_str().expect("another page");
    let next = s.get(&format!("/v1/revisions?page_size=1000&page_token={token}")).await.expect(200);
    assert_eq!(next["items"][0]["revision"], newest - 2);
    assert_eq!(next["items"][0]["changes"][0]["action"], "create");
    assert_eq!(next["next_page_token"], Value::Null);
    s.get("/v1/revisions?page_token=asr").await.problem(400, "PGN-A402");
    s.stop().await;
}

#[tokio::test]
async fn the_summary_has_all_of_it() {
    let s = Server::start().await;
    let route = "kind: route\nname: r\nspec: {match: {path: /r}, engine: e}\n";
    s.apply(&format!("{route}---\nkind: engine\nname: e\nspec: {{}}\n")).await;
    let a = s.get("/v1/summary").await;
    assert_eq!(a.header("content-type"), Some("application/json"));
    let summary = a.expect(200);
    assert_eq!(summary["revision"], s.revision().await);
    assert_eq!(summary["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(summary["totals"], json!({"listeners": 1, "engines": 1, "routes": 1, "proxies": 0}));
    assert_eq!(summary["proxies"], json!([]));
    assert_eq!(summary["engines"][0]["status"]["in_use"], 0);
    assert_eq!(summary["routes"][0]["spec"]["engine"], "e");
    assert_eq!(summary["recent"][0]["changes"].as_array().map(Vec::len), Some(2));
    s.stop().await;
}

#[tokio::test]
async fn route_tests_explain_themselves() {
    let s = Server::start().await;
    let test = |call: Value| s.send("POST", "/v1/route-tests", call);
    let none = test(json!({"path": "/"})).await.expect(200);
    assert_eq!((&none["match"], &none["considered"]), (&Value::Null, &json!([])));
    s.apply(
        "kind: engine\nname: e\nspec: {}\n---\n\
         kind: route\nname: service\nspec: {match: {grpc: p.S}, engine: e}\n---\n\
         kind: route\nname: method\nspec: {match: {grpc: p.S/M}, engine: e}\n",
    )
    .await;
    let before = s.revision().await;
    let a = test(json!({"grpc": "p.S/M"})).await.expect(200);
    assert_eq!((&a["match"]["name"], &a["match"]["kind"]), (&json!("method"), &json!("route")));
    assert_eq!(a["match"]["spec"]["engine"], "e");
    assert!(a["reason"].as_str().expect("text").contains("p.S/M"), "{a}");
    assert_eq!(a["considered"][0]["name"], "service");
    let a = test(json!({"grpc": "p.S/N", "host": "Any.Example:80", "listener": "default"})).await;
    assert_eq!(a.expect(200)["match"]["name"], "service");
    let p = test(json!({"grpc": "p.S", "host": 1, "x": 2})).await.problem(422, "PGN-V101");
    assert_eq!(p["errors"].as_array().map(Vec::len), Some(3), "{p}");
    assert_eq!(s.revision().await, before, "a test changes nothing");
    s.stop().await;
}

#[tokio::test]
async fn no_proxy_has_connected_yet() {
    let s = Server::start().await;
    let list = s.get("/v1/proxies").await.expect(200);
    assert!(names(&list).is_empty());
    let p = s.get("/v1/proxies/edge-1").await.problem(404, "PGN-A404");
    assert!(p["detail"].as_str().expect("text").contains("edge-1"), "{p}");
    s.stop().await;
}
