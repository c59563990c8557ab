//! What survives a restart, and what is told of the past.

use pigeon_admin::catalog::{Catalog, OwnerSet, Write};
use serde_json::json;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::tempdir;

use crate::database::{Database, home, on_both_databases};
use crate::support::{as_tester, catalog, delete, engine, key, patch, put, route, write};

on_both_databases! {
    the_first_start_makes_one_listener_and_no_other_start_does,
    a_restart_keeps_everything,
    history_is_newest_first_and_comes_in_pages,
    owners_outlive_a_restart_and_are_no_part_of_what_proxies_get,
}

async fn told(c: &Catalog, before: Option<u64>, limit: u32) -> Vec<String> {
    let revisions = c.revisions(before, limit).await.expect("revisions");
    let line = |r: &pigeon_admin::catalog::Revision| {
        let changes: Vec<_> = r
            .changes
            .iter()
            .map(|c| format!("{} {} {}/{}", c.op, c.action, c.kind, c.name))
            .collect();
        format!("{} {}@{}: {}", r.revision, r.actor, r.source, changes.join(", "))
    };
    revisions.iter().map(line).collect()
}

async fn the_first_start_makes_one_listener_and_no_other_start_does(on: Database) {
    let Some(dir) = home(on).await else { return };
    let first = catalog(&dir).await;
    let view = first.view();
    assert_eq!((view.revision, view.generation, view.objects.len()), (1, 1, 1));
    let listener = &view.objects[&key("listener/default")];
    assert_eq!(listener.object.spec.to_json()["address"], "127.0.0.1:8080");
    assert_eq!(told(&first, None, 9).await, ["1 system@: put create listener/default"]);
    write(&first, delete(&["listener/default"])).await.expect("delete");
    first.close().await;
    let second = catalog(&dir).await;
    assert_eq!((second.view().revision, second.view().objects.len()), (2, 0));
    assert_eq!(second.view().cluster_id, view.cluster_id);
    let Some(other) = home(on).await else { return };
    assert_ne!(catalog(&other).await.view().cluster_id, view.cluster_id);
}

/// Every field there is, so that none is lost on the way through the store.
const EVERYTHING: &str = r#"
kind: listener
name: l
labels: {a: "b", "weird/key": "with \"quotes\" and ünïcode"}
spec: {address: "[::1]:9", max_connections: 7, max_concurrent_streams: 8, max_header_bytes: 9000, header_timeout: 3s}
---
kind: engine
name: e
spec:
  endpoints: [{address: "a:1", weight: 3, slots: 4}, {address: "b:2", drain: true}]
  balance: hash
  hash_key: header:x-id
  protocol: h2c
  slow_start: 7s
  pool:
    {mode: loose, slots: 9, loose_factor: 2, queue: 5, queue_timeout: 1ms, dial_timeout: 2ms, idle_timeout: 3ms,
     cancel_cooldown: 4ms, reuse: exclusive, max_streams_per_connection: 6, max_lifetime: 5s, max_requests: 7,
     drain_timeout: 0s, dial_backoff_max: 8s, keepalive_time: 9s, keepalive_timeout: 10s, keepalive_without_calls: true,
     stream_window: 70000, connection_window: 80000, max_message_bytes: 11, warm: 12}
  health: {check: "http:/up?x=1", interval: 1s, timeout: 2s, up: 3, down: 4}
  ejection: {failures: 1, outliers: false, time: 2s, max_time: 3s, max_ejected: 4}
---
kind: route
name: g
spec:
  match: {listener: l, host: "*.x.y", grpc: a.B/C}
  engine: e
  split: [{engine: f, percent: 10}]
  priority: -4
  timeout: 5s
  retry: {attempts: 1, on: [UNAVAILABLE, "503", reset], backoff: 1ms, max_backoff: 2ms, buffer: 3, budget: 4}
---
kind: engine
name: f
spec: {}
---
kind: route
name: h
spec: {match: {path: "/p*", methods: [PUT, GET]}, engine: e}
"#;

async fn a_restart_keeps_everything(on: Database) {
    let Some(dir) = home(on).await else { return };
    let c = catalog(&dir).await;
    write(&c, put(EVERYTHING)).await.expect("write");
    write(&c, patch("engine/e", json!({"labels": {"k": "v"}}))).await.expect("patch");
    write(&c, put(&engine("gone", 1))).await.expect("write");
    write(&c, delete(&["engine/gone"])).await.expect("delete");
    let (before, history) = (c.view(), told(&c, None, 100).await);
    c.close().await;
    let again = catalog(&dir).await;
    let after = again.view();
    assert_eq!(after.objects, before.objects);
    assert_eq!((after.revision, &after.cluster_id), (5, &before.cluster_id));
    assert_eq!(told(&again, None, 100).await, history);
    let o = write(&again, put(EVERYTHING)).await.expect("write");
    assert_eq!(o.revision, 6, "only the label that the file does not have");
    let changed: Vec<_> = o.changed.iter().map(|c| c.is_change()).collect();
    assert_eq!(changed, [false, true, false, false, false]);
}

/// As the first version wrote them: health a word, and none of what came later.
const FIRST_VERSION: [(&str, &str); 2] = [
    (
        "engine",
        r#"{"endpoints":[{"address":"a:1","weight":2}],"balance":"least_connections","protocol":"auto","pool":{"mode":"strict","slots":4,"loose_factor":5,"queue":0,"queue_timeout":"2s","dial_timeout":"5s","idle_timeout":"5m","cancel_cooldown":"100ms"},"health":"none"}"#,
    ),
    ("route", r#"{"match":{"grpc":"a.B"},"engine":"e","priority":3,"timeout":"5s"}"#),
];

#[tokio::test]
async fn a_store_of_the_first_version_loads() {
    let dir = tempdir().expect("dir");
    let c = catalog(dir.path()).await;
    let engine = "kind: engine\nname: e\nspec: {}\n";
    let route = "---\nkind: route\nname: r\nspec: {engine: e}\n";
    write(&c, put(&format!("{engine}{route}"))).await.expect("write");
    c.close().await;
    let options = SqliteConnectOptions::new().filename(dir.path().join("pigeon.db"));
    let mut db = SqliteConnection::connect_with(&options).await.expect("the store");
    for (kind, spec) in FIRST_VERSION {
        let update = sqlx::query("UPDATE resource SET spec = $1 WHERE kind = $2");
        let done = update.bind(spec).bind(kind).execute(&mut db).await.expect("update");
        assert_eq!(done.rows_affected(), 1);
    }
    db.close().await.expect("close");
    let again = catalog(dir.path()).await;
    let text = "kind: engine\nname: e\nspec:\n  endpoints: [{address: 'a:1', weight: 2}]\n  pool: {mode: strict, slots: 4}\n  health: none\n---\nkind: route\nname: r\nspec: {match: {grpc: a.B}, engine: e, priority: 3, timeout: 5s}\n";
    let same = write(&again, put(text)).await.expect("write");
    assert!(same.changed.iter().all(|c| !c.is_change()), "what it meant is what is read");
}

async fn history_is_newest_first_and_comes_in_pages(on: Database) {
    let Some(dir) = home(on).await else { return };
    let c = catalog(&dir).await;
    write(&c, put(&(engine("a", 1) + &route("r", "a")))).await.expect("write");
    write(&c, put(&(engine("a", 2) + &engine("b", 1)))).await.expect("write");
    write(&c, delete(&["route/r", "engine/a"])).await.expect("write");
    let all = [
        "4 tester@127.0.0.1: del delete route/r, del delete engine/a",
        "3 tester@127.0.0.1: put update engine/a, put create engine/b",
        "2 tester@127.0.0.1: put create engine/a, put create route/r",
        "1 system@: put create listener/default",
    ];
    assert_eq!(told(&c, None, 100).await, all);
    assert_eq!(told(&c, None, 2).await, all[..2]);
    assert_eq!(told(&c, Some(3), 1).await, all[2..3]);
    assert_eq!(told(&c, Some(1), 5).await, [""; 0]);
    assert_eq!(told(&c, Some(u64::MAX), 5).await, all);
    assert_eq!(told(&c, None, 0).await, [""; 0]);
}

async fn owners_outlive_a_restart_and_are_no_part_of_what_proxies_get(on: Database) {
    let Some(dir) = home(on).await else { return };
    let first = catalog(&dir).await;
    let of = |owner: &str| OwnerSet { owner: owner.parse().expect("a name"), prune: Some(1) };
    let owned = |yaml: &str| Write { set: Some(of("speech")), ..as_tester(put(yaml)) };
    first.write(owned(&(engine("a", 1) + &engine("b", 2)))).await.expect("written");
    let spec = |c: &Catalog| c.view().objects[&key("engine/a")].object.to_json().to_string();
    assert!(!spec(&first).contains("speech"));
    first.close().await;
    let second = catalog(&dir).await;
    let owner = |name: &str| second.view().objects[&key(name)].owner.clone().map(|o| o.to_string());
    assert_eq!(owner("engine/a").as_deref(), Some("speech"));
    assert_eq!(owner("listener/default"), None);
    // Of the set, as it was before the restart.
    second.write(owned(&engine("a", 1))).await.expect("written");
    assert!(!second.view().objects.contains_key(&key("engine/b")));
    second.close().await;
}
