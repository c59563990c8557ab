//! Where redirects lead, and what fixed answers are to HTTP and to gRPC callers.

use std::time::Instant;

use pigeon_proto::model::{Kind, Spec};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn route(spec: Value) -> Route {
    match Spec::from_json(Kind::Route, spec).expect("a route") {
        Spec::Route(route) => route,
        other => panic!("{other:?}"),
    }
}

fn asked<T>(authority: &str, target: &str, grpc: bool, then: impl FnOnce(&Asked<'_>) -> T) -> T {
    then(&Asked {
        listener: &"l".parse().expect("a name"),
        peer: [127, 0, 0, 1].into(),
        beyond: false,
        certificate: None,
        authority,
        target,
        grpc,
        header: &|_| None,
        repeated: &|_| false,
        wall: &std::time::SystemTime::now,
        now: Instant::now(),
    })
}

fn answer(spec: Value, authority: &str, target: &str, grpc: bool) -> Answer {
    let own = Own::new(&route(spec)).expect("an answer");
    match asked(authority, target, grpc, |asked| own.answer(asked)) {
        Stop::Answer(answer) => Answer::clone(&answer),
        Stop::Reject(rejection) => panic!("{rejection:?}"),
    }
}

fn location(path: &str, redirect: Value, target: &str) -> String {
    let answer = answer(
        json!({"match": {"path": path}, "redirect": redirect}),
        "a.example:81",
        target,
        false,
    );
    answer.headers[LOCATION].to_str().expect("text").to_owned()
}

#[test]
fn a_redirect_changes_what_it_says_and_keeps_the_rest() {
    for (path, redirect, target, wanted) in [
        ("/*", json!({"scheme": "https"}), "/p?q=1", "https://a.example/p?q=1"),
        ("/*", json!({"host": "b.example"}), "/p", "//b.example/p"),
        ("/*", json!({"port": 9}), "/p", "//a.example:9/p"),
        ("/*", json!({"scheme": "https", "port": 9}), "/", "https://a.example:9/"),
        ("/old", json!({"path": "/new"}), "/old?x=%20", "/new?x=%20"),
        ("/old*", json!({"path": "/new*"}), "/old/a/b", "/new/a/b"),
        ("/old*", json!({"path": "/new*"}), "/old", "/new"),
        ("/old*", json!({"path": "/*"}), "/old", "/"),
        ("/old*", json!({"path": "/x"}), "/old/a", "/x"),
        ("/*", json!({"path": "/new*"}), "/a", "/new/a"),
    ] {
        assert_eq!(location(path, redirect.clone(), target), wanted, "{redirect}");
    }
}

#[test]
fn no_caller_makes_a_redirect_lead_elsewhere() {
    for target in ["/old//evil.example", "/old/\\evil.example", "/old/\\/evil.example"] {
        assert_eq!(location("/old*", json!({"path": "/*"}), target), "/evil.example");
    }
    let spec = json!({"match": {}, "redirect": {"scheme": "https"}});
    let told = answer(spec, "a.example@evil.example", "/", false).headers[LOCATION].clone();
    assert_eq!(told, "https://evil.example/", "the host that routes match, not what hides it");
}

#[test]
fn a_redirect_without_a_host_to_keep_is_refused() {
    let own = Own::new(&route(json!({"redirect": {"scheme": "https"}}))).expect("an answer");
    let stop = asked("", "/", false, |asked| own.answer(asked));
    assert!(matches!(stop, Stop::Reject(Rejection::BadRequest { .. })), "{stop:?}");
}

#[test]
fn grpc_callers_get_a_status() {
    let status = |spec: Value| answer(spec, "a", "/p.S/M", true).grpc_status;
    assert_eq!(status(json!({"redirect": {"path": "/x"}})), Some(12));
    assert_eq!(status(json!({"answer": {"status": 503}})), Some(14));
    assert_eq!(status(json!({"answer": {"status": 418}})), Some(2));
    assert_eq!(status(json!({"answer": {"status": 503, "grpc_status": "OK"}})), Some(0));
    let told = answer(json!({"answer": {"message": "ä\n", "status": 404}}), "a", "/", true);
    assert_eq!(told.headers["grpc-status"], "12");
    assert_eq!(told.headers["grpc-message"], "%C3%A4%0A");
    assert_eq!((told.status, told.body.len()), (200, 0));
}

#[test]
fn http_callers_get_what_is_written() {
    let spec = json!({"answer": {"status": 404, "headers": {"X-A": "1"}, "body": "no\n"}});
    let told = answer(spec, "a", "/", false);
    assert_eq!(
        (told.status, &told.body[..], &told.headers["x-a"]),
        (404, &b"no\n"[..], &HeaderValue::from_static("1"))
    );
    assert_eq!(told.headers[CONTENT_TYPE], "text/plain; charset=utf-8");
    let told = answer(json!({"answer": {"grpc_status": "UNAVAILABLE"}}), "a", "/", false);
    assert_eq!((told.status, told.headers.len()), (503, 0));
    assert_eq!(answer(json!({"answer": {}}), "a", "/", false).status, 200);
}

proptest! {
    /// Whatever is asked for, a redirect of the path alone stays on this host.
    #[test]
    fn a_new_path_is_a_path(rest in "[/\\\\a-z.@:?]{0,12}", prefix in prop::sample::select(vec!["/*", "/n*"])) {
        let told = location("/old*", json!({"path": prefix}), &format!("/old/{rest}"));
        prop_assert!(told.starts_with('/'), "{}", told);
        prop_assert!(!told[1..].starts_with(['/', '\\']), "{}", told);
    }
}
