//! How calls are balanced, checked, retried and split, by flags; endpoints and draining.

use serde_json::{Value, json};

use crate::support::Admin;

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn engine(admin: &Admin) -> Value {
    admin.json(&["engine", "get", "asr"])["spec"].clone()
}

#[test]
fn every_flag_of_an_engine_sets_its_field() {
    let admin = Admin::start();
    admin.ok(&words("engine add asr --static a:1"));
    let before = engine(&admin);
    admin.ok(&words("engine set asr --lb hash:X-Session --slow-start 30s --reuse exclusive --max-streams 7 --warm 2"));
    admin.ok(&words("engine set asr --max-lifetime 1h --max-requests 9 --drain 5m --dial-backoff-max 1s --max-message-bytes 4096"));
    admin.ok(&words(
        "engine set asr --keepalive-time 30s --keepalive-timeout 5s --keepalive-without-calls true",
    ));
    admin.ok(&words("engine set asr --stream-window 65535 --connection-window 131072"));
    admin.ok(&words("engine set asr --health grpc:asr.v1.Asr --health-interval 1s --health-timeout 500ms --health-up 2 --health-down 4"));
    admin.ok(&words("engine set asr --eject-failures 3 --eject-outliers false --eject-time 10s --eject-max-time 1m --eject-max 20"));
    let mut expected = before.clone();
    expected["balance"] = json!("hash");
    expected["hash_key"] = json!("header:x-session");
    expected["slow_start"] = json!("30s");
    let pool = json!({"reuse": "exclusive", "max_streams_per_connection": 7, "warm": 2,
        "max_lifetime": "1h", "max_requests": 9, "drain_timeout": "5m", "dial_backoff_max": "1s",
        "max_message_bytes": 4096, "keepalive_time": "30s", "keepalive_timeout": "5s",
        "keepalive_without_calls": true, "stream_window": 65535, "connection_window": 131_072});
    for (field, value) in pool.as_object().expect("fields") {
        expected["pool"][field] = value.clone();
    }
    expected["health"] = json!({"check": "grpc:asr.v1.Asr", "interval": "1s", "timeout": "500ms",
        "up": 2, "down": 4});
    expected["ejection"] = json!({"failures": 3, "outliers": false, "time": "10s",
        "max_time": "1m", "max_ejected": 20});
    assert_eq!(engine(&admin), expected);
}

#[test]
fn limits_and_keys_can_be_taken_away() {
    let admin = Admin::start();
    admin.ok(&words("engine add asr --static a:1 --lb hash --hash-key source --max-requests 5 --max-message-bytes 5 --max-lifetime 5s --drain 5s --keepalive-time 5s"));
    assert_eq!(engine(&admin)["hash_key"], "source");
    admin.ok(&["engine", "set", "asr", "--lb", "round-robin", "--max-requests", "", "--drain", ""]);
    admin.ok(&[
        "engine",
        "set",
        "asr",
        "--max-message-bytes=",
        "--max-lifetime=",
        "--keepalive-time=",
    ]);
    let spec = engine(&admin);
    assert_eq!((&spec["balance"], spec.get("hash_key")), (&json!("round_robin"), None));
    admin.ok(&words("engine add plain --static a:1 --lb round-robin"));
    assert_eq!(spec, admin.json(&["engine", "get", "plain"])["spec"]);
}

#[test]
fn shares_of_a_route() {
    let admin = Admin::start();
    for name in ["llm-a", "llm-b", "llm-c"] {
        admin.ok(&["engine", "add", name, "--static", "a:1"]);
    }
    admin
        .ok(&words("route add chat --grpc llm.v1.Chat --engine llm-a --to llm-b=10% --to llm-c=5"));
    let split = |admin: &Admin| admin.json(&["route", "get", "chat"])["spec"]["split"].clone();
    let share = |engine, percent: u32| json!({"engine": engine, "percent": percent});
    assert_eq!(split(&admin), json!([share("llm-b", 10), share("llm-c", 5)]));
    let list = admin.ok(&["route", "list"]);
    assert!(list.contains("grpc llm.v1.Chat  llm-a 85 llm-b 10 llm-c 5  0"), "{list}");
    let test = admin.ok(&["route", "test", "--grpc", "llm.v1.Chat/Say"]);
    assert!(test.contains("→ engine llm-a 85 llm-b 10 llm-c 5\n"), "{test}");
    let ran = admin.ctl(&["engine", "rm", "llm-b", "-y"]).run();
    assert_eq!(ran.code, 6, "{ran:?}");
    admin.ok(&["route", "set", "chat", "--priority", "1"]);
    assert_eq!(split(&admin)[0], share("llm-b", 10), "what is not given stays");
    admin.ok(&["route", "set", "chat", "--to", "llm-b=50%"]);
    assert_eq!(split(&admin), json!([share("llm-b", 50)]), "what is given is all of it");
    admin.ok(&["route", "set", "chat", "--to", ""]);
    assert_eq!(split(&admin), json!([]));
    admin.ok(&["engine", "rm", "llm-b", "-y"]);
}

#[test]
fn retries_of_a_route() {
    let admin = Admin::start();
    admin.ok(&["engine", "add", "web", "--static", "a:1"]);
    admin.ok(&words("route add r --engine web --retries 2 --retry-on UNAVAILABLE,503,reset --retry-backoff 10ms --retry-max-backoff 1s --retry-buffer 100 --retry-budget 5"));
    let retry = |admin: &Admin| admin.json(&["route", "get", "r"])["spec"]["retry"].clone();
    let expected = json!({"attempts": 2, "on": ["UNAVAILABLE", "503", "reset"], "backoff": "10ms",
        "max_backoff": "1s", "buffer": 100, "budget": 5});
    assert_eq!(retry(&admin), expected);
    admin.ok(&["route", "set", "r", "--retries", "0"]);
    assert_eq!((&retry(&admin)["attempts"], &retry(&admin)["on"]), (&json!(0), &json!([])));
    admin.ok(&words("route set r --retries 1 --retry-on reset"));
    admin.ok(&["route", "set", "r", "--retry-on", ""]);
    assert_eq!((&retry(&admin)["attempts"], &retry(&admin)["on"]), (&json!(0), &json!([])));
    assert_eq!(retry(&admin)["buffer"], 100);
}

#[test]
fn endpoints_are_listed_and_drained() {
    let admin = Admin::start();
    admin.ok(&words("engine add asr --static 10.0.0.7:1,10.0.0.8:1=4 --pool strict --slots 2"));
    let drains = |admin: &Admin| -> Vec<bool> {
        let list = admin.json(&["engine", "endpoints", "asr"]);
        let items = list["items"].as_array().expect("items");
        items.iter().map(|e| e["drain"].as_bool().expect("drain")).collect()
    };
    assert_eq!(drains(&admin), [false, false]);
    let before = engine(&admin);
    let line = admin.ok(&words("engine drain asr --endpoint 10.0.0.8:1"));
    assert!(line.starts_with("engine/asr changed   revision "), "{line}");
    assert_eq!(drains(&admin), [false, true]);
    let table = admin.ok(&["engine", "endpoints", "asr"]);
    let heading: Vec<_> = table.lines().next().expect("a heading").split_whitespace().collect();
    let columns =
        ["ADDRESS", "STATE", "IN-USE", "SLOTS", "CALLS", "FAILURES", "P50*", "P99*", "REASON"];
    assert_eq!(heading, columns);
    assert!(table.contains("set to drain; no proxy has said how it is\n"), "{table}");
    let line = admin.ok(&words("engine drain asr --endpoint 10.0.0.8:1"));
    assert!(line.starts_with("engine/asr unchanged   "), "{line}");
    admin.ok(&["engine", "drain", "asr"]);
    assert_eq!(drains(&admin), [true, true]);
    let line = admin.ok(&["engine", "undrain", "asr", "--dry-run"]);
    assert_eq!(line, "engine/asr changed   dry run: nothing was written\n");
    admin.ok(&["engine", "undrain", "asr"]);
    assert_eq!(engine(&admin), before, "nothing else has changed");
    let ran = admin.ctl(&words("engine drain asr --if-match 1")).run();
    assert_eq!(ran.code, 6, "{ran:?}");
}
