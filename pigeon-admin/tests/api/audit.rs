//! Who changed what, as REST tells it.

use serde_json::{Value, json};

use crate::server::Server;

fn told(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("items");
    let line = |e: &Value| {
        let text = |field: &str| e[field].as_str().expect("text").to_owned();
        format!("{} {}/{}", text("action"), text("kind"), text("name"))
    };
    items.iter().map(line).collect()
}

#[tokio::test]
async fn every_change_is_told_with_before_and_after() {
    let s = Server::start().await;
    let engine = |balance: &str| json!({"spec": {"balance": balance}}).to_string();
    let json_type = ("content-type", "application/json");
    let id = ("x-request-id", "request-7");
    s.call("PUT", "/v1/engines/a", &[json_type], engine("random")).await.expect(201);
    s.call("PUT", "/v1/engines/a", &[json_type, id], engine("p2c")).await.expect(200);
    // No change, no event.
    s.call("PUT", "/v1/engines/a", &[json_type], engine("p2c")).await.expect(200);
    s.call("DELETE", "/v1/engines/a", &[], "").await.expect(200);
    let all = s.get("/v1/audit-events").await.expect(200).clone();
    let events =
        ["delete engine/a", "update engine/a", "create engine/a", "create listener/default"];
    assert_eq!(told(&all), events);
    assert_eq!(all["next_page_token"], Value::Null);
    let update = &all["items"][1];
    assert_eq!(update["before"]["spec"]["balance"], "random");
    assert_eq!(update["after"]["spec"]["balance"], "p2c");
    assert_eq!((update["revision"].as_u64(), update["actor"].as_str()), (Some(3), Some("admin")));
    assert_eq!(
        (&update["source"], &update["request_id"]),
        (&json!("127.0.0.1"), &json!("request-7"))
    );
    assert_eq!(
        (&all["items"][0]["after"], &all["items"][2]["before"]),
        (&Value::Null, &Value::Null)
    );

    // A page at a time.
    let first = s.get("/v1/audit-events?page_size=3").await.expect(200).clone();
    assert_eq!(told(&first), events[..3]);
    let next =
        format!("/v1/audit-events?page_token={}", first["next_page_token"].as_str().expect("more"));
    assert_eq!(told(&s.get(&next).await.expect(200).clone()), events[3..]);

    // Following: the oldest first.
    let after = format!("/v1/audit-events?after={}", all["items"][3]["id"]);
    let later = s.get(&after).await.expect(200).clone();
    assert_eq!(told(&later), ["create engine/a", "update engine/a", "delete engine/a"]);
    assert_eq!(later["next_page_token"], Value::Null);

    for (query, wanted) in [
        ("kind=listener", &events[3..]),
        ("kind=engine&action=update", &events[1..2]),
        ("name=default", &events[3..]),
        ("actor=system", &events[3..]),
        ("actor=nobody", &[][..]),
        ("since=2099-01-01T00:00:00Z", &[]),
        ("since=2001-01-01T00:00:00Z&name=a", &events[..3]),
    ] {
        let found = s.get(&format!("/v1/audit-events?{query}")).await.expect(200).clone();
        assert_eq!(told(&found), wanted, "{query}");
    }
    for wrong in ["action=made", "since=yesterday", "after=0", "page_token=x", "who=me"] {
        s.get(&format!("/v1/audit-events?{wrong}")).await.problem(400, "PGN-A402");
    }
    s.stop().await;
}
