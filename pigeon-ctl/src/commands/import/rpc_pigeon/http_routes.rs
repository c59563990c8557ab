//! RouteConfig.yaml: a route for each item, and an engine for each server that they lead to.

use http::Uri;
use pigeon_proto::model::Kind;
use serde_json::{Value, json};

use super::form::RouteItem;
use super::program::Served;
use crate::commands::import::draft::{Draft, Field};
use crate::commands::import::place::Place;

/// A route that can be made.
pub(super) struct Wanted {
    at: Place,
    /// Without its last part, if that stands for any.
    path: String,
    method: &'static str,
    to: Target,
}

/// Where a route leads.
struct Target {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl Target {
    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What its `Host` is: without the port that goes without saying.
    fn authority(&self) -> String {
        let usual = self.port == if self.tls { 443 } else { 80 };
        if usual { self.host.clone() } else { self.address() }
    }
}

/// Reads the items.
pub(super) fn parse(draft: &mut Draft, at: &Place, list: Field) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    let mut seen = Vec::new();
    for (place, value) in draft.items(at, list) {
        let item: RouteItem = draft.typed(&place, Some(value));
        draft.unknown(&place, &item.other);
        let text = |draft: &mut Draft, key: &str, value: &Field| {
            draft.text(&place.key(key), value).unwrap_or_default()
        };
        let path = text(draft, "path", &item.path);
        let method = text(draft, "method", &item.method);
        let to = text(draft, "to", &item.to);
        if path.is_empty() && method.is_empty() && to.is_empty() {
            draft.not_needed(&place, "is empty");
            continue;
        }
        if seen.contains(&path) {
            draft.not_needed(
                &place,
                format!("path {path} is there already; rpc-pigeon took the first alone"),
            );
            continue;
        }
        seen.push(path.clone());
        let pattern = pattern(draft, &place.key("path"), &path);
        let method = match method.as_str() {
            "get" => Some("GET"),
            "post" => Some("POST"),
            other => {
                let why = "rpc-pigeon makes routes of get and post only; write one of them, in small letters";
                draft.wrong(&place.key("method"), &other.into(), why);
                None
            }
        };
        let to = target(draft, &place.key("to"), &to);
        if let (Some(path), Some(method), Some(to)) = (pattern, method, to) {
            wanted.push(Wanted { at: place, path, method, to });
        }
    }
    wanted
}

/// The path of a route: of rpc-pigeon's wildcards only the one at the end has a counterpart.
fn pattern(draft: &mut Draft, at: &Place, path: &str) -> Option<String> {
    let pattern = match path.rsplit_once("/*") {
        Some((before, name)) if !name.contains('/') => format!("{before}*"),
        _ => path.to_owned(),
    };
    let pattern = if pattern == "*" { "/*".to_owned() } else { pattern };
    if pattern.contains("/:") {
        let why = "no path of Pigeon has a part like :name; write what comes before it and /*rest";
        draft.wrong(at, &path.into(), why);
        return None;
    }
    if let Err(e) = pattern.parse::<pigeon_proto::model::PathPattern>() {
        draft.wrong(at, &path.into(), &e.0);
        return None;
    }
    Some(pattern)
}

fn target(draft: &mut Draft, at: &Place, to: &str) -> Option<Target> {
    let uri = to.parse::<Uri>().ok().filter(|uri| uri.scheme().is_some());
    let Some(uri) = uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https"))) else {
        // It may hold a password, so it is not repeated.
        draft.secret_wrong(at, "is not a URL; write it like http://10.0.0.7:8090/users");
        return None;
    };
    let authority = uri.authority()?;
    if authority.as_str().contains('@') {
        draft.secret_wrong(at, "has a user or password, which no document holds; remove it, and set a header (request_headers.set)");
        return None;
    }
    if uri.query().is_some() {
        draft.secret_wrong(
            at,
            "has a query, which Pigeon cannot add to that of the caller; remove it",
        );
        return None;
    }
    let tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let target =
        Target { tls, host: authority.host().to_lowercase(), port, path: uri.path().to_owned() };
    if let Err(e) = target.address().parse::<pigeon_proto::model::Address>() {
        draft.secret_wrong(at, &e.0);
        return None;
    }
    Some(target)
}

/// Makes engines and routes.
pub(super) fn import(draft: &mut Draft, routes: Vec<Wanted>, served: &Served) {
    let mut engines: Vec<(bool, String, String)> = Vec::new();
    for Wanted { at, path, method, to } in routes {
        let address = to.address();
        let known = engines.iter().find(|(tls, a, _)| *tls == to.tls && *a == address);
        let engine = known.map(|(.., name)| name.clone()).unwrap_or_else(|| {
            let name = draft.names.unique(Kind::Engine, &format!("http-{address}"));
            let mut spec = json!({ "endpoints": [{ "address": address }], "health": "tcp" });
            if to.tls {
                spec["tls"] = json!({});
            }
            draft.add(&at, Kind::Engine, &name, json!({}), spec);
            engines.push((to.tls, address.clone(), name.clone()));
            name
        });
        let mut matches = json!({ "path": path, "methods": [method] });
        if let Some(listener) = &served.listener {
            matches["listener"] = listener.as_str().into();
        }
        let mut rewrite = json!({ "host": to.authority() });
        // Every call gets the one path there, whatever the part that stands for any was.
        if to.path != path {
            rewrite["path"] = to.path.as_str().into();
        }
        let mut spec = json!({ "match": matches, "engine": engine, "rewrite": rewrite });
        if let Some(timeout) = &served.timeout {
            spec["timeout"] = Value::from(timeout.as_str());
        }
        let name = draft.names.unique(Kind::Route, &format!("http{path}"));
        draft.mapped(&at.key("path"), format!("route/{name} match.path: {path}"));
        draft.mapped(&at.key("method"), format!("route/{name} match.methods: [{method}]"));
        draft.mapped(&at.key("to"), format!("engine/{engine}, and route/{name} rewrite"));
        draft.add(&at, Kind::Route, &name, json!({}), spec);
    }
}
