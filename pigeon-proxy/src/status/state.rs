//! `/state`: everything there is to know about this proxy now, for programs as JSON and for people as a page.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use pigeon_proto::model::{Route, without_secrets};
use serde_json::{Map, Value, json};

use super::{Status, accepts, page};
use crate::config::{Serving, Source};
use crate::filter::identity::{KeySource, ShownKeys};
use crate::gateway::{EndpointUsage, EngineUsage, OpenConnection};
use crate::tls::{Shown, ShownCertificate};

/// Connections that are listed one by one.
const MOST_LISTED: usize = 50;

pub(super) async fn get(State(status): State<Arc<Status>>, headers: HeaderMap) -> Response {
    let state = state(&status);
    // The same address has both.
    let vary = [(header::VARY, "accept"), (header::CACHE_CONTROL, "no-store")];
    if accepts(&headers, "text/html") {
        let html = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, page::POLICY),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        return (vary, html, page::page(&state)).into_response();
    }
    (vary, Json(state)).into_response()
}

pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], page::STYLE).into_response()
}

fn state(status: &Status) -> Value {
    let serving = status.serving.borrow().clone();
    let connection = status.connection.borrow().clone();
    let listen: Map<String, Value> =
        serving.listen.iter().map(|(n, a)| (n.to_string(), a.to_string().into())).collect();
    let age = (serving.source != Source::None)
        .then(|| status.config_metrics.refresh_age(SystemTime::now()));
    let (total, open) = status.gateway.connections(MOST_LISTED);
    json!({
        "name": status.name,
        "node_id": status.node_id,
        "incarnation": status.incarnation,
        "version": env!("CARGO_PKG_VERSION"),
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
        "uptime_seconds": status.started.elapsed().as_secs(),
        "draining": status.is_draining(),
        "calls_open": status.gateway.calls_open(),
        "source": serving.source,
        "config_age_seconds": age,
        "revision": serving.received,
        "effective_revision": serving.effective,
        "process": process(),
        "log": status.levels.as_ref().map(|levels| levels.get().filter),
        "admin": {
            "connected": connection.connected,
            "last_message_at": connection.last_message.and_then(rfc3339),
            "last_error": connection.last_error,
        },
        "rejected": serving.rejected,
        "refused": connection.refused,
        "listen": listen,
        "listeners": listeners(status, &serving),
        "routes": routes(status, &serving),
        "engines": engines(&status.gateway.usage()),
        "connections": { "open": total, "busiest": connections(&open) },
        "tls": tls(&status.gateway.tls_shown()),
        "jwks": jwks(status),
    })
}

/// The certificates of listeners and engines, and what is wrong with their files.
fn tls(shown: &[(String, Shown)]) -> Map<String, Value> {
    let certificate = |c: &ShownCertificate| {
        let until = jiff::Timestamp::from_second(c.not_after).map(|at| at.to_string()).ok();
        json!({ "path": c.path, "subject": c.subject, "names": c.names, "not_after": until })
    };
    let object = |(object, shown): &(String, Shown)| {
        let certificates: Vec<_> = shown.certificates.iter().map(certificate).collect();
        (object.clone(), json!({ "certificates": certificates, "error": shown.error }))
    };
    shown.iter().map(object).collect()
}

/// The keys that tokens are checked with.
fn jwks(status: &Status) -> Vec<Value> {
    let source = |source: &Arc<KeySource>| {
        let ShownKeys { location, count, names, at, error, .. } = source.shown();
        let at = at.and_then(|at| rfc3339(UNIX_EPOCH + Duration::from_secs(at)));
        json!({ "jwks": location, "keys": count, "names": names, "read_at": at, "error": error })
    };
    status.gateway.key_sources().iter().map(source).collect()
}

fn listeners(status: &Status, serving: &Serving) -> Vec<Value> {
    let listener = |(name, address): (&pigeon_proto::model::Name, &std::net::SocketAddr)| {
        let series = status.metrics.listener(name);
        let spec = serving.config.listeners().find(|(known, _)| *known == name);
        json!({
            "name": name.as_str(),
            "address": address.to_string(),
            "connections": series.open.get(),
            "accepted": series.accepted.get(),
            "refused": series.refused.total(),
            "spec": spec.map(|(_, spec)| without_secrets(|| json!(spec))),
        })
    };
    serving.listen.iter().map(listener).collect()
}

/// What each route matches, and what its calls did since the proxy started.
fn routes(status: &Status, serving: &Serving) -> Vec<Value> {
    let totals = status.metrics.routes();
    let now = Instant::now();
    let route = |(name, route): (&pigeon_proto::model::Name, &Route)| {
        let engines = totals.iter().filter(|total| total.route == name.as_str());
        let engines: Vec<Value> = engines
            .map(|total| {
                json!({
                    "engine": total.engine,
                    "open": total.open,
                    "calls": total.calls,
                    "rejected": total.rejected,
                    "retries": total.retries,
                })
            })
            .collect();
        let budget = status.gateway.retry_budget(name, now);
        json!({
            "name": name.as_str(),
            "match": json!(route)["match"],
            "engines": engines,
            "retry_budget": budget.map(|spent| {
                json!({
                    "calls_10s": spent.calls,
                    "retries_10s": spent.retries,
                    "most_10s": spent.most,
                    "denied": spent.denied,
                })
            }),
        })
    };
    serving.config.routes().map(route).collect()
}

fn connections(open: &[OpenConnection]) -> Vec<Value> {
    let connection = |c: &OpenConnection| {
        json!({
            "listener": c.listener.as_str(),
            "peer": c.peer.to_string(),
            "age_seconds": c.age.as_secs(),
            "calls_open": c.calls_open,
            "calls": c.calls,
        })
    };
    open.iter().map(connection).collect()
}

/// What is in use and how it does, by the name of the engine.
fn engines(usage: &[EngineUsage]) -> Map<String, Value> {
    let endpoint = |e: &EndpointUsage| {
        json!({
            "address": e.address,
            "state": e.state.as_str(),
            "cause": (!e.cause.as_str().is_empty()).then(|| e.cause.as_str()),
            "reason": (!e.reason.is_empty()).then_some(&e.reason),
            "in_use": e.in_use,
            "slots": e.slots,
            "calls": e.calls,
            "failures": e.failures,
        })
    };
    let engine = |e: &EngineUsage| {
        let endpoints: Vec<_> = e.endpoints.iter().map(endpoint).collect();
        let (waiting, calls, failures) = (e.waiting, e.calls, e.failures);
        json!({ "waiting": waiting, "calls": calls, "failures": failures, "endpoints": endpoints })
    };
    usage.iter().map(|e| (e.engine.to_string(), engine(e))).collect()
}

/// What the system says of this process; what it does not say is null.
fn process() -> Value {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let most: Option<u64> = most.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let open = std::fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    json!({
        "pid": std::process::id(),
        "memory_bytes": field("VmRSS:").map(|kib| kib * 1024),
        "threads": field("Threads:"),
        "open_files": open,
        "open_files_limit": most,
    })
}

fn rfc3339(at: SystemTime) -> Option<String> {
    let at = jiff::Timestamp::try_from(at).ok()?;
    Some(at.round(jiff::Unit::Millisecond).ok()?.to_string())
}
