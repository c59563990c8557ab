//! Bad input: each gets one clear answer that names the field, the value and what to do, and nothing is
//! half-applied.

use serde_json::{Value, json};

use crate::server::Server;

/// Whether an error says all of `words` at `pointer` with `code`.
#[track_caller]
fn has(problem: &Value, pointer: &str, code: &str, words: &[&str]) {
    let errors = problem["errors"].as_array().expect("errors");
    let found = errors.iter().any(|e| {
        let message = e["message"].as_str().unwrap_or_default();
        e["pointer"] == pointer && e["code"] == code && words.iter().all(|w| message.contains(w))
    });
    assert!(found, "{pointer} {code} {words:?} in {problem:#}");
}

#[tokio::test]
async fn wrong_content_gets_every_error_at_once() {
    let s = Server::start().await;
    let before = s.revision().await;
    let body = json!({"name": "has space", "labels": {"a": 1}, "colour": "red", "spec": {
        "endpoints": [{"address": "nope"}, {"address": "x:1", "wieght": 2}],
        "pool": {"mode": "strict", "slots": "many"}, "balance": "fair"}});
    let p = s.send("POST", "/v1/engines", body).await.problem(422, "PGN-V105");
    has(&p, "/name", "PGN-V105", &["\"has space\"", "lower-case"]);
    has(&p, "/labels/a", "PGN-V102", &["text"]);
    has(&p, "/colour", "PGN-V101", &["no field \"colour\""]);
    has(&p, "/spec/endpoints/0/address", "PGN-V105", &["\"nope\"", "host:port", "10.0.0.7:50051"]);
    has(&p, "/spec/endpoints/1/wieght", "PGN-V101", &["\"wieght\"", "\"weight\""]);
    has(&p, "/spec/pool/slots", "PGN-V102", &["\"many\"", "number"]);
    has(&p, "/spec/balance", "PGN-V104", &["\"fair\"", "least_connections"]);
    assert_eq!(p["title"], "The configuration is not valid");
    assert!(p["detail"].as_str().expect("text").contains("has space"), "{p}");
    assert_eq!(p["instance"], "/v1/engines");
    s.send("POST", "/v1/engines", json!({"spec": {}})).await.problem(422, "PGN-V103");
    assert_eq!(s.revision().await, before);
    s.stop().await;
}

#[tokio::test]
async fn wrong_references_and_overlaps() {
    let s = Server::start().await;
    let route = |m: Value| json!({"spec": {"match": m, "engine": "asr"}});
    let p = s.send("PUT", "/v1/routes/a", route(json!({"listener": "l"}))).await;
    let p = p.problem(422, "PGN-R101");
    assert_eq!(p["errors"][0]["object"], "route/a");
    has(&p, "/spec/engine", "PGN-R101", &["no engine \"asr\"", "pigeon-ctl engine add asr"]);
    has(&p, "/spec/match/listener", "PGN-R102", &["no listener \"l\""]);
    assert_eq!(p["next"], json!(["pigeon-ctl engine list", "pigeon-ctl listener list"]));
    s.send("PUT", "/v1/engines/asr", json!({"spec": {}})).await.expect(201);
    s.send("PUT", "/v1/routes/a", route(json!({"path": "/users*"}))).await.expect(201);
    let p = s.send("PUT", "/v1/routes/b", route(json!({"path": "/users/*"}))).await;
    let p = p.problem(422, "PGN-R104");
    has(&p, "/spec/priority", "PGN-R104", &["another priority", "pigeon-ctl route set"]);
    s.get("/v1/routes/b").await.problem(404, "PGN-A404");
    let p = s.send("PATCH", "/v1/engines/asr", json!({"spec": {"pool": {"mode": "strict"}}})).await;
    has(&p.problem(422, "PGN-E102"), "/spec/pool/slots", "PGN-E102", &["missing"]);
    let taken = json!({"spec": {"address": "0.0.0.0:8080"}});
    s.send("PUT", "/v1/listeners/other", taken).await.problem(422, "PGN-L101");
    s.stop().await;
}

#[tokio::test]
async fn names_of_path_and_body() {
    let s = Server::start().await;
    let put = |path: &'static str, body: Value| s.send("PUT", path, body);
    let p = put("/v1/engines/a", json!({"name": "b", "spec": {}})).await.problem(422, "PGN-V105");
    has(&p, "/name", "PGN-V105", &["\"b\"", "\"a\"", "cannot be renamed"]);
    let p = put("/v1/engines/has%20space", json!({"spec": {}})).await.problem(422, "PGN-V105");
    has(&p, "/name", "PGN-V105", &["\"has space\""]);
    let p = put("/v1/engines/a", json!({"kind": "route", "spec": {}})).await;
    has(&p.problem(422, "PGN-V105"), "/kind", "PGN-V105", &["route", "engine"]);
    put("/v1/engines/a", json!({"spec": {}})).await.expect(201);
    let p = s.send("PATCH", "/v1/engines/a", json!({"name": "b"})).await.problem(422, "PGN-V105");
    has(&p, "/name", "PGN-V105", &["cannot be renamed"]);
    s.send("PATCH", "/v1/engines/a", json!(["x"])).await.problem(422, "PGN-V102");
    let p = s.send("PATCH", "/v1/engines/a", json!({"spce": {}})).await;
    has(&p.problem(422, "PGN-V101"), "/spce", "PGN-V101", &["did you mean \"spec\""]);
    put("/v1/engines/%ff", json!({"spec": {}})).await.problem(400, "PGN-A400");
    s.stop().await;
}

#[tokio::test]
async fn what_is_not_json_or_yaml() {
    let s = Server::start().await;
    let json_type = [("content-type", "application/json")];
    let post = |body: &'static str| s.call("POST", "/v1/engines", &json_type, body);
    let p = post("{\"name\": \"a\",\n  \"spec\": {,}}").await.problem(400, "PGN-V100");
    let detail = p["detail"].as_str().expect("text");
    assert!(detail.contains("line 2 column 12"), "{detail}");
    let p = post("").await.problem(400, "PGN-V100");
    assert!(p["detail"].as_str().expect("text").contains("empty"), "{p}");
    post("[[[[").await.problem(400, "PGN-V100");
    let yaml_type = [("content-type", "application/yaml")];
    let apply = |body: &'static str| s.call("POST", "/v1/apply", &yaml_type, body);
    let p = apply("kind: engine\nname: a\nspec:\n\tendpoints: []\n").await.problem(400, "PGN-V100");
    let detail = p["detail"].as_str().expect("text");
    assert!(detail.contains("line 4") && detail.contains("tab"), "{detail}");
    apply("kind: [engine\n").await.problem(400, "PGN-V100");
    let a = s.call("POST", "/v1/apply", &yaml_type, &b"kind: \xff"[..]).await;
    a.problem(400, "PGN-V100");
    s.stop().await;
}

#[tokio::test]
async fn media_types() {
    let s = Server::start().await;
    let body = json!({"spec": {}}).to_string();
    for kind in ["text/plain", "application/yaml", "application/x-www-form-urlencoded"] {
        let headers = [("content-type", kind)];
        let p = s.call("PUT", "/v1/engines/a", &headers, body.clone()).await;
        let p = p.problem(415, "PGN-A415");
        let detail = p["detail"].as_str().expect("text");
        assert!(detail.contains(kind) && detail.contains("application/json"), "{detail}");
    }
    let p = s.call("PUT", "/v1/engines/a", &[], body.clone()).await.problem(415, "PGN-A415");
    assert!(p["detail"].as_str().expect("text").contains("no Content-Type"), "{p}");
    let packed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    s.call("PUT", "/v1/engines/a", &packed, body.clone()).await.problem(415, "PGN-A415");
    let headers = [("content-type", "Application/JSON; charset=utf-8")];
    s.call("PUT", "/v1/engines/a", &headers, body).await.expect(201);
    s.call("POST", "/v1/apply", &[("content-type", "text/plain")], "")
        .await
        .problem(415, "PGN-A415");
    s.call("POST", "/v1/apply", &[("content-type", "text/yaml")], "").await.expect(200);
    s.stop().await;
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let s = Server::start().await;
    let of = |bytes: usize| {
        let mut body = String::from("{\"name\":\"a\",\"spec\":{}}");
        body.push_str(&" ".repeat(bytes - body.len()));
        body
    };
    let json_type = [("content-type", "application/json")];
    let large = s.call("POST", "/v1/engines", &json_type, of((8 << 20) + 1)).await;
    let p = large.problem(413, "PGN-A413");
    assert!(p["detail"].as_str().expect("text").contains("8 MiB"), "{p}");
    s.get("/v1/engines/a").await.problem(404, "PGN-A404");
    s.call("POST", "/v1/engines", &json_type, of(8 << 20)).await.expect(201);
    let mut body = String::from("{\"objects\":[]}");
    body.push_str(&" ".repeat((8 << 20) + 1));
    s.call("POST", "/v1/apply", &json_type, body.clone()).await.expect(200);
    body.push_str(&" ".repeat(24 << 20));
    let p = s.call("POST", "/v1/apply", &json_type, body).await.problem(413, "PGN-A413");
    assert!(p["detail"].as_str().expect("text").contains("32 MiB"), "{p}");
    s.stop().await;
}

#[tokio::test]
async fn queries_paths_and_methods() {
    let s = Server::start().await;
    let p = s.get("/v1/engines?page_sise=1&page_token=x&page_token=y").await;
    let p = p.problem(400, "PGN-A402");
    has(&p, "?page_sise", "PGN-A402", &["no parameter", "page_size, page_token"]);
    has(&p, "?page_token", "PGN-A402", &["twice"]);
    let put = |query: &str| {
        let path = format!("/v1/engines/a{query}");
        let s = &s;
        async move { s.send("PUT", &path, json!({"spec": {}})).await.problem(400, "PGN-A402") }
    };
    has(&put("?dry_run=maybe").await, "?dry_run", "PGN-A402", &["\"maybe\"", "true or false"]);
    has(&put("?wait=applied&timeout=5").await, "?timeout", "PGN-A402", &["\"5\"", "unit"]);
    has(&put("?wait=applied&timeout=5m").await, "?timeout", "PGN-A402", &["longer than 60s"]);
    has(&put("?timeout=5s").await, "?timeout", "PGN-A402", &["wait=applied"]);
    s.get("/v1/engines/a").await.problem(404, "PGN-A404");
    for path in ["/v1/whoami", "/v1/summary", "/v1/proxies", "/v1/engines/a"] {
        let p = s.get(&format!("{path}?x=1")).await.problem(400, "PGN-A402");
        has(&p, "?x", "PGN-A402", &["none is taken"]);
    }
    for path in ["/v1/nothing", "/v1/engines/a/b", "/nothing", "/v1", "/v1/engines/"] {
        let p = s.get(path).await.problem(404, "PGN-A407");
        assert_eq!(p["instance"], path);
    }
    let cases = [
        ("DELETE", "/v1/engines", "GET,HEAD,POST"),
        ("POST", "/v1/engines/a", "GET,HEAD,PUT,PATCH,DELETE"),
        ("GET", "/v1/apply", "POST"),
        ("PUT", "/v1/sessions", "POST,DELETE"),
        ("POST", "/healthz", "GET,HEAD"),
    ];
    for (method, path, allow) in cases {
        let a = s.call(method, path, &[], "").await;
        a.problem(405, "PGN-A405");
        let sorted = |list: &str| {
            let mut list: Vec<_> = list.split(',').map(str::to_owned).collect();
            list.sort();
            list
        };
        assert_eq!(sorted(a.header("allow").expect("allow")), sorted(allow), "{method} {path}");
    }
    s.stop().await;
}

#[tokio::test]
async fn conditions_that_do_not_parse() {
    let s = Server::start().await;
    let engine = json!({"spec": {}});
    s.send("PUT", "/v1/engines/a", engine.clone()).await.expect(201);
    for tags in ["r2", "\"2\"", "\"r2", "W/\"r2\"", "", "\"r2\" \"r3\""] {
        let headers = [("if-match", tags)];
        let p = s.send_with("PUT", "/v1/engines/a", &headers, engine.clone()).await;
        let p = p.problem(400, "PGN-A406");
        assert!(p["detail"].as_str().expect("text").contains("\"r42\""), "{p}");
        s.call("DELETE", "/v1/engines/a", &headers, "").await.problem(400, "PGN-A406");
    }
    s.call("GET", "/v1/engines/a", &[("if-none-match", "r2")], "").await.problem(400, "PGN-A406");
    let headers = [("if-none-match", "\"r2\"")];
    s.send_with("PUT", "/v1/engines/a", &headers, engine.clone()).await.problem(400, "PGN-A406");
    let both = [("if-none-match", "*"), ("if-match", "*")];
    s.send_with("PUT", "/v1/engines/a", &both, engine).await.problem(400, "PGN-A406");
    s.get("/v1/engines/a").await.expect(200);
    s.stop().await;
}
