//! Sets of objects with an owner: whose an object is, and what goes when it is left out.

use serde_json::{Value, json};

use crate::server::{Answer, Server};

fn engine(name: &str) -> Value {
    json!({"kind": "engine", "name": name, "spec": {}})
}

fn route(name: &str, engine: &str) -> Value {
    json!({"kind": "route", "name": name, "spec": {"match": {"path": format!("/{name}")}, "engine": engine}})
}

async fn apply(s: &Server, query: &str, objects: &[Value]) -> Answer {
    s.send("POST", &format!("/v1/apply?{query}"), json!({"objects": objects})).await
}

fn ops(answer: &Value) -> Vec<String> {
    let objects = answer["objects"].as_array().expect("objects");
    let op = |o: &Value| {
        let text = |field: &str| o[field].as_str().expect("text").to_owned();
        format!("{} {}/{}", text("op"), text("kind"), text("name"))
    };
    objects.iter().map(op).collect()
}

#[tokio::test]
async fn what_is_left_out_goes_and_nothing_else() {
    let s = Server::start().await;
    // By hand, and of another set.
    s.apply("kind: engine\nname: by-hand\nspec: {}\n").await;
    apply(&s, "owner=other", &[engine("theirs")]).await.expect(200);
    let all = [engine("a"), engine("b"), route("r", "a")];
    let made = apply(&s, "owner=speech&prune=true", &all).await.expect(200);
    assert_eq!(ops(&made), ["added engine/a", "added engine/b", "added route/r"]);
    assert_eq!(s.get("/v1/engines/a").await.expect(200)["owner"], "speech");
    assert!(s.get("/v1/engines/by-hand").await.expect(200).get("owner").is_none());

    // Without prune nothing goes; a dry run shows what would.
    let less = [engine("a"), route("r", "a")];
    let kept = apply(&s, "owner=speech", &less).await.expect(200);
    assert_eq!(ops(&kept), ["unchanged engine/a", "unchanged route/r"]);
    let revision = s.revision().await;
    let dry = apply(&s, "owner=speech&prune=true&dry_run=true", &less).await.expect(200);
    assert_eq!(ops(&dry)[2], "removed engine/b");
    assert_eq!((s.revision().await, &dry["objects"][2]["after"]), (revision, &Value::Null));
    let gone = apply(&s, "owner=speech&prune=true", &less).await.expect(200);
    assert_eq!(ops(&gone)[2..], ["removed engine/b"]);
    assert_eq!(s.revision().await, revision + 1);
    s.get("/v1/engines/b").await.problem(404, "PGN-A404");

    // What is still in use stays, and so does everything.
    let broken = apply(&s, "owner=speech&prune=true", &[engine("new")]).await;
    // Both go together, as one revision.
    let broken = broken.expect(200);
    assert_eq!(ops(&broken), ["added engine/new", "removed engine/a", "removed route/r"]);
    s.apply(&format!("{}\n", route("mine", "new"))).await;
    apply(&s, "owner=speech&prune=true", &[engine("other")]).await.problem(409, "PGN-E103");
    s.get("/v1/engines/other").await.problem(404, "PGN-A404");
    for name in ["by-hand", "theirs", "new"] {
        s.get(&format!("/v1/engines/{name}")).await.expect(200);
    }
    s.stop().await;
}

#[tokio::test]
async fn an_object_has_one_owner_who_is_kept_by_everybody_else() {
    let s = Server::start().await;
    s.apply("kind: engine\nname: a\nspec: {}\n").await;
    // What nobody owns is taken in; that is a change.
    let taken = apply(&s, "owner=speech", &[engine("a")]).await.expect(200);
    assert_eq!(ops(&taken), ["changed engine/a"]);
    let again = apply(&s, "owner=speech", &[engine("a")]).await.expect(200);
    assert_eq!(ops(&again), ["unchanged engine/a"]);
    let before = s.revision().await;
    let problem =
        apply(&s, "owner=llm", &[engine("b"), engine("a")]).await.problem(409, "PGN-A411");
    assert!(problem["detail"].as_str().expect("text").contains("\"speech\""), "{problem}");
    assert_eq!(s.revision().await, before);
    // Changes of others keep it: by hand, by an apply without an owner, by a rollback.
    s.send("PATCH", "/v1/engines/a", json!({"spec": {"balance": "random"}})).await.expect(200);
    s.apply("kind: engine\nname: a\nspec: {balance: p2c}\n").await;
    assert_eq!(s.get("/v1/engines/a").await.expect(200)["owner"], "speech");
    s.send("POST", &format!("/v1/revisions/{before}/rollback"), Value::Null).await.expect(200);
    assert_eq!(s.get("/v1/engines/a").await.expect(200)["owner"], "speech");
    // A whole representation may come back as it was given out.
    let whole = s.get("/v1/engines/a").await.expect(200);
    s.send("PUT", "/v1/engines/a", whole).await.expect(200);
    s.stop().await;
}

#[tokio::test]
async fn a_set_that_shrinks_too_much_is_refused() {
    let s = Server::start().await;
    let all: Vec<_> = (0..12).map(|n| engine(&format!("e{n}"))).collect();
    apply(&s, "owner=speech", &all).await.expect(200);
    let before = s.revision().await;
    let problem = apply(&s, "owner=speech&prune=true", &[]).await.problem(409, "PGN-A416");
    let detail = problem["detail"].as_str().expect("text");
    assert!(detail.contains("12 objects") && detail.contains("engine/e0"), "{detail}");
    apply(&s, "owner=speech&prune=true", &all[..1]).await.problem(409, "PGN-A416");
    apply(&s, "owner=speech&prune=true&allow_deletes=0", &all[..11]).await.problem(409, "PGN-A416");
    assert_eq!(s.revision().await, before);
    apply(&s, "owner=speech&prune=true", &all[..2]).await.expect(200);
    apply(&s, "owner=speech&prune=true&allow_deletes=2", &[]).await.expect(200);
    for wrong in [
        "prune=true",
        "owner=speech&allow_deletes=3",
        "owner=A%20b",
        "owner=a&prune=yes",
        "owner=a&owner=b",
    ] {
        apply(&s, wrong, &[]).await.problem(400, "PGN-A402");
    }
    s.stop().await;
}
