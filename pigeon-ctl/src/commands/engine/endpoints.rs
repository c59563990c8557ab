//! `engine endpoints`: whether each endpoint gets calls, and if not why.

use pigeon_proto::model::Kind;
use serde_json::Value;

use crate::Outcome;
use crate::cli::engine::EndpointsArgs;
use crate::client::segment;
use crate::commands::{Desk, object, watch};
use crate::output::table::{NONE, cell};
use crate::output::time;
use crate::session::Session;

pub(crate) fn endpoints(desk: &Desk, args: &EndpointsArgs) -> Outcome {
    let target = format!("/v1/engines/{}/endpoints", segment(&args.name));
    let read = |session: &Session| {
        session.list_whole(&target).map_err(|f| object::absent(f, Kind::Engine))
    };
    watch::list(desk, args.list.watch, read, shown)
}

fn shown(list: &Value) -> String {
    let heading =
        ["ADDRESS", "STATE", "IN-USE", "SLOTS", "CALLS", "FAILURES", "P50*", "P99*", "REASON"];
    let row = |e: &Value| {
        [
            cell(e, "/address"),
            cell(e, "/state"),
            cell(e, "/in_use"),
            cell(e, "/slots"),
            cell(e, "/calls"),
            cell(e, "/failures"),
            time::fine(e.pointer("/first_message_ms/p50").and_then(Value::as_f64)),
            time::fine(e.pointer("/first_message_ms/p99").and_then(Value::as_f64)),
            reason(e),
        ]
    };
    watch::rows(heading, row)(list) + "* to the first response message, last 10 s\n"
}

/// `5 calls in a row failed`, or `5 calls in a row failed (1 of 2 proxies: edge-2)`.
pub(crate) fn reason(endpoint: &Value) -> String {
    let said = endpoint.get("reason").and_then(Value::as_str).unwrap_or_default();
    let state = endpoint.get("state").and_then(Value::as_str);
    if state.is_none() && endpoint.get("drain") == Some(&Value::Bool(true)) {
        return "set to drain; no proxy has said how it is".into();
    }
    let views = endpoint.get("proxies").and_then(Value::as_array);
    let views: Vec<_> = views.into_iter().flatten().collect();
    let alike = views.iter().filter(|v| v.get("state").and_then(Value::as_str) == state);
    let names: Vec<String> = alike.map(|v| cell(v, "/proxy")).collect();
    match (said, names.len(), views.len()) {
        ("", _, 0) => NONE.into(),
        (said, _, 0) => said.into(),
        (said, n, of) => {
            let who = format!("({n} of {of} proxies: {})", names.join(", "));
            if said.is_empty() { who } else { format!("{said} {who}") }
        }
    }
}

/// The endpoints of an engine that get no calls, each with its state: `10.0.0.7:1 is ejected: …`.
pub(crate) fn troubles(engine: &Value) -> Vec<String> {
    let endpoints = engine.pointer("/status/endpoints").and_then(Value::as_array);
    let gets_none = |e: &&Value| matches!(cell(e, "/state").as_str(), "ejected" | "unhealthy");
    let said =
        |e: &Value| format!("{} is {}: {}", cell(e, "/address"), cell(e, "/state"), reason(e));
    endpoints.into_iter().flatten().filter(gets_none).map(said).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ejected() -> Value {
        json!({"address": "a:1", "state": "ejected", "reason": "5 calls failed", "drain": false,
            "proxies": [{"proxy": "p2", "state": "ejected"}, {"proxy": "p1", "state": "healthy"}],
            "in_use": 2, "slots": 4, "calls": 10, "failures": 5,
            "first_message_ms": {"p50": 0.06, "p99": 1234.5}})
    }

    #[test]
    fn a_row_says_all_of_an_endpoint() {
        let quiet = json!({"address": "b:1", "state": null, "reason": "", "drain": true,
            "proxies": [], "in_use": 0, "slots": null, "calls": 0, "failures": 0,
            "first_message_ms": null});
        let text = shown(&json!({"items": [ejected(), quiet]}));
        let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split("  ").collect()).collect();
        let words = |i: usize| -> Vec<&str> {
            lines[i].iter().map(|w| w.trim()).filter(|w| !w.is_empty()).collect()
        };
        let said = "5 calls failed (1 of 2 proxies: p2)";
        assert_eq!(words(1), ["a:1", "ejected", "2", "4", "10", "5", "0.06ms", "1.23s", said]);
        let said = "set to drain; no proxy has said how it is";
        assert_eq!(words(2), ["b:1", NONE, "0", NONE, "0", "0", NONE, NONE, said]);
        assert_eq!(lines.len(), 4, "{text}");
    }

    #[test]
    fn troubles_are_the_endpoints_without_calls() {
        let healthy = json!({"address": "b:1", "state": "healthy", "reason": ""});
        let draining = json!({"address": "c:1", "state": "draining", "reason": "drain is set"});
        let engine = json!({"status": {"endpoints": [healthy, ejected(), draining]}});
        assert_eq!(troubles(&engine), ["a:1 is ejected: 5 calls failed (1 of 2 proxies: p2)"]);
        assert!(troubles(&json!({})).is_empty());
    }
}
