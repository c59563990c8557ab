//! Tokens: what each role and scope may do, how they end, and what is told of them.

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::server::{Answer, PATIENCE, Server};

/// Makes a token, and gives it.
async fn token(s: &Server, body: Value) -> String {
    let made = s.send("POST", "/v1/tokens", body).await;
    assert_eq!(made.header("cache-control"), Some("no-store"), "{made:?}");
    made.expect(201)["token"].as_str().expect("a token").to_owned()
}

async fn call(s: &Server, token: &str, method: &str, path: &str, body: Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let merge = method == "PATCH";
    let kind = if merge { "application/merge-patch+json" } else { "application/json" };
    let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    s.bare(method, path, &headers, body).await
}

#[tokio::test]
async fn each_role_may_do_what_it_says_and_no_more() {
    let s = Server::start().await;
    s.apply("kind: engine\nname: a\nspec: {endpoints: [{address: 'h:1'}, {address: 'h:2'}]}\n")
        .await;
    let drain = |on: bool| json!({"spec": {"endpoints": [{"address": "h:1", "drain": on}, {"address": "h:2"}]}});
    // The least role for each call.
    let calls = [
        (0, "GET", "/v1/engines", Value::Null, 200),
        (0, "GET", "/v1/audit-events", Value::Null, 200),
        (0, "POST", "/v1/route-tests", json!({"path": "/x", "method": "GET"}), 200),
        (1, "PATCH", "/v1/engines/a", drain(true), 200),
        (1, "PATCH", "/v1/engines/a/endpoints/h:2", json!({"drain": true}), 200),
        (1, "PATCH", "/v1/engines/a", drain(false), 200),
        (2, "PATCH", "/v1/engines/a", json!({"spec": {"balance": "p2c"}}), 200),
        (2, "PUT", "/v1/engines/b", json!({"spec": {}}), 201),
        (2, "POST", "/v1/engines", json!({"name": "c", "spec": {}}), 201),
        (2, "DELETE", "/v1/engines/c", Value::Null, 200),
        (2, "POST", "/v1/revisions/2/rollback", Value::Null, 200),
        (3, "GET", "/v1/tokens", Value::Null, 200),
        (3, "POST", "/v1/tokens", json!({"name": "other", "role": "viewer"}), 201),
        (3, "DELETE", "/v1/tokens/other", Value::Null, 204),
    ];
    for (has, role) in ["viewer", "operator", "editor", "admin"].into_iter().enumerate() {
        let token = token(&s, json!({"name": format!("the-{role}"), "role": role})).await;
        let who = call(&s, &token, "GET", "/v1/whoami", Value::Null).await.expect(200);
        assert_eq!(who, json!({"name": format!("the-{role}"), "role": role}));
        for (least, method, path, body, status) in &calls {
            let before = s.revision().await;
            let answer = call(&s, &token, method, path, body.clone()).await;
            if has >= *least {
                assert_eq!(answer.status, *status, "{role} {method} {path}: {answer:?}");
                continue;
            }
            let problem = answer.problem(403, "PGN-A414");
            // What a PATCH changes is looked at only for those who may change something.
            let least = if has == 0 && *method == "PATCH" { 1 } else { *least };
            let needed = ["viewer", "operator", "editor", "admin"][least];
            let said = problem["detail"].as_str().expect("text");
            assert!(said.contains(&format!("the role {needed}")), "{method} {path}: {said}");
            assert_eq!(s.revision().await, before, "{role} {method} {path}");
        }
    }
    s.stop().await;
}

#[tokio::test]
async fn a_scope_keeps_to_its_objects() {
    let s = Server::start().await;
    s.apply("kind: engine\nname: ours\nlabels: {team: a, env: prod}\nspec: {}\n---\nkind: engine\nname: theirs\nspec: {}\n").await;
    let body = json!({"name": "team-a", "role": "editor", "scope": {"team": "a"}});
    let token = token(&s, body).await;
    let change = |labels: Value| json!({"labels": labels, "spec": {"balance": "random"}});
    let ok = call(&s, &token, "PATCH", "/v1/engines/ours", change(json!({"env": "test"}))).await;
    ok.expect(200);
    let new = json!({"labels": {"team": "a"}, "spec": {}});
    call(&s, &token, "PUT", "/v1/engines/new", new).await.expect(201);
    let before = s.revision().await;
    // Not another's, not one without the label, not one that leaves or joins it.
    for (method, path, body) in [
        ("PATCH", "/v1/engines/theirs", change(json!({}))),
        ("PATCH", "/v1/engines/theirs", change(json!({"team": "a"}))),
        ("PATCH", "/v1/engines/ours", change(json!({"team": "b"}))),
        ("PATCH", "/v1/engines/ours", change(json!({"team": null}))),
        ("PUT", "/v1/engines/free", json!({"spec": {}})),
        ("DELETE", "/v1/engines/theirs", Value::Null),
        ("POST", "/v1/revisions/1/rollback", Value::Null),
    ] {
        let problem = call(&s, &token, method, path, body).await.problem(403, "PGN-A414");
        assert!(problem["detail"].as_str().expect("text").contains("team=a"), "{problem}");
    }
    // One of several is enough to refuse them all; also in a dry run.
    let both = json!([
        {"kind": "engine", "name": "one", "labels": {"team": "a"}, "spec": {}},
        {"kind": "engine", "name": "two", "spec": {}},
    ]);
    for path in ["/v1/apply", "/v1/apply?dry_run=true"] {
        call(&s, &token, "POST", path, json!({"objects": both})).await.problem(403, "PGN-A414");
    }
    assert_eq!(s.revision().await, before);
    let who = call(&s, &token, "GET", "/v1/whoami", Value::Null).await.expect(200);
    assert_eq!(who["scope"], json!({"team": "a"}));
    s.stop().await;
}

#[tokio::test]
async fn a_token_is_shown_once_and_ends_when_it_is_revoked() {
    let s = Server::start().await;
    let token = token(&s, json!({"name": "ci", "role": "admin"})).await;
    assert!(token.starts_with("pgn_") && token.len() == 77, "{token}");
    let id = token.split('_').nth(1).expect("an id").to_owned();
    let secret = token.split('_').nth(2).expect("a secret").to_owned();
    let log_in = s.bare(
        "POST",
        "/v1/sessions",
        &[("content-type", "application/json")],
        json!({"token": token}).to_string(),
    );
    let cookie = log_in.await.header("set-cookie").expect("a cookie").to_owned();
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let session = [("cookie", cookie.as_str())];
    let who = s.bare("GET", "/v1/whoami", &session, "").await.expect(200);
    assert_eq!(who, json!({"name": "ci", "role": "viewer"}), "a session only reads");
    s.bare("GET", "/v1/tokens", &session, "").await.problem(403, "PGN-A414");

    call(&s, &token, "PUT", "/v1/engines/a", json!({"spec": {}})).await.expect(201);
    let engine = s.get("/v1/engines/a").await.expect(200);
    assert_eq!(engine["updated_by"], "ci");
    let list = s.get("/v1/tokens").await;
    assert!(!list.text().contains(&secret) && list.text().contains(&id), "{list:?}");
    let ci = list.expect(200)["items"][0].clone();
    assert_eq!(
        (&ci["name"], &ci["role"], &ci["created_by"]),
        (&"ci".into(), &"admin".into(), &"admin".into())
    );
    assert!(ci["last_used_at"].is_string() && ci["expires"].is_null(), "{ci}");

    s.send("POST", "/v1/tokens", json!({"name": "ci", "role": "viewer"}))
        .await
        .problem(409, "PGN-A409");
    let twice = s.send("POST", "/v1/tokens?dry_run=true", json!({"name": "ci", "role": "viewer"}));
    twice.await.problem(409, "PGN-A409");
    let dry = s.send("POST", "/v1/tokens?dry_run=true", json!({"name": "dry", "role": "viewer"}));
    assert!(dry.await.expect(201).get("token").is_none());
    assert_eq!(s.delete("/v1/tokens/ci?dry_run=true").await.status, 204);
    call(&s, &token, "GET", "/v1/engines", Value::Null).await.expect(200);

    assert_eq!(s.delete("/v1/tokens/ci").await.status, 204);
    call(&s, &token, "GET", "/v1/engines", Value::Null).await.problem(401, "PGN-A401");
    s.bare("GET", "/v1/whoami", &session, "").await.problem(401, "PGN-A401");
    s.delete("/v1/tokens/ci").await.problem(404, "PGN-A404");
    assert_eq!(s.get("/v1/tokens").await.expect(200)["items"], json!([]));
    let audit = s.get("/v1/audit-events?kind=token").await;
    assert!(!audit.text().contains(&secret));
    let audit = audit.expect(200);
    let actions: Vec<_> =
        audit["items"].as_array().expect("items").iter().map(|e| e["action"].clone()).collect();
    assert_eq!(actions, ["delete", "create"]);
    assert_eq!(
        (&audit["items"][0]["revision"], &audit["items"][0]["before"]["role"]),
        (&Value::Null, &"admin".into())
    );
    s.stop().await;
}

#[tokio::test]
async fn a_token_expires_and_its_streams_end() {
    let s = Server::start().await;
    let past = json!({"name": "old", "role": "viewer", "expires": "2001-01-01T00:00:00Z"});
    let old = token(&s, past).await;
    let problem = call(&s, &old, "GET", "/v1/engines", Value::Null).await.problem(401, "PGN-A401");
    assert!(problem["detail"].as_str().expect("text").contains("\"old\" has expired"), "{problem}");
    let later = json!({"name": "new", "role": "viewer", "expires": "2099-01-01T00:00:00Z"});
    let new = token(&s, later).await;
    call(&s, &new, "GET", "/v1/engines", Value::Null).await.expect(200);
    let bearer = format!("Bearer {new}");
    let stream = s.raw("GET", "/v1/stream", &[("authorization", &bearer)], "").await;
    assert_eq!(stream.status(), 200);
    assert_eq!(s.delete("/v1/tokens/new").await.status, 204);
    // The next thing there would be to say ends it.
    s.apply("kind: engine\nname: a\nspec: {}\n").await;
    let end = tokio::time::timeout(PATIENCE, stream.into_body().collect()).await;
    end.expect("the stream ends").expect("well");
    s.stop().await;
}

#[tokio::test]
async fn a_wrong_wish_is_refused_with_every_reason() {
    let s = Server::start().await;
    let problem =
        s.send("POST", "/v1/tokens", json!({"name": "X", "role": "root", "for": "me"})).await;
    let problem = problem.problem(422, "PGN-V105");
    let errors = problem["errors"].as_array().expect("errors");
    assert_eq!(errors.len(), 3, "{problem}");
    assert!(problem.to_string().contains("viewer, operator, editor, admin"), "{problem}");
    s.stop().await;
}
