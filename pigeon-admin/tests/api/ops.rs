//! What needs no token: health, metrics, the reference, codes, the dashboard's files.

use std::path::Path;

use serde_json::json;

use crate::server::Server;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

#[tokio::test]
async fn health_and_metrics() {
    let s = Server::start().await;
    for path in ["/healthz", "/readyz"] {
        let a = s.bare("GET", path, &[], "").await;
        assert_eq!((a.status, a.text()), (200, "ok\n"), "{path}");
        assert_eq!(a.header("x-content-type-options"), Some("nosniff"));
        assert!(a.header("x-request-id").is_some());
    }
    s.send("PUT", "/v1/engines/a", json!({"spec": {}})).await.expect(201);
    s.get("/v1/engines/nope").await.problem(404, "PGN-A404");
    s.get("/some/path/of/a/scanner").await.problem(404, "PGN-A407");
    s.bare("BREW", "/v1/engines", &[], "").await.problem(401, "PGN-A401");
    let a = s.bare("GET", "/metrics", &[], "").await;
    assert!(a.header("content-type").expect("a type").starts_with("text/plain; version=0.0.4"));
    let text = a.text();
    for line in [
        "pigeon_admin_http_requests_total{method=\"PUT\",route=\"/v1/engines/{name}\",status=\"201\"} 1",
        "pigeon_admin_http_requests_total{method=\"GET\",route=\"/v1/engines/{name}\",status=\"404\"} 1",
        "pigeon_admin_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 1",
        "pigeon_admin_http_requests_total{method=\"other\",route=\"/v1/engines\",status=\"401\"} 1",
        "pigeon_admin_objects{kind=\"engine\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
    assert!(!text.contains("scanner"));
    s.stop().await;
}

#[tokio::test]
async fn the_reference_is_the_committed_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let made = pigeon_admin::api::reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).expect("docs/openapi.json");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "docs/openapi.json is not what the code says; run: UPDATE=1 cargo test -p pigeon-admin --test api reference"
    );
    let s = Server::start().await;
    let a = s.bare("GET", "/openapi.json", &[], "").await;
    assert_eq!(a.header("content-type"), Some("application/json"));
    assert_eq!(a.text(), made);
    s.stop().await;
}

#[test]
fn the_reference_is_whole() {
    let document: serde_json::Value =
        serde_json::from_str(&pigeon_admin::api::reference()).expect("JSON");
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for reference in text.split("\"$ref\":\"").skip(1) {
        let target = reference.split('"').next().expect("a reference");
        let name = target.strip_prefix("#/components/schemas/").expect("a schema");
        assert!(schemas.contains_key(name), "{target} leads nowhere");
    }
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("calls") {
            let at = format!("{method} {path}");
            let id = operation["operationId"].as_str().expect(&at);
            assert!(ids.insert(id), "{id} is there twice");
            assert!(operation["summary"].is_string() && operation["tags"].is_array(), "{at}");
            let responses = operation["responses"].as_object().expect(&at);
            assert!(responses.keys().any(|s| s.starts_with('2')), "{at}");
            let named = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path = named.iter().filter(|p| p["in"] == "path").count();
            assert_eq!(in_path, path.matches('{').count(), "{at}");
            assert_eq!(path.starts_with("/v1/"), responses.contains_key("401"), "{at}");
        }
    }
    let rest = include_str!("../../../docs/rest.md");
    for path in document["paths"].as_object().expect("paths").keys() {
        let stem = path.split("/{").next().expect("a path");
        assert!(rest.contains(stem), "{stem} is not in docs/rest.md");
    }
}

#[tokio::test]
async fn objects_look_as_the_reference_says() {
    let document: serde_json::Value =
        serde_json::from_str(&pigeon_admin::api::reference()).expect("JSON");
    let s = Server::start().await;
    s.apply(
        "kind: engine\nname: a\nspec: {endpoints: [{address: 'x:1'}]}\n---\n\
         kind: route\nname: a\nspec: {match: {path: /a}, engine: a}\n---\n\
         kind: listener\nname: a\nspec: {address: '127.0.0.1:7'}\n",
    )
    .await;
    for (path, schema) in [
        ("/v1/engines/a", "EngineObject"),
        ("/v1/routes/a", "RouteObject"),
        ("/v1/listeners/a", "ListenerObject"),
        ("/v1/engines", "EnginePage"),
        ("/v1/revisions", "RevisionPage"),
        ("/v1/proxies", "ProxyPage"),
        ("/v1/summary", "Summary"),
        ("/v1/whoami", "WhoAmI"),
        ("/v1/engines/none", "Problem"),
    ] {
        let body = s.get(path).await.json();
        let body = body.as_object().expect("an object");
        let schema = &document["components"]["schemas"][schema];
        let known = schema["properties"].as_object().expect("properties");
        for field in body.keys() {
            assert!(known.contains_key(field), "{path}: {field} is not in the reference");
        }
        for field in schema["required"].as_array().expect("required") {
            let field = field.as_str().expect("text");
            assert!(body.contains_key(field), "{path}: {field} is required but absent");
        }
    }
    s.stop().await;
}

#[tokio::test]
async fn codes_are_explained() {
    let s = Server::start().await;
    let a = s.bare("GET", "/help/PGN-R101", &[], "").await;
    assert_eq!(a.status, 200);
    assert_eq!(a.header("content-type"), Some("text/markdown; charset=utf-8"));
    assert!(a.text().starts_with("# PGN-R101\n"), "{}", a.text());
    s.bare("GET", "/help/PGN-X1", &[], "").await.problem(404, "PGN-A404");
    s.stop().await;
}

#[tokio::test]
async fn the_dashboard_is_served_with_its_policy() {
    let s = Server::start().await;
    for path in ["/", "/ui"] {
        let a = s.bare("GET", path, &[], "").await;
        assert_eq!((a.status, a.header("location")), (308, Some("/ui/")), "{path}");
    }
    for (path, media) in [
        ("/ui/", "text/html; charset=utf-8"),
        ("/ui/app.js", "text/javascript; charset=utf-8"),
        ("/ui/style.css", "text/css; charset=utf-8"),
        ("/ui/vendor/preact.js", "text/javascript; charset=utf-8"),
    ] {
        let a = s.bare("GET", path, &[], "").await;
        assert_eq!((a.status, a.header("content-type")), (200, Some(media)), "{path}");
        assert_eq!(a.header("content-security-policy"), Some(POLICY));
        assert_eq!(a.header("cache-control"), Some("no-cache"));
        assert_eq!(a.header("x-content-type-options"), Some("nosniff"));
        assert!(!a.body.is_empty());
        let etag = a.header("etag").expect("a tag");
        assert_eq!(etag.len(), 66, "a SHA-256: {etag}");
        let again = s.bare("GET", path, &[("if-none-match", etag)], "").await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        let other = s.bare("GET", path, &[("if-none-match", "\"x\"")], "").await;
        assert_eq!(other.status, 200);
    }
    for path in [
        "/ui/nothing.js",
        "/ui/index.html",
        "/ui/vendor/",
        "/ui/../api.rs",
        "/ui/vendor/VENDOR.toml",
    ] {
        s.bare("GET", path, &[], "").await.problem(404, "PGN-A407");
    }
    s.stop().await;
}
