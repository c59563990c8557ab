//! The status port as operators use it, with curl and with a browser's headers, and as an attacker would.

use pigeon_e2e::{Engine, Proxy, grpc, http, until};
use pigeon_proto::model::document;
use serde_json::Value;

/// A name that may stand on a page, and a value that may not stand anywhere.
const CONFIG: &str = "
kind: engine
name: asr
spec: {endpoints: [{address: 'ENGINE'}], pool: {mode: loose, slots: 4}}
---
kind: route
name: all
spec:
  match: {path: '/<script>/*'}
  engine: asr
  retry: {attempts: 2, on: [UNAVAILABLE]}
  request_headers: {set: {authorization: Bearer not-for-you}}
---
kind: route
name: speech
spec: {match: {grpc: pigeon.demo.v1.Speech}, engine: asr}
";

struct Stage {
    proxy: Proxy,
    engine: Engine,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::start("demo-1", &[]);
        let file = dir.path().join("gateway.yaml");
        let text = CONFIG.replace("ENGINE", &engine.address().to_string());
        std::fs::write(&file, text).unwrap();
        Self { proxy: Proxy::from_file("status", &file), engine, _dir: dir }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> http::Reply {
        let to = self.proxy.status_address();
        http::send(to, method, path, headers, body.as_bytes()).unwrap()
    }
}

#[test]
fn the_state_shows_what_is_open_and_what_it_did() {
    let stage = Stage::new();
    let (send, chunks) = grpc::upload();
    let mut speech = grpc::speech(grpc::channel(stage.proxy.address()));
    let answer = grpc::block_on(async {
        send.send(grpc::audio()).await.unwrap();
        speech.recognize(chunks).await.unwrap()
    });
    let state = stage.ask("GET", "/state", &[], "").json();
    assert_eq!(state["connections"]["open"], 1, "{state}");
    let connection = &state["connections"]["busiest"][0];
    assert_eq!(
        (&connection["calls_open"], &connection["listener"]),
        (&1.into(), &"default".into())
    );
    let listener = &state["listeners"][0];
    assert_eq!(
        (&listener["connections"], &listener["accepted"]),
        (&1.into(), &1.into()),
        "{state}"
    );
    let route = state["routes"].as_array().unwrap().iter().find(|r| r["name"] == "speech").unwrap();
    assert_eq!(
        (&route["engines"][0]["open"], &route["engines"][0]["calls"]),
        (&1.into(), &0.into())
    );
    let endpoint = &state["engines"]["asr"]["endpoints"][0];
    assert_eq!(
        (&endpoint["in_use"], &endpoint["address"]),
        (&1.into(), &stage.engine.address().to_string().into())
    );
    assert_eq!(state["process"]["pid"], stage.proxy.process.id());
    assert!(state["process"]["memory_bytes"].as_u64() > Some(1 << 20), "{state}");
    drop((answer, send, speech));
    until("the call is counted, the connection gone", || {
        let state = stage.ask("GET", "/state", &[], "").json();
        let route =
            state["routes"].as_array().unwrap().iter().find(|r| r["name"] == "speech").unwrap();
        let over = route["engines"][0]["calls"] == 1 && state["connections"]["open"] == 0;
        if over { Ok(()) } else { Err(state.to_string()) }
    });
}

#[test]
fn a_browser_gets_a_page_without_script_and_nobody_a_secret() {
    let stage = Stage::new();
    let page = stage.ask("GET", "/state", &[("accept", "text/html,*/*;q=0.8")], "");
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let html = page.text();
    assert!(html.contains("asr") && !html.contains("<script"), "{html}");
    assert_eq!(stage.ask("GET", "/state.css", &[], "").status, 200);
    let yaml = stage.ask("GET", "/config", &[], "").text();
    let json = stage.ask("GET", "/config", &[("accept", "application/json")], "").json();
    for text in [&html, &yaml, &json.to_string(), &stage.ask("GET", "/state", &[], "").text()] {
        assert!(!text.contains("not-for-you"), "{text}");
    }
    assert!(yaml.starts_with("# revision 1, from file\n"), "{yaml}");
    let objects = document::parse(&yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
    assert_eq!(objects.len(), 4, "with the standard listener: {yaml}");
    assert_eq!(document::objects(json["items"].as_array().unwrap().clone()).unwrap(), objects);
    assert_eq!((&json["revision"], &json["rejected"]), (&1.into(), &Value::Array(vec![])));
}

#[test]
fn the_log_level_changes_for_a_time_and_goes_back() {
    let stage = Stage::new();
    let level = || stage.ask("GET", "/log", &[], "").json();
    assert_eq!(level()["filter"], "info");
    // As curl sends it.
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let set = stage.ask("PUT", "/log?for=2s", &form, "info,pigeon_proxy=debug");
    assert_eq!(set.status, 200, "{}", set.text());
    assert_eq!(set.json()["then"]["filter"], "info");
    http::get(stage.proxy.address(), "/nothing").unwrap();
    assert_eq!(level()["filter"], "info,pigeon_proxy=debug");
    until("it goes back", || {
        let now = level();
        if now["filter"] == "info" && now["then"].is_null() { Ok(()) } else { Err(now.to_string()) }
    });
    for (path, body, why) in [
        ("/log", "loud", "not one of"),
        ("/log", "", "empty"),
        ("/log?for=soon", "info", "for=5m"),
        ("/log?until=5m", "info", "?for=5m"),
        ("/log?for=0s", "info", "the time"),
    ] {
        let refused = stage.ask("PUT", path, &form, body);
        assert_eq!(refused.status, 400, "{path} {body}");
        assert!(refused.text().contains(why), "{path} {body}: {}", refused.text());
    }
    assert_eq!(stage.ask("PUT", "/log", &form, &"x".repeat(10_000)).status, 400);
    assert_eq!(level()["filter"], "info");
    assert!(stage.proxy.process.stderr().contains("the log level was changed"));
}

/// An attack: pages of other sites, and names that suddenly lead here.
#[test]
fn web_pages_of_others_reach_nothing() {
    let stage = Stage::new();
    let rebound = [("host", "evil.example:9901")];
    for path in ["/state", "/config", "/metrics", "/log"] {
        assert_eq!(stage.ask("GET", path, &rebound, "").status, 403, "{path}");
    }
    for headers in [
        &rebound[..],
        &[("origin", "http://evil.example")],
        &[("origin", "null"), ("content-type", "text/plain")],
        &[("sec-fetch-site", "cross-site")],
    ] {
        assert_eq!(stage.ask("PUT", "/log", headers, "debug").status, 403, "{headers:?}");
    }
    assert_eq!(stage.ask("POST", "/log", &[], "debug").status, 405);
    assert_eq!(stage.ask("OPTIONS", "/log", &[("origin", "http://evil.example")], "").status, 403);
    assert_eq!(stage.ask("GET", "/log", &[], "").json()["filter"], "info");
}
