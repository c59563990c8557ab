//! What serves after states that can be used, in part or not at all.

use pigeon_proto::model::{Engine, document};
use pigeon_proto::v1;
use prost::Message as _;

use super::*;

fn puts(text: &str, mod_revision: u64) -> Vec<v1::Put> {
    let objects = document::parse(text).expect("documents");
    objects
        .into_iter()
        .map(|o| put(o.key.kind.as_str(), o.key.name.as_str(), mod_revision, o.spec.encode()))
        .collect()
}

fn put(kind: &str, name: &str, mod_revision: u64, spec: Bytes) -> v1::Put {
    v1::Put { key: Some(v1::Key { kind: kind.into(), name: name.into() }), mod_revision, spec }
}

fn raw(revision: u64, puts: Vec<v1::Put>) -> RawState {
    RawState::new(revision, puts).expect("a state")
}

fn engine(name: &str, mod_revision: u64) -> Vec<v1::Put> {
    puts(
        &format!(
            "kind: engine\nname: {name}\nspec: {{endpoints: [{{address: 'h:{mod_revision}'}}]}}\n"
        ),
        mod_revision,
    )
}

fn route(name: &str, path: &str, engine: &str, mod_revision: u64) -> Vec<v1::Put> {
    let spec = format!("{{match: {{path: {path}}}, engine: {engine}}}");
    puts(&format!("kind: route\nname: {name}\nspec: {spec}\n"), mod_revision)
}

fn listener(name: &str, port: u16, mod_revision: u64) -> Vec<v1::Put> {
    let spec = format!("{{address: '127.0.0.1:{port}'}}");
    puts(&format!("kind: listener\nname: {name}\nspec: {spec}\n"), mod_revision)
}

/// An engine as a newer admin may send it: with a balance this version has no word for.
fn newer_engine(name: &str, mod_revision: u64) -> Vec<v1::Put> {
    let wire = v1::Engine { balance: 99, ..(&Engine::default()).into() };
    vec![put("engine", name, mod_revision, wire.encode_to_vec().into())]
}

/// `kind/name` and version of all that serves.
fn serves(applied: &Applied) -> Vec<(String, u64)> {
    applied.snapshot.objects.iter().map(|(k, v)| (k.to_string(), v.mod_revision)).collect()
}

fn expected(list: &[(&str, u64)]) -> Vec<(String, u64)> {
    list.iter().map(|(k, r)| ((*k).to_owned(), *r)).collect()
}

/// `kind/name`, version refused and version serving.
fn rejected(applied: &Applied) -> Vec<(String, u64, u64)> {
    let one = |r: &Rejected| {
        assert_eq!(r.code, "PGN-P302");
        assert!(!r.message.is_empty());
        (format!("{}/{}", r.kind, r.name), r.mod_revision, r.serving_mod_revision)
    };
    applied.rejected.iter().map(one).collect()
}

#[test]
fn what_can_be_used_serves_as_sent() {
    let mut applier = Applier::default();
    let state = raw(4, [engine("e", 3), route("r", "/r", "e", 4)].concat());
    let applied = applier.apply(&state, |_| Ok(()));
    assert_eq!(serves(&applied), expected(&[("engine/e", 3), ("route/r", 4)]));
    assert_eq!((applied.snapshot.revision, applied.rejected.len()), (4, 0));
    let again = applier.apply(&state, |_| Ok(()));
    assert_eq!(again, applied);
    // Nothing was decoded twice.
    let spec = |a: &Applied| Arc::clone(&a.snapshot.objects.values().next().expect("one").spec);
    assert!(Arc::ptr_eq(&spec(&applied), &spec(&again)));
}

#[test]
fn an_unreadable_version_leaves_the_one_that_served() {
    let mut applier = Applier::default();
    applier.apply(&raw(1, [engine("e", 1), route("r", "/r", "e", 1)].concat()), |_| Ok(()));
    let applied = applier
        .apply(&raw(2, [newer_engine("e", 2), route("r", "/r", "e", 1)].concat()), |_| Ok(()));
    assert_eq!(serves(&applied), expected(&[("engine/e", 1), ("route/r", 1)]));
    assert_eq!(rejected(&applied), [("engine/e".into(), 2, 1)]);
    assert!(applied.rejected[0].message.contains("/spec/balance"), "{applied:?}");
    // Later revisions go on, the old version stays, and a good one replaces it.
    let third = [newer_engine("e", 2), route("r", "/r", "e", 1), route("s", "/s", "e", 3)].concat();
    let applied = applier.apply(&raw(3, third), |_| Ok(()));
    assert_eq!(serves(&applied), expected(&[("engine/e", 1), ("route/r", 1), ("route/s", 3)]));
    assert_eq!(rejected(&applied), [("engine/e".into(), 2, 1)]);
    let applied =
        applier.apply(&raw(4, [engine("e", 4), route("r", "/r", "e", 1)].concat()), |_| Ok(()));
    assert_eq!(serves(&applied), expected(&[("engine/e", 4), ("route/r", 1)]));
    assert_eq!(applied.rejected, []);
}

#[test]
fn a_new_unreadable_object_is_left_out_with_what_needs_it() {
    let mut applier = Applier::default();
    let state =
        [newer_engine("e", 1), engine("f", 1), route("r", "/r", "e", 1), route("s", "/s", "f", 1)];
    let applied = applier.apply(&raw(1, state.concat()), |_| Ok(()));
    assert_eq!(serves(&applied), expected(&[("engine/f", 1), ("route/s", 1)]));
    assert_eq!(rejected(&applied), [("engine/e".into(), 1, 0), ("route/r".into(), 1, 0)]);
    assert!(applied.rejected[1].message.contains("there is no engine"), "{applied:?}");
}

#[test]
fn unknown_kinds_names_and_bytes_harm_nobody() {
    let mut applier = Applier::default();
    let odd = vec![
        put("tenant", "t", 1, Bytes::from_static(b"x")),
        put("route", "Not A Name", 1, Bytes::new()),
        put("route", "r", 1, Bytes::from_static(b"\xff\xff")),
    ];
    let applied = applier.apply(&raw(1, [odd, engine("e", 1)].concat()), |_| Ok(()));
    assert_eq!(serves(&applied), expected(&[("engine/e", 1)]));
    let mut names = rejected(&applied);
    names.sort();
    let wanted = ["route/Not A Name", "route/r", "tenant/t"].map(|n| (n.to_owned(), 1, 0));
    assert_eq!(names, wanted);
}

#[test]
fn of_two_that_clash_the_one_that_served_stays() {
    // Whichever of the two an error names.
    for (old, new) in [("a", "b"), ("b", "a")] {
        let mut applier = Applier::default();
        applier.apply(&raw(1, [engine("e", 1), route(old, "/x", "e", 1)].concat()), |_| Ok(()));
        let both = [engine("e", 1), route(old, "/x", "e", 1), route(new, "/x", "e", 2)].concat();
        let applied = applier.apply(&raw(2, both), |_| Ok(()));
        let kept = format!("route/{old}");
        assert_eq!(serves(&applied), expected(&[("engine/e", 1), (&kept, 1)]));
        assert_eq!(rejected(&applied), [(format!("route/{new}"), 2, 0)]);
    }
}

#[test]
fn a_swap_that_is_fine_as_a_whole_is_taken_as_a_whole() {
    let mut applier = Applier::default();
    let first = [engine("e", 1), route("a", "/x", "e", 1), route("b", "/y", "e", 1)].concat();
    applier.apply(&raw(1, first), |_| Ok(()));
    let swapped = [engine("e", 1), route("a", "/y", "e", 2), route("b", "/x", "e", 2)].concat();
    let applied = applier.apply(&raw(2, swapped), |_| Ok(()));
    assert_eq!(applied.rejected, []);
    assert_eq!(serves(&applied), expected(&[("engine/e", 1), ("route/a", 2), ("route/b", 2)]));
}

#[test]
fn a_stand_in_that_clashes_with_what_came_is_settled() {
    let mut applier = Applier::default();
    let first = [listener("a", 1, 1), listener("b", 2, 1)].concat();
    applier.apply(&raw(1, first), |_| Ok(()));
    // `a` moves away, but cannot be read; `b` takes its address.
    let broken = put("listener", "a", 2, Bytes::from_static(b"\xff"));
    let applied = applier.apply(&raw(2, [vec![broken], listener("b", 1, 2)].concat()), |_| Ok(()));
    assert_eq!(serves(&applied), expected(&[("listener/a", 1), ("listener/b", 1)]));
    assert_eq!(rejected(&applied), [("listener/a".into(), 2, 1), ("listener/b".into(), 2, 1)]);
}

#[test]
fn a_stand_in_that_has_lost_what_it_needs_is_left_out() {
    let mut applier = Applier::default();
    applier.apply(&raw(1, [engine("old", 1), route("r", "/r", "old", 1)].concat()), |_| Ok(()));
    let broken = put("route", "r", 2, Bytes::from_static(b"\xff"));
    let applied = applier.apply(&raw(2, [engine("new", 2), vec![broken]].concat()), |_| Ok(()));
    assert_eq!(serves(&applied), expected(&[("engine/new", 2)]));
    assert_eq!(rejected(&applied), [("route/r".into(), 2, 0)]);
}

#[test]
fn what_cannot_be_settled_leaves_everything_as_it_was() {
    // Each round settles one listener and so brings up the clash of the next: a chain longer than ROUNDS.
    let count = u16::try_from(ROUNDS).expect("few") + 3;
    let chain = |shift: u16, revision: u64| -> Vec<v1::Put> {
        (0..count).flat_map(|i| listener(&format!("l{i:02}"), 100 + i + shift, revision)).collect()
    };
    let mut applier = Applier::default();
    let before = applier.apply(&raw(1, chain(0, 1)), |_| Ok(()));
    assert_eq!(before.rejected, []);
    // All move on by one, but the last cannot: it stays where the one before it wants to go, and so on.
    let mut next = chain(1, 2);
    next.pop();
    next.push(put("listener", &format!("l{:02}", count - 1), 2, Bytes::from_static(b"\xff")));
    let applied = applier.apply(&raw(2, next), |_| Ok(()));
    assert_eq!(serves(&applied), serves(&before));
    assert_eq!(applied.snapshot.revision, 1);
    assert!(!applied.rejected.is_empty());
    // And it goes on from there.
    let applied = applier.apply(&raw(3, chain(1, 3)), |_| Ok(()));
    assert_eq!(applied.rejected, []);
    assert_eq!(applied.snapshot.revision, 3);
}

#[test]
fn the_same_version_with_other_bytes_is_read_again() {
    let mut applier = Applier::default();
    applier.apply(&raw(1, listener("l", 1, 1)), |_| Ok(()));
    let applied = applier.apply(&raw(1, listener("l", 2, 1)), |_| Ok(()));
    let (_, l) = applied.snapshot.listeners().next().expect("one");
    assert_eq!(l.address.to_string(), "127.0.0.1:2");
}

#[test]
fn versions_of_an_earlier_run_stand_in() {
    let mut applier = Applier::default();
    let old = raw(1, engine("e", 1)).objects().clone().into_iter().collect();
    applier.preset(old);
    let applied = applier
        .apply(&raw(2, [newer_engine("e", 2), route("r", "/r", "e", 2)].concat()), |_| Ok(()));
    assert_eq!(serves(&applied), expected(&[("engine/e", 1), ("route/r", 2)]));
    assert_eq!(rejected(&applied), [("engine/e".into(), 2, 1)]);
}
