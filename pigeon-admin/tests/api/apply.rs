//! `/v1/apply`: all or nothing, one revision, never a deletion.

use serde_json::json;

use crate::server::Server;

const SET: &str = "kind: route
name: asr
spec: {match: {grpc: speech.v1.Recognizer}, engine: asr}
---
kind: engine
name: asr
labels: {team: speech}
spec: {endpoints: [{address: '10.0.0.1:50051'}]}
";

#[tokio::test]
async fn it_is_one_revision_whatever_the_order() {
    let s = Server::start().await;
    let before = s.revision().await;
    let a = s.apply(SET).await;
    assert_eq!(a["revision"], before + 1);
    assert_eq!(a["objects"][0]["name"], "asr");
    let (route, engine) = (&a["objects"][0], &a["objects"][1]);
    assert_eq!((&route["kind"], &route["op"]), (&json!("route"), &json!("added")));
    assert_eq!(route["before"], json!(null));
    assert_eq!(engine["after"]["labels"], json!({"team": "speech"}));
    assert_eq!(engine["after"]["spec"]["endpoints"][0]["address"], "10.0.0.1:50051");
    assert_eq!(a["applied"]["revision"], before + 1);
    let again = s.apply(SET).await;
    assert_eq!(again["revision"], before + 1, "nothing has changed");
    assert!(again["objects"].as_array().expect("objects").iter().all(|o| o["op"] == "unchanged"));
    let more = SET.replace("10.0.0.1", "10.0.0.2") + "---\nkind: engine\nname: new\nspec: {}\n";
    let a = s.apply(&more).await;
    let ops: Vec<_> = a["objects"].as_array().expect("objects").iter().map(|o| &o["op"]).collect();
    assert_eq!(ops, ["unchanged", "changed", "added"]);
    let engine = &a["objects"][1];
    assert_eq!(engine["before"]["spec"]["endpoints"][0]["address"], "10.0.0.1:50051");
    assert_eq!(engine["after"]["spec"]["endpoints"][0]["address"], "10.0.0.2:50051");
    let changes = s.get("/v1/revisions?page_size=1").await.expect(200);
    assert_eq!(changes["items"][0]["changes"].as_array().map(Vec::len), Some(2));
    s.apply("kind: engine\nname: only\nspec: {}\n").await;
    s.get("/v1/routes/asr").await.expect(200);
    s.stop().await;
}

#[tokio::test]
async fn json_lists_and_what_was_given_out() {
    let s = Server::start().await;
    let objects = json!([{"kind": "engine", "name": "a", "spec": {}}]);
    s.send("POST", "/v1/apply", json!({"objects": objects})).await.expect(200);
    let page = s.get("/v1/engines").await.expect(200);
    let a = s.send("POST", "/v1/apply", page).await.expect(200);
    assert_eq!(a["objects"][0]["op"], "unchanged");
    // What an apply tells as `after` is a document again.
    let again = json!({"objects": [a["objects"][0]["after"]]});
    let a = s.send("POST", "/v1/apply", again).await.expect(200);
    assert_eq!(a["objects"][0]["op"], "unchanged");
    let empty = s.send("POST", "/v1/apply", json!({"objects": []})).await.expect(200);
    assert_eq!(empty["objects"], json!([]));
    s.stop().await;
}

#[tokio::test]
async fn one_bad_object_keeps_all_from_being_written() {
    let s = Server::start().await;
    let before = s.revision().await;
    let yaml = [("content-type", "application/yaml")];
    let bad = format!(
        "{SET}---\nkind: engine\nname: has space\nspec: {{colour: red}}\n---\nkind: rout\nname: x\n"
    );
    let p = s.call("POST", "/v1/apply", &yaml, bad).await.problem(422, "PGN-V105");
    let errors = p["errors"].as_array().expect("errors");
    for (object, pointer) in
        [("document 3", "/name"), ("document 3", "/spec/colour"), ("document 4", "/kind")]
    {
        let found = errors.iter().any(|e| e["object"] == object && e["pointer"] == pointer);
        assert!(found, "{object} {pointer}: {p:#}");
    }
    let bad =
        format!("{SET}---\nkind: route\nname: z\nspec: {{match: {{path: /z}}, engine: none}}\n");
    let p = s.call("POST", "/v1/apply", &yaml, bad).await.problem(422, "PGN-R101");
    assert_eq!(p["errors"][0]["object"], "route/z");
    let twice = format!("{SET}---\n{SET}");
    s.call("POST", "/v1/apply", &yaml, twice).await.problem(422, "PGN-V107");
    assert_eq!(s.revision().await, before);
    s.get("/v1/engines/asr").await.problem(404, "PGN-A404");
    for body in [json!({}), json!({"objects": 1}), json!([1])] {
        let a = s.send("POST", "/v1/apply", body).await;
        assert_eq!(a.status, 422, "{a:?}");
    }
    s.send("POST", "/v1/apply", json!({"objects": [], "prune": true}))
        .await
        .problem(422, "PGN-V101");
    s.stop().await;
}
