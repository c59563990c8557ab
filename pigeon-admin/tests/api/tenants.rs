//! `/v1/tenants`: API keys are told once, and kept as hashes.

use serde_json::{Value, json};

use crate::server::Server;

const KEYS: &str = "/v1/tenants/acme/keys";

#[tokio::test]
async fn a_key_is_told_once() {
    let s = Server::start().await;
    s.apply("kind: tenant\nname: acme\nspec: {}\n---\nkind: tenant\nname: other\nspec: {}\n").await;
    let answer = s.send("POST", KEYS, json!({"id": "k1", "expires": "2027-01-01T00:00:00Z"})).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("location"), Some("/v1/tenants/acme/keys/k1"));
    let made = answer.expect(201);
    let key = made["key"].as_str().expect("a key").to_owned();
    assert!(key.starts_with("pgk_k1_") && key.len() == 71, "{key}");
    let secret = &key[7..];
    let about = json!({"id": "k1", "expires": "2027-01-01T00:00:00Z"});
    let list = s.get(KEYS).await.expect(200);
    assert_eq!(list["items"], json!([about]));
    let tenant = s.get("/v1/tenants/acme").await.expect(200);
    let hash = pigeon_proto::model::KeyHash::of(key.as_bytes()).to_string();
    assert_eq!(tenant["spec"]["keys"][0]["sha256"], json!(hash));
    for place in ["/v1/tenants", "/v1/revisions", "/v1/summary"] {
        assert!(!s.get(place).await.expect(200).to_string().contains(secret), "{place}");
    }
    // Made up where none is given, and different each time.
    let made = s.send("POST", KEYS, json!({})).await.expect(201);
    assert_ne!(made["key"], json!(key));
    s.stop().await;
}

#[tokio::test]
async fn ids_are_taken_once_and_revoking_can_be_repeated() {
    let s = Server::start().await;
    s.apply("kind: tenant\nname: acme\nspec: {}\n---\nkind: tenant\nname: other\nspec: {}\n").await;
    s.send("POST", KEYS, json!({"id": "k1"})).await.expect(201);
    let problem = s.send("POST", KEYS, json!({"id": "k1"})).await.expect(409);
    assert_eq!(problem["code"], "PGN-A409");
    let problem = s.send("POST", "/v1/tenants/other/keys", json!({"id": "k1"})).await.expect(422);
    assert_eq!(problem["errors"][0]["code"], "PGN-T101");
    let problem =
        s.send("POST", KEYS, json!({"id": "A", "expires": "soon", "x": 1})).await.expect(422);
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(3), "{problem}");
    s.send("POST", "/v1/tenants/none/keys", json!({})).await.expect(404);
    let dry = s.send("POST", &format!("{KEYS}?dry_run=true"), json!({})).await.expect(201);
    assert_eq!(dry["key"], Value::Null);
    let before = s.revision().await;
    let revoke = || s.send("DELETE", "/v1/tenants/acme/keys/k1", Value::Null);
    assert_eq!(revoke().await.expect(200)["revoked"], json!(true));
    assert_eq!(revoke().await.expect(200)["revoked"], json!(false));
    assert_eq!(s.revision().await, before + 1);
    assert_eq!(s.get(KEYS).await.expect(200)["items"], json!([]));
    s.stop().await;
}

#[tokio::test]
async fn a_tenant_that_a_route_names_stays() {
    let s = Server::start().await;
    s.apply(
        "kind: tenant\nname: acme\nspec: {}\n---\nkind: engine\nname: e\nspec: {}\n---\nkind: route\nname: r\nspec: {engine: e, auth: {methods: [api_key], tenants: [acme]}}\n",
    )
    .await;
    let problem = s.send("DELETE", "/v1/tenants/acme", Value::Null).await.expect(409);
    assert!(problem["detail"].as_str().expect("text").contains("route \"r\""), "{problem}");
    s.send("DELETE", "/v1/routes/r", Value::Null).await.expect(200);
    s.send("DELETE", "/v1/tenants/acme", Value::Null).await.expect(200);
    s.stop().await;
}
