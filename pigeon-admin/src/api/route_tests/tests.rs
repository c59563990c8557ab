//! Which route takes which call, case by case.

use pigeon_proto::model::{Object, document};
use serde_json::{Value, json};

use super::*;

fn route(name: &str, matches: Value, priority: i32) -> Object {
    let spec = json!({"match": matches, "engine": "e", "priority": priority});
    document::object(json!({"kind": "route", "name": name, "spec": spec}), None).expect("a route")
}

fn verdict(routes: &[Object], call: Value) -> (Option<String>, String, Vec<Considered>) {
    let call = Call::from_json(call).expect("a call");
    let routes = routes.iter().filter_map(|o| match &o.spec {
        Spec::Route(r) => Some((&o.key.name, r)),
        _ => None,
    });
    let v = explain(&call, routes);
    (v.winner.map(ToString::to_string), v.reason, v.considered)
}

/// Of the two matches the first takes the call, in either order of names; and each takes it alone.
fn beats(better: Value, worse: Value, call: Value) {
    for (a, b) in [("a", "b"), ("b", "a")] {
        let routes = [route(a, better.clone(), 0), route(b, worse.clone(), 9)];
        let (winner, _, considered) = verdict(&routes, call.clone());
        assert_eq!(winner.as_deref(), Some(a), "{better} before {worse} for {call}");
        assert!(considered[0].why.starts_with("matches too, but"), "{considered:?}");
        let (alone, _, _) = verdict(&routes[1..], call.clone());
        assert_eq!(alone.as_deref(), Some(b), "{worse} alone for {call}");
    }
}

#[test]
fn the_order_of_precedence() {
    let grpc = || json!({"grpc": "p.S/M", "host": "x.a.example.com:443", "listener": "l"});
    let http = || json!({"path": "/users/7?q=1", "host": "X.A.example.com", "listener": "l"});
    let h = |host: &str| json!({"host": host});
    beats(h("x.a.example.com"), h("*.a.example.com"), http());
    beats(h("*.a.example.com"), h("*.example.com"), http());
    beats(h("*.example.com"), json!({}), http());
    // The host goes before everything else.
    beats(h("*.example.com"), json!({"path": "/users/7", "methods": ["GET"]}), http());
    beats(json!({"grpc": "p.S/M"}), json!({"grpc": "p.S"}), grpc());
    beats(json!({"grpc": "p.S"}), json!({"path": "/p.S/M"}), grpc());
    beats(json!({"path": "/p.S/M"}), json!({"path": "/p.S*"}), grpc());
    beats(json!({"path": "/users/7"}), json!({"path": "/users*"}), http());
    beats(json!({"path": "/users*"}), json!({"path": "/*"}), http());
    beats(json!({"path": "/*"}), json!({}), http());
    beats(json!({"path": "/users*"}), json!({"methods": ["GET"]}), http());
    beats(json!({"methods": ["GET"]}), json!({"listener": "l"}), http());
    beats(json!({"listener": "l"}), json!({}), http());
    beats(json!({"path": "/p.S/M", "methods": ["POST"]}), json!({"path": "/p.S/M"}), grpc());
}

#[test]
fn priority_decides_between_equals() {
    let m = || json!({"path": "/users*"});
    let routes = [route("a", m(), 1), route("b", m(), 2), route("c", m(), -1)];
    let (winner, reason, considered) = verdict(&routes, json!({"path": "/users"}));
    assert_eq!(winner.as_deref(), Some("b"));
    assert_eq!(reason, "route \"b\" matches best of 3: path /users*");
    assert_eq!(considered[0].name, "a");
    assert_eq!(considered[0].why, "matches too, but \"b\" has the priority 2, not 1");
}

#[test]
fn what_does_not_match() {
    let cases = [
        (
            json!({"path": "/users*"}),
            json!({"path": "/usersx"}),
            "only for path /users*, not /usersx",
        ),
        (json!({"path": "/a"}), json!({"path": "/a/"}), "only for path /a, not /a/"),
        (json!({"grpc": "p.S"}), json!({"path": "/p.S/M", "method": "POST"}), "no gRPC call"),
        (json!({"grpc": "p.S/M"}), json!({"grpc": "p.S/N"}), "only for gRPC p.S/M, not p.S/N"),
        (
            json!({"host": "*.a.b"}),
            json!({"path": "/", "host": "a.b"}),
            "only for host *.a.b, not a.b",
        ),
        (json!({"host": "*.a.b"}), json!({"path": "/", "host": "xa.b"}), "not xa.b"),
        (json!({"host": "a.b"}), json!({"path": "/"}), "the call names none"),
        (json!({"listener": "l"}), json!({"path": "/"}), "only on listener l, the call names none"),
        (
            json!({"methods": ["GET", "PUT"]}),
            json!({"grpc": "p.S/M"}),
            "method GET or PUT, not POST",
        ),
    ];
    for (matches, call, why) in cases {
        let (winner, reason, considered) = verdict(&[route("r", matches, 0)], call.clone());
        assert_eq!(winner, None, "{call}");
        assert!(reason.starts_with("none of the 1 routes matches"), "{reason}");
        assert!(considered[0].why.contains(why), "{call}: {considered:?}");
    }
}

#[test]
fn the_nearest_come_first_and_not_all_are_told() {
    let mut routes: Vec<_> =
        (0..80).map(|i| route(&format!("n{i:02}"), json!({"path": format!("/{i}")}), 0)).collect();
    routes.push(route("z-near", json!({"path": "/x", "host": "a.b"}), 0));
    routes.push(route("far", json!({"path": "/y", "host": "a.c"}), 0));
    let (winner, _, considered) = verdict(&routes, json!({"path": "/x", "host": "a.c"}));
    assert_eq!(winner, None);
    assert_eq!(considered.len(), MOST_CONSIDERED);
    let first: Vec<_> = considered[..2].iter().map(|c| c.name.as_str()).collect();
    assert_eq!(first, ["far", "z-near"]);
    assert_eq!(verdict(&[], json!({"path": "/"})).1, "there are no routes yet");
}

#[test]
fn a_wrong_question_gets_every_error() {
    let errors = |call: Value| match Call::from_json(call) {
        Ok(_) => vec![],
        Err(e) => e.0.into_iter().map(|e| format!("{} {}", e.pointer, e.message)).collect(),
    };
    let all = errors(json!({"host": "a b", "grpc": "p.S", "listener": 7, "colour": "red"}));
    assert_eq!(all.len(), 4, "{all:?}");
    for (call, why) in [
        (json!({}), "/path \"path\" is missing"),
        (json!({"grpc": "p.S/M", "path": "/x"}), "/path excludes grpc"),
        (json!({"grpc": "p.S/M", "method": "GET"}), "/method excludes grpc"),
        (json!({"path": "users"}), "must begin with /"),
        (json!({"path": "/", "method": "get"}), "capitals"),
        (json!({"path": "/", "host": "*.a.b"}), "is a pattern"),
        (json!([]), "must be an object"),
    ] {
        let found = errors(call.clone());
        assert!(found.iter().any(|e| e.contains(why)), "{call}: {found:?}");
    }
}
