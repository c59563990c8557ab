//! `/v1/{listeners,engines,routes}`: every row of the table in docs/rest.md.

use serde_json::{Value, json};

use crate::server::{Server, names};

fn engine(address: &str) -> Value {
    json!({"endpoints": [{"address": address}]})
}

#[tokio::test]
async fn the_standard_listener_is_there_from_the_start() {
    let s = Server::start().await;
    let list = s.get("/v1/listeners").await.expect(200);
    assert_eq!(names(&list), ["default"]);
    assert_eq!(list["items"][0]["spec"]["address"], "127.0.0.1:8080");
    assert_eq!(list["items"][0]["status"], json!({}));
    s.stop().await;
}

#[tokio::test]
async fn a_post_creates_and_never_replaces() {
    let s = Server::start().await;
    let body = json!({"name": "asr", "labels": {"team": "speech"}, "spec": engine("10.0.0.1:1")});
    let a = s.send("POST", "/v1/engines", body.clone()).await;
    let object = a.expect(201);
    let revision = object["revision"].as_u64().expect("a number");
    assert_eq!(a.header("location"), Some("/v1/engines/asr"));
    assert_eq!(a.header("etag"), Some(format!("\"r{revision}\"").as_str()));
    assert_eq!(a.header("pigeon-revision"), Some(revision.to_string().as_str()));
    assert_eq!(a.header("pigeon-applied"), Some("0/0"));
    assert_eq!(a.header("cache-control"), Some("no-store"));
    assert_eq!(a.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(object["kind"], "engine");
    assert_eq!(object["labels"], json!({"team": "speech"}));
    assert_eq!(object["updated_by"], "admin");
    assert_eq!(object["spec"]["pool"]["mode"], "off", "defaults are written out");
    let status = json!({"slots": null, "in_use": 0, "waiting": 0, "calls": 0, "failures": 0,
        "first_message_ms": null, "endpoints": [{"address": "10.0.0.1:1", "drain": false,
            "state": null, "reason": "", "proxies": [], "slots": null, "in_use": 0, "calls": 0,
            "failures": 0, "first_message_ms": null}]});
    assert_eq!(object["status"], status);
    let applied = &object["applied"];
    assert_eq!((&applied["done"], &applied["revision"]), (&json!(true), &json!(revision)));
    for field in ["created_at", "updated_at"] {
        let time = object[field].as_str().expect("text");
        assert!(time.contains('T') && time.ends_with('Z'), "{time}");
    }
    s.send("POST", "/v1/engines", body).await.problem(409, "PGN-A409");
    assert_eq!(s.revision().await, revision);
    s.stop().await;
}

#[tokio::test]
async fn a_get_knows_what_the_caller_has() {
    let s = Server::start().await;
    s.send("PUT", "/v1/engines/a", json!({"spec": engine("x:1")})).await.expect(201);
    let a = s.get("/v1/engines/a").await;
    let etag = a.header("etag").expect("a tag").to_owned();
    assert!(a.expect(200).get("applied").is_none());
    for tags in [etag.clone(), format!("W/{etag}"), format!("\"r999\", {etag}"), "*".into()] {
        let b = s.call("GET", "/v1/engines/a", &[("if-none-match", &tags)], "").await;
        assert_eq!((b.status, b.body.len()), (304, 0), "{tags}");
        assert_eq!(b.header("etag"), Some(etag.as_str()));
    }
    let b = s.call("GET", "/v1/engines/a", &[("if-none-match", "\"r999\"")], "").await;
    b.expect(200);
    let head = s.call("HEAD", "/v1/engines/a", &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("etag"), Some(etag.as_str()));
    let missing = s.get("/v1/engines/nope").await.problem(404, "PGN-A404");
    assert_eq!(missing["next"][0], "pigeon-ctl engine list");
    s.get("/v1/engines/Not%20A%20Name").await.problem(404, "PGN-A404");
    s.stop().await;
}

#[tokio::test]
async fn a_put_creates_or_replaces_whole() {
    let s = Server::start().await;
    let with_pool =
        json!({"endpoints": [{"address": "x:1"}], "pool": {"mode": "strict", "slots": 4}});
    let a = s.send("PUT", "/v1/engines/a", json!({"labels": {"k": "v"}, "spec": with_pool})).await;
    let first = a.expect(201);
    assert_eq!(a.header("location"), Some("/v1/engines/a"));
    let a = s.send("PUT", "/v1/engines/a", json!({"name": "a", "spec": engine("y:1")})).await;
    let second = a.expect(200);
    assert_eq!(a.header("location"), None);
    assert_eq!(second["spec"]["pool"]["mode"], "off", "what is not said is at its default");
    assert_eq!(second["labels"], json!({}));
    assert_eq!(second["uid"], first["uid"]);
    assert_eq!(second["created_at"], first["created_at"]);
    assert!(second["revision"].as_u64() > first["revision"].as_u64());
    s.stop().await;
}

#[tokio::test]
async fn a_write_that_changes_nothing_makes_no_revision() {
    let s = Server::start().await;
    let first = s.send("PUT", "/v1/engines/a", json!({"spec": engine("x:1")})).await.expect(201);
    let before = s.revision().await;
    // What came back may be sent back, read-only fields and all.
    let again = s.send("PUT", "/v1/engines/a", first.clone()).await.expect(200);
    assert_eq!(again["revision"], first["revision"]);
    let patched = s.send("PATCH", "/v1/engines/a", json!({"labels": {}})).await.expect(200);
    assert_eq!(patched["revision"], first["revision"]);
    assert_eq!(s.revision().await, before);
    s.stop().await;
}

#[tokio::test]
async fn conditions_of_a_put() {
    let s = Server::start().await;
    let put = |header: &'static str, tags: String, address: &'static str| {
        let s = &s;
        async move {
            let headers = [(header, tags.as_str())];
            s.send_with("PUT", "/v1/engines/a", &headers, json!({"spec": engine(address)})).await
        }
    };
    let gone = put("if-match", "*".into(), "x:1").await.problem(412, "PGN-A412");
    assert!(gone.get("etag").is_none(), "{gone}");
    put("if-match", "\"r1\"".into(), "x:1").await.problem(412, "PGN-A412");
    let a = put("if-none-match", "*".into(), "x:1").await;
    let (first, etag) = (a.expect(201), a.header("etag").expect("a tag").to_owned());
    let before = s.revision().await;
    let exists = put("if-none-match", "*".into(), "y:1").await.problem(412, "PGN-A412");
    assert_eq!(exists["etag"], etag);
    let stale = put("if-match", "\"r99\"".into(), "y:1").await.problem(412, "PGN-A412");
    assert_eq!(stale["etag"], etag);
    assert!(stale["detail"].as_str().expect("text").contains("engine/a"), "{stale}");
    assert_eq!(s.get("/v1/engines/a").await.expect(200)["spec"], first["spec"]);
    assert_eq!(s.revision().await, before, "nothing has changed");
    let second = put("if-match", format!("\"r98\", {etag}"), "y:1").await;
    assert_eq!(second.expect(200)["spec"]["endpoints"][0]["address"], "y:1");
    put("if-match", etag, "z:1").await.problem(412, "PGN-A412");
    put("if-match", "*".into(), "z:1").await.expect(200);
    s.stop().await;
}

#[tokio::test]
async fn a_patch_merges() {
    let s = Server::start().await;
    let body = json!({"labels": {"a": "1", "b": "2"}, "spec": {
        "endpoints": [{"address": "x:1"}, {"address": "x:2"}], "pool": {"mode": "strict", "slots": 4, "queue": 8}}});
    let a = s.send("PUT", "/v1/engines/a", body).await;
    let etag = a.header("etag").expect("a tag").to_owned();
    let patch = json!({"labels": {"a": null}, "spec": {"endpoints": [{"address": "y:1"}], "pool": {"queue": 2}}});
    let stale = [("if-match", "\"r99\"")];
    s.send_with("PATCH", "/v1/engines/a", &stale, patch.clone()).await.problem(412, "PGN-A412");
    let good = [("if-match", etag.as_str())];
    let a = s.send_with("PATCH", "/v1/engines/a", &good, patch).await;
    let object = a.expect(200);
    assert_ne!(a.header("etag"), Some(etag.as_str()));
    assert_eq!(object["labels"], json!({"b": "2"}));
    assert_eq!(object["spec"]["pool"]["queue"], 2);
    assert_eq!(object["spec"]["pool"]["slots"], 4);
    assert_eq!(object["spec"]["endpoints"].as_array().map(Vec::len), Some(1), "lists are replaced");
    s.send("PATCH", "/v1/engines/nope", json!({})).await.problem(404, "PGN-A404");
    let nope = [("if-match", "\"r1\"")];
    s.send_with("PATCH", "/v1/engines/nope", &nope, json!({})).await.problem(404, "PGN-A404");
    for kind in ["application/json", "application/json-patch+json", "text/plain"] {
        let headers = [("content-type", kind)];
        let a = s.call("PATCH", "/v1/engines/a", &headers, "{}").await;
        a.problem(415, "PGN-A415");
        assert_eq!(a.header("accept-patch"), Some("application/merge-patch+json"), "{kind}");
    }
    s.stop().await;
}

#[tokio::test]
async fn a_delete_answers_with_what_was_there() {
    let s = Server::start().await;
    let engine = s.send("PUT", "/v1/engines/a", json!({"spec": engine("x:1")})).await.expect(201);
    let route = json!({"spec": {"match": {"path": "/a*"}, "engine": "a"}});
    s.send("PUT", "/v1/routes/r1", route.clone()).await.expect(201);
    let used = s.delete("/v1/engines/a").await.problem(409, "PGN-E103");
    assert!(used["detail"].as_str().expect("text").contains("\"r1\""), "{used}");
    assert_eq!(used["errors"][0]["related"], "route/r1");
    assert_eq!(used["next"][0], "pigeon-ctl route rm r1");
    // A share of a split is a use too.
    let split = json!({"spec": {"engine": "b", "split": [{"engine": "a", "percent": 5}]}});
    s.send("PUT", "/v1/engines/b", json!({"spec": {}})).await.expect(201);
    s.send("PUT", "/v1/routes/r1", split).await.expect(200);
    s.delete("/v1/engines/a").await.problem(409, "PGN-E103");
    s.send("PUT", "/v1/routes/r1", route).await.expect(200);
    let stale = [("if-match", "\"r99\"")];
    s.call("DELETE", "/v1/routes/r1", &stale, "").await.problem(412, "PGN-A412");
    let a = s.delete("/v1/routes/r1").await;
    let gone = a.expect(200);
    assert_eq!((&gone["name"], &gone["spec"]["engine"]), (&json!("r1"), &json!("a")));
    assert_eq!(gone["applied"]["done"], true);
    let revision = s.revision().await.to_string();
    assert_eq!(a.header("pigeon-revision"), Some(revision.as_str()));
    s.get("/v1/routes/r1").await.problem(404, "PGN-A404");
    s.delete("/v1/routes/r1").await.problem(404, "PGN-A404");
    assert_eq!(s.delete("/v1/engines/a").await.expect(200)["uid"], engine["uid"]);
    s.stop().await;
}

#[tokio::test]
async fn a_dry_run_checks_all_and_changes_nothing() {
    let s = Server::start().await;
    let before = s.revision().await;
    let a = s.send("PUT", "/v1/engines/a?dry_run=true", json!({"spec": engine("x:1")})).await;
    let object = a.expect(201);
    assert_eq!(a.header("location"), Some("/v1/engines/a"));
    assert!(object.get("applied").is_none() && a.header("pigeon-applied").is_none(), "{object}");
    let bad = json!({"name": "r", "spec": {"engine": "a"}});
    s.send("POST", "/v1/routes?dry_run=true", bad).await.problem(422, "PGN-R101");
    s.get("/v1/engines/a").await.problem(404, "PGN-A404");
    let headers = [("content-type", "application/yaml")];
    let yaml = "kind: engine\nname: b\nspec: {}\n";
    let a = s.call("POST", "/v1/apply?dry_run=true", &headers, yaml).await.expect(200);
    assert_eq!(a["objects"][0]["op"], "added");
    assert!(a.get("applied").is_none(), "{a}");
    s.delete("/v1/listeners/default?dry_run=true").await.expect(200);
    s.get("/v1/listeners/default").await.expect(200);
    assert_eq!(s.revision().await, before);
    s.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let s = Server::start().await;
    let yaml: String =
        (0..25).map(|i| format!("---\nkind: engine\nname: e{i:02}\nspec: {{}}\n")).collect();
    let revision = s.apply(&yaml).await["revision"].clone();
    let (mut token, mut sizes, mut seen) = (String::new(), Vec::new(), Vec::new());
    loop {
        let page = s.get(&format!("/v1/engines?page_size=10{token}")).await.expect(200);
        assert_eq!(page["revision"], revision);
        sizes.push(names(&page).len());
        seen.extend(names(&page).into_iter().map(str::to_owned));
        match page["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    assert_eq!(sizes, [10, 10, 5]);
    let all: Vec<_> = (0..25).map(|i| format!("e{i:02}")).collect();
    assert_eq!(seen, all);
    let whole = s.get("/v1/engines?page_size=5000").await.expect(200);
    assert_eq!(names(&whole).len(), 25);
    let exact = s.get("/v1/engines?page_size=25").await.expect(200);
    assert_eq!(exact["next_page_token"], Value::Null);
    // A token need not be the name of anything.
    let rest = s.get("/v1/engines?page_token=e1z").await.expect(200);
    assert_eq!(names(&rest)[0], "e20");
    s.stop().await;
}
