//! Every rule about the fields of one object: where the error points, its code, and what it says.

use pigeon_proto::model::{Health, HealthCheck, Kind, Spec, code};
use serde_json::{Value, json};

/// Pointer, code and message of every error in the spec of a `kind`.
fn errors(kind: Kind, spec: &str) -> Vec<(String, String, String)> {
    let spec: Value = serde_saphyr::from_str(spec).expect("YAML");
    let e = Spec::from_json(kind, spec).expect_err("must be refused");
    e.0.into_iter().map(|e| (e.pointer, e.code, e.message)).collect()
}

/// Checks that `spec` has exactly one error: there, with this code, saying each of `says`.
#[track_caller]
fn refused(kind: Kind, spec: &str, pointer: &str, code: &str, says: &[&str]) {
    let found = errors(kind, spec);
    assert_eq!(found.len(), 1, "{spec}: {found:?}");
    assert_eq!((found[0].0.as_str(), found[0].1.as_str()), (pointer, code), "{spec}: {found:?}");
    for word in says {
        assert!(found[0].2.contains(word), "{spec}: \"{word}\" is not in \"{}\"", found[0].2);
    }
}

#[track_caller]
fn engine(spec: &str, pointer: &str, code: &str, says: &[&str]) {
    refused(Kind::Engine, spec, pointer, code, says);
}

#[track_caller]
fn route(spec: &str, pointer: &str, code: &str, says: &[&str]) {
    refused(Kind::Route, spec, pointer, code, says);
}

#[track_caller]
fn taken(kind: Kind, spec: &str) -> Value {
    let value: Value = serde_saphyr::from_str(spec).expect("YAML");
    Spec::from_json(kind, value).unwrap_or_else(|e| panic!("{spec}: {e}")).to_json()
}

#[test]
fn hash_and_its_key_need_each_other() {
    let both = code::CONFLICTING_FIELDS;
    engine("{balance: hash}", "/hash_key", both, &["missing", "source or header:NAME"]);
    engine("{balance: p2c, hash_key: source}", "/hash_key", both, &["is source", "not hash"]);
    engine("{hash_key: source}", "/hash_key", both, &["balance is not hash"]);
    taken(Kind::Engine, "{balance: hash, hash_key: source}");
}

#[test]
fn hash_keys() {
    for bad in ["sauce", "'header:'", "header::path", "header:a b", "cookie:x", "header:ä"] {
        let spec = format!("{{balance: hash, hash_key: {bad}}}");
        let says = ["is not a hash key", "header:x-session-id"];
        engine(&spec, "/hash_key", code::BAD_VALUE, &says);
    }
    let read = taken(Kind::Engine, "{balance: hash, hash_key: header:X-Session}");
    assert_eq!(read["hash_key"], "header:x-session");
}

#[test]
fn unknown_words_name_the_known_ones() {
    let all = ["least_connections", "random", "round_robin", "p2c", "hash"];
    engine("{balance: rr}", "/balance", code::UNKNOWN_VALUE, &all);
    engine("{pool: {reuse: x}}", "/pool/reuse", code::UNKNOWN_VALUE, &["multiplex", "exclusive"]);
}

#[test]
fn health_checks() {
    for bad in ["GRPC", "'grpc:'", "grpc:a b", "http:x", "http://h/p", "'http:/a#b'", "tcp:1"] {
        let says = ["is not a health check", "http:/path"];
        engine(&format!("{{health: {bad}}}"), "/health", code::BAD_VALUE, &says);
        let spec = format!("{{health: {{check: {bad}}}}}");
        engine(&spec, "/health/check", code::BAD_VALUE, &says);
    }
    engine("{health: {check: none, port: 1}}", "/health/port", code::UNKNOWN_FIELD, &["interval"]);
    engine("{health: 5}", "/health", code::WRONG_TYPE, &["5", "an object"]);
}

#[test]
fn health_numbers() {
    let bad = code::BAD_VALUE;
    engine("{health: {interval: 99ms}}", "/health/interval", bad, &["99ms", "at least 100ms"]);
    engine("{health: {timeout: 0s}}", "/health/timeout", bad, &["0s", "at least 1ms"]);
    for field in ["up", "down"] {
        let at = format!("/health/{field}");
        engine(&format!("{{health: {{{field}: 0}}}}"), &at, bad, &["is 0", "from 1 to 100"]);
        engine(&format!("{{health: {{{field}: 101}}}}"), &at, bad, &["is 101", "from 1 to 100"]);
    }
}

#[test]
fn a_text_is_short_for_a_health_check() {
    let read = taken(Kind::Engine, "{health: grpc:asr}");
    let full = json!({"check": "grpc:asr", "interval": "10s", "timeout": "2s", "up": 1, "down": 3});
    assert_eq!(read["health"], full);
    assert_eq!(Health::default().check, HealthCheck::Auto);
    assert_eq!(taken(Kind::Engine, "{}")["health"]["check"], "auto");
}

#[test]
fn an_engine_as_the_version_before_stored_it_still_loads() {
    let stored = r#"{"endpoints":[{"address":"a:1","weight":1}],"balance":"least_connections",
        "protocol":"auto","pool":{"mode":"strict","slots":4,"loose_factor":5,"queue":0,
        "queue_timeout":"2s","dial_timeout":"5s","idle_timeout":"5m","cancel_cooldown":"100ms"},
        "health":"none"}"#;
    let read = taken(Kind::Engine, stored);
    assert_eq!(read["health"]["check"], "none");
    assert_eq!(read["ejection"], taken(Kind::Engine, "{}")["ejection"]);
    let stored = r#"{"match":{"grpc":"a.B"},"engine":"e","priority":0}"#;
    let read = taken(Kind::Route, stored);
    assert_eq!((&read["split"], &read["retry"]["attempts"]), (&json!([]), &json!(0)));
}

#[test]
fn ejection() {
    let bad = code::BAD_VALUE;
    engine("{ejection: {time: 0s}}", "/ejection/time", bad, &["at least 1ms"]);
    engine("{ejection: {max_ejected: 101}}", "/ejection/max_ejected", bad, &["101", "at most 100"]);
    let says = ["is 1s", "less than time (2s)"];
    let both = code::CONFLICTING_FIELDS;
    engine("{ejection: {time: 2s, max_time: 1s}}", "/ejection/max_time", both, &says);
}

#[test]
fn pool_numbers() {
    let cases = [
        ("max_streams_per_connection: 0", "is 0; it must be from 1 to 10000"),
        ("max_streams_per_connection: 10001", "from 1 to 10000"),
        ("max_lifetime: 999ms", "is 999ms; it must be at least 1s"),
        ("max_requests: 0", "is 0; it must be at least 1"),
        ("dial_backoff_max: 99ms", "at least 100ms"),
        ("dial_timeout: 0s", "at least 1ms"),
        ("keepalive_time: 10ms", "at least 1s"),
        ("keepalive_timeout: 0s", "at least 1ms"),
        ("stream_window: 65534", "from 65535 to 16777216"),
        ("stream_window: 16777217", "from 65535 to 16777216"),
        ("connection_window: 1", "from 65535 to 1073741824"),
        ("max_message_bytes: 0", "at least 1"),
        ("warm: 101", "is 101; it must be at most 100"),
        ("loose_factor: 0", "from 1 to 100"),
    ];
    for (field, says) in cases {
        let name = field.split_once(':').map_or(field, |(n, _)| n);
        engine(
            &format!("{{pool: {{{field}}}}}"),
            &format!("/pool/{name}"),
            code::BAD_VALUE,
            &[says],
        );
    }
    engine("{pool: {mode: strict}}", "/pool/slots", code::POOL, &["missing"]);
    engine("{pool: {queue: 1}}", "/pool/mode", code::POOL, &["off", "queue"]);
    engine(
        "{pool: {mode: loose, slots: 0}}",
        "/pool/slots",
        code::BAD_VALUE,
        &["from 1 to 100000"],
    );
}

#[test]
fn what_is_not_set_of_a_pool_is_left_out() {
    let read = taken(Kind::Engine, "{endpoints: [{address: 'a:1'}]}");
    for absent in
        ["max_lifetime", "max_requests", "drain_timeout", "keepalive_time", "max_message_bytes"]
    {
        assert_eq!(read["pool"].get(absent), None, "{absent}");
    }
    assert_eq!(read["pool"]["stream_window"], 262_144);
    assert_eq!(read["endpoints"][0], json!({"address": "a:1", "weight": 1, "drain": false}));
}

#[test]
fn splits() {
    let bad = code::BAD_VALUE;
    for percent in ["0", "100"] {
        let spec = format!("{{engine: a, split: [{{engine: b, percent: {percent}}}]}}");
        route(&spec, "/split/0/percent", bad, &[percent, "from 1 to 99"]);
    }
    let spec = "{engine: a, split: [{engine: b, percent: 50}, {engine: c, percent: 50}]}";
    route(spec, "/split", bad, &["adds up to 100 %", "at most 99"]);
    for twice in ["[{engine: a, percent: 1}]", "[{engine: b, percent: 1}, {engine: b, percent: 1}]"]
    {
        let spec = format!("{{engine: a, split: {twice}}}");
        route(&spec, "/split", code::CONFLICTING_FIELDS, &["twice", "keep one"]);
    }
    route(
        "{engine: a, split: [{engine: b}]}",
        "/split/0/percent",
        code::MISSING_FIELD,
        &["set it"],
    );
}

#[test]
fn retries() {
    let bad = code::BAD_VALUE;
    let with = |fields: &str| format!("{{engine: a, retry: {{{fields}}}}}");
    route(&with("attempts: 11, on: [reset]"), "/retry/attempts", bad, &["11", "at most 10"]);
    route(&with("buffer: 16777217"), "/retry/buffer", bad, &["at most 16777216"]);
    route(&with("budget: 101"), "/retry/budget", bad, &["at most 100"]);
    let both = code::CONFLICTING_FIELDS;
    route(&with("attempts: 2"), "/retry/on", both, &["attempts is 2", "UNAVAILABLE"]);
    route(&with("on: [reset]"), "/retry/attempts", both, &["is 0", "on is set"]);
    route(
        &with("backoff: 2s"),
        "/retry/max_backoff",
        both,
        &["is 250ms", "less than backoff (2s)"],
    );
}

#[test]
fn what_to_retry_on() {
    for bad in ["unavailable", "OK", "'399'", "'600'", "'0503'", "'+503'", "RESET", "''"] {
        let spec = format!("{{engine: a, retry: {{attempts: 1, on: [{bad}]}}}}");
        route(&spec, "/retry/on/0", code::BAD_VALUE, &["nothing to retry on", "UNAVAILABLE"]);
    }
    let number = "{engine: a, retry: {attempts: 1, on: [503]}}";
    route(number, "/retry/on/0", code::BAD_VALUE, &["number 503", "must be text"]);
    let read = taken(
        Kind::Route,
        "{engine: a, retry: {attempts: 1, on: [reset, '503', UNAVAILABLE, CANCELLED, '503']}}",
    );
    assert_eq!(read["retry"]["on"], json!(["CANCELLED", "UNAVAILABLE", "503", "reset"]));
}

#[test]
fn no_time_at_all_is_no_timeout() {
    assert_eq!(taken(Kind::Route, "{engine: a, timeout: 0s}").get("timeout"), None);
}
