//! add, list, get, set and rm of every kind.

use serde_json::{Value, json};

use crate::support::Admin;

const ENGINE: &str = "engine add asr --static 10.0.0.7:50051,10.0.0.8:50051=4 --pool strict --slots 32 --queue 64 --queue-timeout 2s --lb least-connections --health none --label team=speech";

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

#[test]
fn an_engine_from_add_to_rm() {
    let admin = Admin::start();
    let line = admin.ok(&words(ENGINE));
    assert!(line.starts_with("engine/asr added   revision "), "{line}");
    assert!(line.ends_with("   no proxy connected\n"), "{line}");

    let engine = admin.json(&["engine", "get", "asr"]);
    assert_eq!(
        engine["spec"]["endpoints"][1],
        json!({"address": "10.0.0.8:50051", "slots": 4, "weight": 1, "drain": false})
    );
    assert_eq!(engine["spec"]["pool"]["queue"], 64);
    assert_eq!(engine["spec"]["balance"], "least_connections");
    assert_eq!(engine["labels"], json!({"team": "speech"}));

    let list = admin.ok(&["engine", "list"]);
    let mut lines = list.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
    assert_eq!(
        lines.next().expect("heading"),
        ["NAME", "ENDPOINTS", "MODE", "SLOTS", "IN-USE", "WAITING"]
    );
    assert_eq!(lines.next().expect("asr")[..3], ["asr", "2", "strict"]);

    let line = admin.ok(&["engine", "rm", "asr", "-y"]);
    assert!(line.starts_with("engine/asr removed   revision "), "{line}");
    assert_eq!(admin.ctl(&["engine", "get", "asr"]).run().code, 5);
}

#[test]
fn set_changes_what_is_given_and_nothing_else() {
    let admin = Admin::start();
    admin.ok(&words(ENGINE));
    let before = admin.json(&["engine", "get", "asr"]);

    let line = admin.ok(&["engine", "set", "asr", "--queue-timeout", "100ms"]);
    assert!(line.starts_with("engine/asr changed   revision "), "{line}");
    let after = admin.json(&["engine", "get", "asr"]);
    let mut expected = before["spec"].clone();
    expected["pool"]["queue_timeout"] = json!("100ms");
    assert_eq!(after["spec"], expected);
    assert_eq!(after["labels"], before["labels"]);

    let line = admin.ok(&["engine", "set", "asr", "--queue-timeout", "100ms"]);
    assert!(line.starts_with("engine/asr unchanged   revision "), "{line}");
    assert_eq!(admin.json(&["engine", "get", "asr"])["revision"], after["revision"]);

    admin.ok(&["engine", "set", "asr", "--label", "team=", "--label", "tier=gold"]);
    assert_eq!(admin.json(&["engine", "get", "asr"])["labels"], json!({"tier": "gold"}));

    admin.ok(&["engine", "set", "asr", "--static", "10.0.0.9:1"]);
    let endpoints = admin.json(&["engine", "get", "asr"])["spec"]["endpoints"].clone();
    assert_eq!(endpoints, json!([{"address": "10.0.0.9:1", "weight": 1, "drain": false}]));
}

#[test]
fn turning_a_pool_off_needs_no_knowledge_of_its_slots() {
    let admin = Admin::start();
    admin.ok(&words(ENGINE));
    admin.ok(&["engine", "set", "asr", "--pool", "off"]);
    let spec = admin.json(&["engine", "get", "asr"])["spec"].clone();
    assert_eq!(spec["pool"]["mode"], "off");
    assert_eq!(spec["pool"].get("slots"), None);
    let endpoint = json!({"address": "10.0.0.8:50051", "weight": 1, "drain": false});
    assert_eq!(spec["endpoints"][1], endpoint);
    // Slots without a mode: the server says what to do.
    let ran = admin.ctl(&["engine", "set", "asr", "--slots", "4"]).run();
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.stderr.contains("pool.mode is off, but slots is set"), "{ran:?}");
}

#[test]
fn a_route_moves_between_http_and_grpc() {
    let admin = Admin::start();
    admin.ok(&["engine", "add", "web", "--static", "h:1"]);
    let line = admin.ok(&words(
        "route add r --path /users* --method GET --method PUT --host example.com --engine web --timeout 30s --priority -2",
    ));
    assert!(line.starts_with("route/r added   revision "), "{line}");
    let spec = |admin: &Admin| {
        let mut spec = admin.json(&["route", "get", "r"])["spec"].clone();
        let fields = spec.as_object_mut().expect("a spec");
        assert_eq!(fields.remove("split"), Some(json!([])));
        assert_eq!(fields.remove("limits"), Some(json!([])));
        assert_eq!(fields.remove("retry").expect("retry")["attempts"], 0);
        spec
    };
    assert_eq!(
        spec(&admin),
        json!({"match": {"path": "/users*", "methods": ["GET", "PUT"], "host": "example.com"},
               "engine": "web", "timeout": "30s", "priority": -2})
    );
    admin.ok(&["route", "set", "r", "--grpc", "a.B/C", "--timeout", ""]);
    assert_eq!(
        spec(&admin),
        json!({"match": {"grpc": "a.B/C", "host": "example.com"}, "engine": "web", "priority": -2})
    );
    admin.ok(&["route", "set", "r", "--host", ""]);
    assert_eq!(spec(&admin)["match"], json!({"grpc": "a.B/C"}));
    admin.ok(&["route", "set", "r", "--path", "/x", "--method", "GET"]);
    assert_eq!(spec(&admin)["match"], json!({"path": "/x", "methods": ["GET"]}));
    let list = admin.ok(&["route", "list"]);
    assert!(list.contains("r     http GET /x  web     -2"), "{list}");
}

#[test]
fn a_listener_from_add_to_rm() {
    let admin = Admin::start();
    admin.ok(&words("listener add second --address 127.0.0.1:8099 --max-connections 5"));
    admin.ok(&words("listener set second --header-timeout 3s"));
    let spec = admin.json(&["listener", "get", "second"])["spec"].clone();
    assert_eq!(spec["max_connections"], 5);
    assert_eq!(spec["header_timeout"], "3s");
    assert!(admin.ok(&["listener", "list"]).contains("127.0.0.1:8099"));
    admin.ok(&words("listener rm second -y"));
    let names: Vec<Value> = admin.json(&["listener", "list"])["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|l| l["name"].clone())
        .collect();
    assert_eq!(names, ["default"]);
}

#[test]
fn if_match_and_dry_run() {
    let admin = Admin::start();
    admin.ok(&words(ENGINE));
    let revision = admin.json(&["engine", "get", "asr"])["revision"].to_string();
    let line = admin.ok(&["engine", "set", "asr", "--queue", "1", "--dry-run"]);
    assert_eq!(line, "engine/asr changed   dry run: nothing was written\n");
    admin.ok(&["engine", "rm", "asr", "--dry-run"]);
    assert_eq!(admin.json(&["engine", "get", "asr"])["revision"].to_string(), revision);

    admin.ok(&["engine", "set", "asr", "--queue", "1", "--if-match", &revision]);
    for command in [
        &["engine", "set", "asr", "--queue", "2", "--if-match", &revision][..],
        &["engine", "rm", "asr", "-y", "--if-match", &revision],
    ] {
        let ran = admin.ctl(command).run();
        assert_eq!((ran.code, ran.stdout.as_str()), (6, ""), "{ran:?}");
    }
    assert_eq!(admin.json(&["engine", "get", "asr"])["spec"]["pool"]["queue"], 1);
}

#[test]
fn rm_asks_and_where_no_one_answers_it_names_the_flag() {
    let admin = Admin::start();
    admin.ok(&words(ENGINE));
    let ran = admin.ctl(&["engine", "rm", "asr"]).run();
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("-y"), "{ran:?}");
    assert!(ran.stderr.contains("engine/asr"), "{ran:?}");
    admin.ok(&["engine", "get", "asr"]);
}

#[test]
fn every_object_of_a_long_list_is_listed() {
    let admin = Admin::start();
    let one = |i: usize| format!("kind: engine\nname: e{i}\nspec: {{}}\n");
    let all: Vec<String> = (0..1_201).map(one).collect();
    let file = admin.write("many.yaml", &all.join("---\n"));
    admin.ok(&["apply", "-f", &file]);
    let items = admin.json(&["engine", "list"])["items"].as_array().expect("items").len();
    assert_eq!(items, 1_201);
    assert_eq!(admin.ok(&["engine", "list"]).lines().count(), 1_202);
}

#[test]
fn route_test_says_which_route_and_exits_1_without_one() {
    let admin = Admin::start();
    admin.ok(&["engine", "add", "web", "--static", "h:1"]);
    admin.ok(&["route", "add", "users", "--path", "/users*", "--engine", "web"]);
    admin.ok(&["route", "add", "rest", "--path", "/*", "--engine", "web"]);
    let text = admin.ok(&["route", "test", "--method", "GET", "--path", "/users/7"]);
    assert!(text.starts_with("match: users   http /users* → engine web\n"), "{text}");
    assert!(text.contains("rest"), "{text}");
    assert_eq!(admin.json(&["route", "test", "--path", "/zz"])["match"]["name"], "rest");
    let ran = admin.ctl(&["route", "test", "--grpc", "a.B/C", "-o", "json"]).run();
    let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let expected = if answer["match"].is_null() { 1 } else { 0 };
    assert_eq!(ran.code, expected, "{ran:?}");
    admin.ok(&["route", "rm", "rest", "-y"]);
    let ran = admin.ctl(&["route", "test", "--path", "/zz"]).run();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.starts_with("no route matches\n"), "{ran:?}");
}

#[test]
fn a_route_gets_a_limit_another_and_none() {
    let admin = Admin::start();
    admin.ok(&["engine", "add", "web", "--static", "h:1"]);
    admin.ok(&words("route add r --engine web --rate 90/m"));
    let limits = |admin: &Admin| admin.json(&["route", "get", "r"])["spec"]["limits"].clone();
    assert_eq!(limits(&admin), json!([{"rate": "90/m", "burst": 1, "per": "route"}]));
    admin.ok(&words("route set r --rate 5/s --burst 20 --rate-per source"));
    assert_eq!(limits(&admin), json!([{"rate": "5/s", "burst": 20, "per": "source"}]));
    admin.ok(&["route", "set", "r", "--timeout", "3s"]);
    assert_eq!(limits(&admin), json!([{"rate": "5/s", "burst": 20, "per": "source"}]));
    admin.ok(&["route", "set", "r", "--rate", ""]);
    assert_eq!(limits(&admin), json!([]));
}

#[test]
fn a_route_may_be_called_in_json() {
    let admin = Admin::start();
    admin.ok(&["engine", "add", "chat", "--static", "h:1"]);
    admin.ok(&words("route add r --engine chat --transcode"));
    let transcode = |admin: &Admin| admin.json(&["route", "get", "r"])["spec"]["transcode"].clone();
    assert_eq!(transcode(&admin), json!(true));
    let wrong = admin.ctl(&words("route set r --rewrite-path /x")).run();
    assert_eq!(wrong.code, 7, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("excludes rewrite.path"), "{}", wrong.stderr);
    admin.ok(&words("route set r --transcode=false"));
    assert_eq!(transcode(&admin), Value::Null);
    let wrong = admin.ctl(&words("route add s --grpc a.B --engine chat --transcode")).run();
    assert_eq!(wrong.code, 7, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("needs match.path"), "{}", wrong.stderr);
}

#[test]
fn a_route_may_be_called_by_pages() {
    let admin = Admin::start();
    admin.ok(&["engine", "add", "web", "--static", "h:1"]);
    admin.ok(&words("route add r --engine web --cors https://a.example,https://*.b.example"));
    let cors = |admin: &Admin| admin.json(&["route", "get", "r"])["spec"]["cors"].clone();
    assert_eq!(cors(&admin)["origins"], json!(["https://a.example", "https://*.b.example"]));
    admin.ok(&words("route set r --cors *"));
    assert_eq!(cors(&admin)["origins"], json!(["*"]));
    assert_eq!(cors(&admin)["max_age"], "10m");
    let wrong = admin.ctl(&words("route set r --cors a.example")).run();
    assert_eq!(wrong.code, 7, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("the scheme is missing"), "{}", wrong.stderr);
    admin.ok(&["route", "set", "r", "--cors", ""]);
    assert_eq!(cors(&admin), Value::Null);
}

#[test]
fn revisions_are_read_compared_and_gone_back_to() {
    let admin = Admin::start();
    admin.ok(&words(ENGINE));
    let list = admin.json(&["revision", "list"]);
    let then = list["items"][0]["revision"].as_u64().expect("number").to_string();
    admin.ok(&["engine", "set", "asr", "--queue", "9"]);
    admin.ok(&["engine", "add", "new"]);

    let get = admin.ok(&["revision", "get", &then]);
    assert!(get.starts_with(&format!("revision {then}   ")), "{get}");
    assert!(get.ends_with("create engine/asr\n"), "{get}");
    let diff = admin.ctl(&["revision", "diff", &then]).run();
    assert_eq!(diff.code, 1, "{}", diff.stderr);
    assert!(diff.stdout.contains(&format!("--- engine/asr revision {then}\n")), "{}", diff.stdout);
    assert!(diff.stdout.contains("-    queue: 64\n+    queue: 9\n"), "{}", diff.stdout);
    assert!(diff.stdout.contains("--- /dev/null\n+++ engine/new revision"), "{}", diff.stdout);

    let asked = admin.ctl(&["revision", "rollback", &then]).run();
    assert_eq!(asked.code, 2, "{}", asked.stdout);
    assert!(asked.stderr.contains("Take 2 objects back"), "{}", asked.stderr);
    let tried = admin.ok(&["revision", "rollback", &then, "--dry-run"]);
    assert!(tried.contains("1 changed, 1 removed   dry run"), "{tried}");
    let done = admin.ok(&["revision", "rollback", &then, "-y"]);
    assert!(done.contains("engine/asr changed\nengine/new removed\n"), "{done}");
    assert_eq!(admin.ok(&["revision", "diff", &then]), "");
    assert_eq!(admin.json(&["engine", "get", "asr"])["spec"]["pool"]["queue"], 64);
    let again = admin.ok(&["revision", "rollback", &then]);
    assert!(again.starts_with("nothing has changed since"), "{again}");
    assert_eq!(admin.ctl(&["revision", "get", "99"]).run().code, 5);
}
