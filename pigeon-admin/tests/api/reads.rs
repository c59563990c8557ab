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
async fn a_revision_is_compared_and_gone_back_to() {
    let s = Server::start().await;
    s.apply(
        "kind: engine\nname: kept\nspec: {balance: random}\n---\n\
         kind: engine\nname: gone\nspec: {}\n---\n\
         kind: route\nname: r\nspec: {match: {path: /r}, engine: gone}\n",
    )
    .await;
    let then = s.revision().await;
    s.send("PATCH", "/v1/engines/kept", json!({"spec": {"balance": "p2c"}})).await.expect(200);
    s.send("PATCH", "/v1/engines/kept", json!({"labels": {"a": "b"}})).await.expect(200);
    s.delete("/v1/routes/r").await.expect(200);
    s.delete("/v1/engines/gone").await.expect(200);
    s.send("PUT", "/v1/engines/new", json!({"spec": {}})).await.expect(201);
    s.send("PUT", "/v1/engines/passing", json!({"spec": {}})).await.expect(201);
    s.delete("/v1/engines/passing").await.expect(200);
    let now = s.revision().await;

    let ops = |diff: &Value| -> Vec<String> {
        let objects = diff["objects"].as_array().expect("objects").iter();
        let word = |o: &Value, field: &str| o[field].as_str().expect("text").to_owned();
        objects
            .map(|o| format!("{} {}/{}", word(o, "op"), word(o, "kind"), word(o, "name")))
            .collect()
    };
    let diff = s.get(&format!("/v1/revisions/{then}/diff")).await.expect(200);
    assert_eq!((&diff["from"], &diff["to"]), (&json!(then), &json!(now)));
    let wanted =
        ["removed engine/gone", "changed engine/kept", "added engine/new", "removed route/r"];
    assert_eq!(ops(&diff), wanted);
    assert_eq!(diff["objects"][1]["before"]["spec"]["balance"], "random");
    assert_eq!(diff["objects"][1]["after"]["spec"]["balance"], "p2c");
    assert_eq!(diff["objects"][1]["after"]["labels"], json!({"a": "b"}));
    let other_way = s.get(&format!("/v1/revisions/{now}/diff?to={then}")).await.expect(200);
    assert_eq!(ops(&other_way)[2], "removed engine/new");

    let rollback = format!("/v1/revisions/{then}/rollback");
    let tried = s.send("POST", &format!("{rollback}?dry_run=true"), Value::Null).await.expect(200);
    assert_eq!(tried["objects"].as_array().map(Vec::len), Some(4));
    assert_eq!(s.revision().await, now, "a dry run writes nothing");
    let done = s.send("POST", &rollback, Value::Null).await.expect(200);
    assert_eq!(done["revision"], now + 1);
    assert_eq!(ops(&done)[2], "removed engine/new");
    let diff = s.get(&format!("/v1/revisions/{then}/diff")).await.expect(200);
    assert_eq!(ops(&diff), [""; 0]);
    assert_eq!(s.get("/v1/routes/r").await.expect(200)["spec"]["engine"], "gone");
    // Nothing of the history is lost: the way forward is there too.
    s.send("POST", &format!("/v1/revisions/{now}/rollback"), Value::Null).await.expect(200);
    s.get("/v1/routes/r").await.problem(404, "PGN-A404");
    // Going back to where one is makes no revision.
    let here = s.revision().await;
    let done =
        s.send("POST", &format!("/v1/revisions/{here}/rollback"), Value::Null).await.expect(200);
    assert_eq!((&done["revision"], &done["objects"]), (&json!(here), &json!([])));
    s.stop().await;
}

#[tokio::test]
async fn one_revision_is_read_and_what_is_none_is_said() {
    let s = Server::start().await;
    s.send("PUT", "/v1/engines/a", json!({"spec": {}})).await.expect(201);
    let newest = s.revision().await;
    let one = s.get(&format!("/v1/revisions/{newest}")).await.expect(200);
    assert_eq!((&one["revision"], &one["actor"]), (&json!(newest), &json!("admin")));
    assert_eq!(one["changes"][0]["name"], "a");
    for none in ["0", "99", "-1", "x", "18446744073709551616"] {
        s.get(&format!("/v1/revisions/{none}")).await.problem(404, "PGN-A404");
        s.get(&format!("/v1/revisions/{none}/diff")).await.problem(404, "PGN-A404");
        let rollback = s.send("POST", &format!("/v1/revisions/{none}/rollback"), Value::Null).await;
        rollback.problem(404, "PGN-A404");
    }
    s.get("/v1/revisions/1/diff?to=99").await.problem(404, "PGN-A404");
    s.get("/v1/revisions/1/diff?to=x").await.problem(400, "PGN-A402");
    s.stop().await;
}

/// Writers who do not know of each other: a rollback is exact, or begins anew.
#[tokio::test]
async fn a_rollback_meets_other_writes() {
    let s = Server::start().await;
    let then = s.revision().await;
    let writes = async {
        for i in 0..30 {
            let path = format!("/v1/engines/e{i}");
            s.send("PUT", &path, json!({"spec": {}})).await.expect(201);
        }
    };
    let back = async {
        for _ in 0..10 {
            let answer =
                s.send("POST", &format!("/v1/revisions/{then}/rollback"), Value::Null).await;
            if answer.status == 200 {
                let revision = answer.expect(200)["revision"].as_u64().expect("number");
                let diff = s.get(&format!("/v1/revisions/{then}/diff?to={revision}")).await;
                assert_eq!(diff.expect(200)["objects"], json!([]));
            } else {
                answer.problem(409, "PGN-A410");
            }
        }
    };
    tokio::join!(writes, back);
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
    assert_eq!(
        summary["totals"],
        json!({"listeners": 1, "engines": 1, "routes": 1, "tenants": 0, "proxies": 0})
    );
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
