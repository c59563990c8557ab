//! `check`: is everything well, in words and codes that stay the same, and what to do where it is not.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Desk, engine, proxy, route};
use crate::Outcome;
use crate::cli::{CheckArgs, CheckCategory};
use crate::error::{Exit, Failure, clean};
use crate::output::table::cell;
use crate::session::Session;

/// The store takes no writes.
const STORE: &str = "PGN-C101";
/// The versions of programs differ.
const VERSIONS: &str = "PGN-C102";
/// No proxy is connected.
const NO_PROXY: &str = "PGN-C201";
/// A proxy does not serve the newest revision.
const BEHIND: &str = "PGN-C202";
/// A proxy refuses an object.
const REJECTED: &str = "PGN-C203";
/// A proxy is not connected any more.
const GONE: &str = "PGN-C204";
/// An engine that routes use has no endpoints.
const NO_ENDPOINTS: &str = "PGN-C301";
/// An endpoint of an engine gets no calls.
const TROUBLE: &str = "PGN-C302";
/// No endpoint of an engine gets calls.
const NONE_USABLE: &str = "PGN-C303";
/// Calls wait for slots.
const WAITING: &str = "PGN-C304";

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    Warning,
    Failure,
}

/// Something that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    category: &'static str,
    level: Level,
    /// None of what is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    what: String,
    /// What to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    next: Vec<String>,
}

/// What there is to look at.
struct Looked {
    summary: Value,
    took: Duration,
    server: String,
}

pub(crate) fn check(desk: &Desk, args: &CheckArgs) -> Outcome {
    let server = desk.settings()?.server.to_string();
    let begun = Instant::now();
    let session = desk.session()?;
    let summary = session.get("/v1/summary")?;
    if !summary.get("proxies").is_some_and(Value::is_array) {
        return Err(Failure::unreachable(format!("{server}/v1/summary is not a Pigeon summary")));
    }
    let looked = Looked { summary, took: begun.elapsed(), server };
    let chosen = CheckCategory::ALL
        .iter()
        .filter(|c| args.categories.is_empty() || args.categories.contains(c));
    let mut findings = Vec::new();
    for category in chosen {
        findings.extend(of(*category, &looked, &session)?);
    }
    print(desk, &findings)?;
    let failed = findings.iter().any(|finding| finding.level == Level::Failure);
    Ok(if failed { Exit::No } else { Exit::Done })
}

fn of(
    category: CheckCategory,
    looked: &Looked,
    session: &Session,
) -> Result<Vec<Finding>, Failure> {
    // A summary has only the first of each.
    let all = |collection: &str| session.list(collection, usize::MAX);
    Ok(match category {
        CheckCategory::Admin => admin(looked),
        CheckCategory::Proxies => proxies(&looked.summary, &session.list_whole("/v1/proxies")?),
        CheckCategory::Engines => engines(&all("/v1/engines")?, &all("/v1/routes")?),
    })
}

fn print(desk: &Desk, findings: &[Finding]) -> Result<(), Failure> {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (failed, warnings, well) = (count(Level::Failure), count(Level::Warning), count(Level::Ok));
    let counts = json!({ "failures": failed, "warnings": warnings, "passed": well });
    if desk.out.value(&json!({ "items": findings, "counts": counts }))? {
        return Ok(());
    }
    let mut text = String::new();
    let mut category = "";
    for finding in findings {
        if finding.category != category {
            category = finding.category;
            text.push_str(&format!("{category}\n"));
        }
        let mark = match finding.level {
            Level::Ok => "ok     ",
            Level::Warning => "warning",
            Level::Failure => "FAILED ",
        };
        let code = finding.code.map(|code| format!("   {code}")).unwrap_or_default();
        text.push_str(&clean(&format!("  {mark}  {}{code}\n", finding.what)));
        for next in &finding.next {
            text.push_str(&clean(&format!("           next: {next}\n")));
        }
    }
    desk.out.text(&text)?;
    desk.out.done(&format!("{failed} failed, {warnings} warnings, {well} passed"))
}

fn well(category: &'static str, what: String) -> Finding {
    Finding { category, level: Level::Ok, code: None, what, next: Vec::new() }
}

fn bad(
    category: &'static str,
    level: Level,
    code: &'static str,
    what: String,
    next: &[&str],
) -> Finding {
    let next = next.iter().map(|next| (*next).to_owned()).collect();
    Finding { category, level, code: Some(code), what, next }
}

fn admin(looked: &Looked) -> Vec<Finding> {
    const ADMIN: &str = "admin";
    let Looked { summary, took, server } = looked;
    let version = cell(summary, "/version");
    let mut findings =
        vec![well(ADMIN, format!("{server} answers, version {version} ({} ms)", took.as_millis()))];
    findings.push(match summary.pointer("/store/writable").and_then(Value::as_bool) {
        Some(false) => {
            let why = cell(summary, "/store/reason");
            let what =
                format!("the store takes no writes: {why}; proxies go on with what they have");
            bad(ADMIN, Level::Failure, STORE, what, &[])
        }
        _ => well(ADMIN, "the store takes writes".to_owned()),
    });
    let own = env!("CARGO_PKG_VERSION");
    if version != own {
        let what = format!("pigeon-ctl is version {own}, the admin is {version}");
        findings.push(bad(ADMIN, Level::Warning, VERSIONS, what, &[]));
    }
    findings
}

fn proxies(summary: &Value, all: &[Value]) -> Vec<Finding> {
    const PROXIES: &str = "proxies";
    let connected = all.iter().filter(|p| p["connected"] == true).count();
    let mut findings = Vec::new();
    if connected == 0 {
        let what = "no proxy is connected: nothing follows this configuration".to_owned();
        findings.push(bad(PROXIES, Level::Failure, NO_PROXY, what, &["pigeon-proxy --admin …"]));
    }
    let version = cell(summary, "/version");
    for p in all {
        let name = cell(p, "/name");
        let next = format!("pigeon-ctl proxy get {name}");
        let (level, code) = match cell(p, "/state").as_str() {
            "in_sync" => (Level::Ok, ""),
            "rejected" => (Level::Failure, REJECTED),
            "disconnected" => (Level::Warning, GONE),
            _ => (Level::Failure, BEHIND),
        };
        if level != Level::Ok {
            let what = format!("{name}: {}", proxy::state(p));
            findings.push(bad(PROXIES, level, code, what, &[&next]));
        }
        let its = cell(p, "/version");
        if p["connected"] == true && its != version {
            let what = format!("{name} is version {its}, the admin is {version}");
            findings.push(bad(PROXIES, Level::Warning, VERSIONS, what, &[]));
        }
    }
    if findings.is_empty() {
        let what =
            format!("{connected} connected, all serve revision {}", cell(summary, "/revision"));
        findings.push(well(PROXIES, what));
    }
    findings
}

fn engines(all: &[Value], routes: &[Value]) -> Vec<Finding> {
    const ENGINES: &str = "engines";
    let mut findings = Vec::new();
    for e in all {
        let name = cell(e, "/name");
        let next = format!("pigeon-ctl engine endpoints {name}");
        let endpoints = e.pointer("/spec/endpoints").and_then(Value::as_array).map_or(0, Vec::len);
        let used = routes.iter().any(|r| route::uses(r, &name));
        let troubles = engine::troubles(e);
        if used && endpoints == 0 {
            let what = format!("{name} has no endpoints, but routes use it");
            let next = format!("pigeon-ctl engine set {name} --static HOST:PORT");
            findings.push(bad(ENGINES, Level::Failure, NO_ENDPOINTS, what, &[&next]));
        } else if used && endpoints > 0 && troubles.len() >= endpoints {
            let what = format!("{name}: no endpoint gets calls: {}", troubles.join("; "));
            findings.push(bad(ENGINES, Level::Failure, NONE_USABLE, what, &[&next]));
        } else {
            let one = |what: &String| {
                bad(ENGINES, Level::Warning, TROUBLE, format!("{name}: {what}"), &[&next])
            };
            findings.extend(troubles.iter().map(one));
        }
        let waiting = e.pointer("/status/waiting").and_then(Value::as_u64).unwrap_or(0);
        if waiting > 0 {
            let (in_use, slots) = (cell(e, "/status/in_use"), cell(e, "/status/slots"));
            let what =
                format!("{name}: {waiting} calls wait; {in_use} of {slots} slots are in use");
            findings.push(bad(ENGINES, Level::Warning, WAITING, what, &[&next]));
        }
    }
    if findings.is_empty() {
        let what = format!("{} engines, every endpoint gets calls", all.len());
        findings.push(well(ENGINES, what));
    }
    findings
}
