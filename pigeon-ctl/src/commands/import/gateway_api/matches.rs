//! Matches of rules, and the hosts that a route and a listener have in common.

use serde_json::{Value, json};

use super::form::{Match, Typed};
use crate::commands::import::draft::Draft;
use crate::commands::import::place::Place;

/// What a route of Pigeon matches; none if there is no counterpart.
pub(super) fn import(draft: &mut Draft, at: &Place, m: &Match, grpc: bool) -> Option<Value> {
    // A match without one of its conditions would take calls of others, so it is left out as a whole.
    const LEFT_OUT: &str = "the match is left out, and its calls go to the next that matches";
    if !m.headers.is_empty() {
        draft.not_supported(&at.key("headers"), format!("routes do not match headers; {LEFT_OUT}"));
        return None;
    }
    if !m.query_params.is_empty() {
        let why = format!("routes do not match queries; {LEFT_OUT}");
        draft.not_supported(&at.key("queryParams"), why);
        return None;
    }
    if !m.other.is_empty() {
        draft.no_counterpart(at, &m.other);
        return None;
    }
    let found = if grpc { method(draft, at, m) } else { path(m) };
    match found {
        Err((key, why)) => {
            draft.not_supported(&at.key(key), format!("{why}; {LEFT_OUT}"));
            None
        }
        Ok(matches) => match super::refusal(&json!({ "engine": "e", "match": matches })) {
            Some(why) => {
                draft.not_supported(at, format!("{why}; {LEFT_OUT}"));
                None
            }
            None => Some(matches),
        },
    }
}

/// Of a GRPCRoute.
fn method(draft: &mut Draft, at: &Place, m: &Match) -> Result<Value, (&'static str, &'static str)> {
    let form: Typed =
        m.method.clone().and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default();
    if form.kind.as_deref().unwrap_or("Exact") != "Exact" {
        return Err(("method.type", "services and methods are matched exactly only"));
    }
    match (form.service, form.method) {
        (Some(service), Some(method)) => Ok(json!({ "grpc": format!("{service}/{method}") })),
        (Some(service), None) => Ok(json!({ "grpc": service })),
        (None, Some(_)) => Err(("method.method", "a method is matched with its service only")),
        (None, None) => {
            let why = "a route for all services takes calls that are not gRPC, too";
            draft.not_supported(at, why);
            Ok(json!({}))
        }
    }
}

/// Of an HTTPRoute.
fn path(m: &Match) -> Result<Value, (&'static str, &'static str)> {
    let form = m.path.clone().unwrap_or_default();
    let value = form.value.unwrap_or_else(|| "/".into());
    let path = match form.kind.as_deref().unwrap_or("PathPrefix") {
        "Exact" => value,
        "PathPrefix" => {
            format!("{}*", if value == "/" { "/" } else { value.trim_end_matches('/') })
        }
        _ => return Err(("path.type", "paths are matched exactly or by prefix only")),
    };
    match m.method.as_ref().and_then(Value::as_str) {
        Some(method) => Ok(json!({ "path": path, "methods": [method] })),
        None => Ok(json!({ "path": path })),
    }
}

/// The hosts that both a listener and a route take; none in the list is any host.
pub(super) fn hosts(listener: Option<&str>, route: &[String]) -> Vec<Option<String>> {
    match (listener, route) {
        (listener, []) => vec![listener.map(str::to_owned)],
        (None, hosts) => hosts.iter().cloned().map(Some).collect(),
        (Some(listener), hosts) => {
            hosts.iter().filter_map(|host| narrower(listener, host)).map(Some).collect()
        }
    }
}

/// The narrower of two hosts, if one takes what the other takes.
fn narrower(a: &str, b: &str) -> Option<String> {
    let below = |host: &str, pattern: &str| {
        pattern.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix) && host != suffix)
    };
    if a == b || below(a, b) { Some(a.to_owned()) } else { below(b, a).then(|| b.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_of_both() {
        let all = |listener, route: &[&str]| {
            let route: Vec<String> = route.iter().map(|host| (*host).to_owned()).collect();
            hosts(listener, &route).into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>()
        };
        assert_eq!(all(None, &[]), [""]);
        assert_eq!(all(Some("*.a.b"), &[]), ["*.a.b"]);
        assert_eq!(all(None, &["x.a.b"]), ["x.a.b"]);
        assert_eq!(all(Some("*.a.b"), &["x.a.b", "x.y.a.b", "a.b", "c.d"]), ["x.a.b", "x.y.a.b"]);
        assert_eq!(all(Some("x.a.b"), &["*.a.b", "*.b", "*.c"]), ["x.a.b", "x.a.b"]);
        assert_eq!(all(Some("*.a.b"), &["*.x.a.b", "*.b"]), ["*.x.a.b", "*.a.b"]);
    }
}
