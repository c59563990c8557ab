//! `status`: one screen.

use serde_json::Value;

use super::revision::changes;
use super::{Desk, engine, proxy, route};
use crate::Outcome;
use crate::error::{Exit, Failure};
use crate::output::table::{NONE, cell, table};

const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

pub(crate) fn status(desk: &Desk) -> Outcome {
    let settings = desk.settings()?;
    let summary = desk.session()?.get("/v1/summary")?;
    if desk.out.value(&summary)? {
        return Ok(Exit::Done);
    }
    let list = |field: &str| summary.get(field).and_then(Value::as_array).cloned();
    let (Some(proxies), Some(engines), Some(routes)) =
        (list("proxies"), list("engines"), list("routes"))
    else {
        let server = &settings.server;
        return Err(Failure::unreachable(format!("{server}/v1/summary is not a Pigeon summary")));
    };
    let in_sync = proxies.iter().filter(|p| cell(p, "/state") == "in_sync").count();
    let connected = proxies.iter().filter(|p| p["connected"] == true).count();
    let context = settings.context.map(|c| format!("   context {c}")).unwrap_or_default();
    let mut text = format!(
        "server    {}   version {}{context}\n",
        settings.server,
        cell(&summary, "/version")
    );
    text.push_str(&format!("revision  {}{}\n", cell(&summary, "/revision"), newest(&summary)));
    text.push_str(&format!("proxies   {connected} connected, {in_sync} in sync\n"));
    for (word, listed) in [("routes", &routes), ("engines", &engines)] {
        // The lists of a summary have an end; its totals count all.
        let total = summary.pointer(&format!("/totals/{word}")).and_then(Value::as_u64);
        let total = total.unwrap_or(listed.len() as u64);
        text.push_str(&format!("{word:<10}{total}\n"));
    }
    if !engines.is_empty() {
        text.push_str(&slots(&engines));
    }
    text.push_str(&problems(&proxies, &engines, &routes));
    desk.out.text(&text).map(|()| Exit::Done)
}

/// `   create route/asr, by admin at …`
fn newest(summary: &Value) -> String {
    summary.pointer("/recent/0").map_or_else(String::new, |newest| {
        let (actor, at) = (cell(newest, "/actor"), cell(newest, "/at"));
        format!("   {} by {actor} at {at}", changes(newest))
    })
}

fn slots(engines: &[Value]) -> String {
    let heading = ["  NAME", "IN-USE", "SLOTS", "WAITING", "CALLS", "FAILURES"];
    let row = |engine: &Value| {
        let status = |field: &str| cell(engine, &format!("/status/{field}"));
        [
            format!("  {}", cell(engine, "/name")),
            status("in_use"),
            status("slots"),
            status("waiting"),
            status("calls"),
            status("failures"),
        ]
    };
    table(heading, engines.iter().map(row))
}

fn problems(proxies: &[Value], engines: &[Value], routes: &[Value]) -> String {
    let mut problems = Vec::new();
    if !proxies.iter().any(|p| p["connected"] == true) {
        problems.push("no proxy is connected: nothing serves this configuration".to_owned());
    }
    for p in proxies.iter().filter(|p| cell(p, "/state") != "in_sync") {
        problems.push(format!("proxy {}: {}", cell(p, "/name"), proxy::state(p)));
    }
    for e in engines {
        let name = cell(e, "/name");
        let used = routes.iter().any(|r| route::uses(r, &name));
        let endpoints = e.pointer("/spec/endpoints").and_then(Value::as_array);
        if used && endpoints.is_some_and(Vec::is_empty) {
            problems.push(format!("engine {name} has no endpoints, but routes use it"));
        }
        problems.extend(engine::troubles(e).iter().map(|t| format!("engine {name}: {t}")));
        let waiting = e.pointer("/status/waiting").and_then(Value::as_u64).unwrap_or(0);
        let (in_use, slots) = (cell(e, "/status/in_use"), cell(e, "/status/slots"));
        if waiting > 0 && slots != NONE {
            problems.push(format!(
                "engine {name}: {waiting} calls wait; {in_use} of {slots} slots are in use"
            ));
        }
    }
    if problems.is_empty() {
        return "problems  none\n".into();
    }
    let lines = problems.iter().map(|p| format!("  {RED}{p}{RESET}\n"));
    format!("problems  {}\n{}", problems.len(), lines.collect::<String>())
}
