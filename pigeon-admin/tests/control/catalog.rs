//! The rules of writes, on a real store.

use pigeon_admin::catalog::{Change, Expect, WriteError};
use pigeon_proto::model::code;
use serde_json::json;

use crate::database::{Database, home, on_both_databases};
use crate::support::{
    as_tester, catalog, delete, engine, key, patch, put, put_if, route, soon, write,
};

on_both_databases! {
    one_revision_per_write_and_none_for_nothing,
    an_object_made_again_is_another_object,
    expectations,
    what_routes_use_cannot_be_removed_without_them,
    an_invalid_write_changes_nothing_and_names_everything,
    patches_merge_and_are_checked_like_everything_else,
    a_dry_run_answers_alike_and_changes_nothing,
    concurrent_writers_get_distinct_revisions_in_order,
    of_writers_with_the_same_expectation_one_wins,
    a_write_whose_caller_goes_away_ends_whole,
}

fn word(result: Result<pigeon_admin::catalog::Outcome, WriteError>) -> String {
    match result {
        Ok(o) => format!("revision {}", o.revision),
        Err(WriteError::Stale { current, .. }) => format!("stale {current}"),
        Err(WriteError::Invalid(e)) => format!("invalid {}", e.0[0].code),
        Err(e) => e.to_string(),
    }
}

async fn one_revision_per_write_and_none_for_nothing(on: Database) {
    let Some(dir) = home(on).await else { return };
    let c = catalog(&dir).await;
    let both = engine("a", 1) + &engine("b", 2);
    let o = write(&c, put(&both)).await.expect("write");
    assert_eq!(o.revision, 2);
    assert!(o.changed.iter().all(|c| c.before.is_none() && c.is_change()));
    let again = write(&c, put(&both)).await.expect("write");
    assert_eq!(again.revision, 2);
    assert!(again.changed.iter().all(|c| !c.is_change() && c.before == c.after));
    assert!(again.changed.iter().all(|c| c.after.is_some()));

    let mixed = write(&c, put(&(engine("a", 1) + &engine("b", 3)))).await.expect("write");
    assert_eq!(mixed.revision, 3);
    let changed: Vec<_> = mixed.changed.iter().map(|c| c.is_change()).collect();
    assert_eq!(changed, [false, true]);
    let view = c.view();
    let (a, b) = (&view.objects[&key("engine/a")], &view.objects[&key("engine/b")]);
    assert_eq!((a.mod_revision, b.create_revision, b.mod_revision), (2, 2, 3));
    assert_eq!(b.updated_by, "tester");

    // A label alone is a change of the object.
    let labelled = write(&c, patch("engine/a", json!({"labels": {"x": "y"}}))).await;
    assert_eq!(word(labelled), "revision 4");
    // Nothing requested, nothing done.
    assert_eq!(word(write(&c, vec![]).await), "revision 4");
}

async fn an_object_made_again_is_another_object(on: Database) {
    let Some(dir) = home(on).await else { return };
    let c = catalog(&dir).await;
    let first = write(&c, put(&engine("a", 1))).await.expect("write");
    let gone = write(&c, delete(&["engine/a"])).await.expect("delete");
    assert!(gone.changed[0].after.is_none());
    assert_eq!(gone.changed[0].before, first.changed[0].after);
    let second = write(&c, put(&engine("a", 1))).await.expect("write");
    let uid = |o: &pigeon_admin::catalog::Outcome| {
        o.changed[0].after.as_ref().expect("after").uid.clone()
    };
    assert_ne!(uid(&first), uid(&second));
    assert_eq!(second.changed[0].after.as_ref().expect("after").create_revision, 4);
}

async fn expectations(on: Database) {
    let Some(dir) = home(on).await else { return };
    let c = catalog(&dir).await;
    write(&c, put(&engine("a", 1))).await.expect("write"); // revision 2
    let a = |port: usize, e| put_if(&engine("a", port), e);
    let n = |e| put_if(&engine("new", 1), e);
    let del = |name: &str, expect| vec![Change::Delete { key: key(name), expect }];
    let pat = |name: &str, expect| {
        vec![Change::Patch { key: key(name), patch: json!({"labels": {"k": "v"}}), expect }]
    };
    let cases = [
        (a(2, Expect::Absent), "engine/a exists already"),
        (a(2, Expect::Revision(1)), "stale 2"),
        (n(Expect::Present), "there is no engine/new"),
        (n(Expect::Revision(2)), "stale 0"),
        (del("engine/new", Expect::Any), "there is no engine/new"),
        (del("engine/new", Expect::Revision(2)), "there is no engine/new"),
        (del("engine/a", Expect::Revision(3)), "stale 2"),
        (pat("engine/new", Expect::Any), "there is no engine/new"),
        (pat("engine/a", Expect::Revision(7)), "stale 2"),
        // A failed expectation stops all the rest.
        ([put(&engine("b", 1)), a(2, Expect::Absent)].concat(), "engine/a exists already"),
        (a(2, Expect::Revision(2)), "revision 3"),
        (a(3, Expect::Present), "revision 4"),
        (n(Expect::Absent), "revision 5"),
        (pat("engine/a", Expect::Revision(4)), "revision 6"),
        (del("engine/a", Expect::Revision(6)), "revision 7"),
    ];
    for (changes, want) in cases {
        let shown = format!("{changes:?}");
        assert_eq!(word(write(&c, changes).await), want, "{shown}");
    }
    assert!(!c.view().objects.contains_key(&key("engine/b")));
}

async fn what_routes_use_cannot_be_removed_without_them(on: Database) {
    let Some(dir) = home(on).await else { return };
    let c = catalog(&dir).await;
    let own = "---\nkind: listener\nname: l\nspec: {address: '127.0.0.1:9'}\n---\nkind: route\nname: \
               on-l\nspec: {match: {listener: l, path: /l}, engine: a}\n";
    write(&c, put(&(engine("a", 1) + own + &route("r", "a")))).await.expect("write");
    match write(&c, delete(&["engine/a"])).await {
        Err(WriteError::InUse { key: k, routes }) => {
            assert_eq!(k, key("engine/a"));
            assert_eq!(routes.iter().map(|n| n.as_str()).collect::<Vec<_>>(), ["on-l", "r"]);
        }
        other => panic!("{other:?}"),
    }
    let one_left = delete(&["engine/a", "route/r"]);
    assert_eq!(word(write(&c, one_left).await), "engine/a is still used by route \"on-l\"");
    let listener = word(write(&c, delete(&["listener/l"])).await);
    assert_eq!(listener, "listener/l is still used by route \"on-l\"");
    assert_eq!(c.view().revision, 2);
    let together = delete(&["engine/a", "route/r", "route/on-l"]);
    assert_eq!(word(write(&c, together).await), "revision 3");
    // A route moved to another engine in the same write does not hold the old one.
    write(&c, put(&(engine("a", 1) + &route("r", "a")))).await.expect("write");
    let moved = [put(&(engine("b", 1) + &route("r", "b"))), delete(&["engine/a"])].concat();
    assert_eq!(word(write(&c, moved).await), "revision 5");
}

async fn an_invalid_write_changes_nothing_and_names_everything(on: Database) {
    let Some(dir) = home(on).await else { return };
    let c = catalog(&dir).await;
    let bad = engine("good", 1) + &route("x", "gone") + &route("y", "gone");
    let Err(WriteError::Invalid(e)) = write(&c, put(&bad)).await else { panic!("was taken") };
    let found: Vec<_> = e.0.iter().map(|e| (e.object.clone(), e.code.as_str())).collect();
    assert_eq!(
        found,
        [
            (Some("route/x".into()), code::UNKNOWN_ENGINE),
            (Some("route/y".into()), code::UNKNOWN_ENGINE)
        ]
    );
    let twice = [put(&engine("a", 1)), put(&engine("a", 2))].concat();
    assert_eq!(word(write(&c, twice).await), format!("invalid {}", code::DUPLICATE_OBJECT));
    assert_eq!((c.view().revision, c.view().objects.len()), (1, 1));
    assert_eq!(c.revisions(None, 10).await.expect("revisions").len(), 1);
}

async fn patches_merge_and_are_checked_like_everything_else(on: Database) {
    let Some(dir) = home(on).await else { return };
    let c = catalog(&dir).await;
    let text = "kind: engine\nname: a\nlabels: {team: x, tier: gold}\nspec: {endpoints: [{address: \
                'h:1'}], pool: {mode: strict, slots: 4, queue: 8}}\n";
    write(&c, put(text)).await.expect("write");
    let p = json!({"labels": {"tier": null, "new": "1"}, "spec": {"pool": {"queue": null, "slots": 5}}});
    let o = write(&c, patch("engine/a", p)).await.expect("patch");
    let after = o.changed[0].after.as_ref().expect("after").object.to_json();
    assert_eq!(after["labels"], json!({"team": "x", "new": "1"}));
    assert_eq!(after["spec"]["pool"]["slots"], 5);
    assert_eq!(after["spec"]["pool"]["queue"], 0, "back to the default");
    assert_eq!(after["spec"]["pool"]["mode"], "strict");
    assert_eq!(after["spec"]["endpoints"][0]["address"], "h:1");

    let refused = [
        (json!({"spec": {"polo": 1}}), "/spec/polo", code::UNKNOWN_FIELD),
        (json!({"spec": {"pool": {"slots": "many"}}}), "/spec/pool/slots", code::WRONG_TYPE),
        (json!({"specs": {}}), "/specs", code::UNKNOWN_FIELD),
        (json!({"name": "b"}), "/name", code::BAD_VALUE),
        (json!({"kind": "route"}), "/kind", code::BAD_VALUE),
        (json!([1]), "", code::WRONG_TYPE),
        (json!(null), "", code::WRONG_TYPE),
        (json!({"labels": ["x"]}), "/labels", code::WRONG_TYPE),
    ];
    for (p, pointer, want) in refused {
        let result = write(&c, patch("engine/a", p.clone())).await;
        let Err(WriteError::Invalid(e)) = result else { panic!("{p} was taken") };
        let first = &e.0[0];
        assert_eq!((first.pointer.as_str(), first.code.as_str()), (pointer, want), "{p}: {e}");
        assert_eq!(first.object.as_deref(), Some("engine/a"), "{p}");
    }
    // What was given out may come back.
    let whole = json!({"uid": "u", "revision": 3, "status": {}, "spec": {}});
    assert_eq!(word(write(&c, patch("engine/a", whole)).await), "revision 3");
}

async fn a_dry_run_answers_alike_and_changes_nothing(on: Database) {
    let Some(dir) = home(on).await else { return };
    let c = catalog(&dir).await;
    let mut dry = as_tester(put(&engine("a", 1)));
    dry.dry_run = true;
    let o = c.write(dry.clone()).await.expect("dry run");
    assert_eq!(o.revision, 2);
    assert_eq!(o.changed[0].after.as_ref().expect("after").mod_revision, 2);
    assert_eq!((c.view().revision, c.view().objects.len()), (1, 1));
    assert_eq!(c.revisions(None, 10).await.expect("revisions").len(), 1);
    dry.changes = put(&route("r", "gone"));
    assert_eq!(word(c.write(dry).await), format!("invalid {}", code::UNKNOWN_ENGINE));
}

async fn concurrent_writers_get_distinct_revisions_in_order(on: Database) {
    const WRITERS: usize = 40;
    let Some(dir) = home(on).await else { return };
    let c = catalog(&dir).await;
    let mut seen = c.changed();
    let watching = tokio::spawn(async move {
        let mut revisions = vec![*seen.borrow_and_update()];
        while *revisions.last().expect("one") < 1 + WRITERS as u64 {
            seen.changed().await.expect("open");
            revisions.push(*seen.borrow_and_update());
        }
        revisions
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|i| {
            let c = c.clone();
            tokio::spawn(async move {
                let o = write(&c, put(&engine(&format!("e{i}"), 1))).await.expect("write");
                // Whoever has an answer sees it in the view.
                assert!(c.view().revision >= o.revision);
                o.revision
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for w in writers {
        revisions.push(soon("a write", w).await.expect("task"));
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (2..2 + WRITERS as u64).collect::<Vec<_>>());
    let watched = soon("the last revision", watching).await.expect("task");
    assert!(watched.is_sorted(), "{watched:?}");
}

async fn of_writers_with_the_same_expectation_one_wins(on: Database) {
    let Some(dir) = home(on).await else { return };
    let c = catalog(&dir).await;
    write(&c, put(&engine("a", 1))).await.expect("write");
    let one = |port| {
        let c = c.clone();
        let changes = put_if(&engine("a", port), Expect::Revision(2));
        tokio::spawn(async move { word(write(&c, changes).await) })
    };
    let tasks: Vec<_> = (10..20).map(one).collect();
    let mut words = Vec::new();
    for t in tasks {
        words.push(t.await.expect("task"));
    }
    words.sort();
    assert_eq!(words[0], "revision 3");
    assert!(words[1..].iter().all(|w| w == "stale 3"), "{words:?}");
}

async fn a_write_whose_caller_goes_away_ends_whole(on: Database) {
    let Some(dir) = home(on).await else { return };
    let c = catalog(&dir).await;
    let mut changed = c.changed();
    {
        let mut call = std::pin::pin!(write(&c, put(&(engine("a", 1) + &route("r", "a")))));
        // The first poll hands the write over; then the caller is gone.
        assert!(futures_util::poll!(call.as_mut()).is_pending());
    }
    soon("the write", changed.changed()).await.expect("open");
    assert_eq!((c.view().revision, c.view().objects.len()), (2, 3));
    assert_eq!(word(write(&c, delete(&["route/r"])).await), "revision 3");
}
