//! GRPCRoutes and HTTPRoutes: a route of Pigeon for each rule, match, listener and host.

use std::collections::BTreeMap;

use pigeon_proto::model::Kind;
use serde_json::{Value, json};

use super::backends::{self, Engines};
use super::form::{Match, Route, Rule};
use super::gateways::{self, Section};
use super::{Read, filters, matches};
use crate::commands::import::draft::Draft;
use crate::commands::import::place::Place;

/// A route that can be made.
pub(super) struct Wanted {
    at: Place,
    name: String,
    /// Which of those that match the same goes first: the oldest, then by name, then in the order of its rules.
    order: (String, String, usize, usize),
    spec: Value,
}

/// Where calls of a route come in.
#[derive(PartialEq)]
struct Entry {
    listener: Option<String>,
    host: Option<String>,
    /// The port that a redirect to another host needs, where it does not go without saying.
    port: Option<u16>,
}

pub(super) fn import(
    draft: &mut Draft,
    read: &Read,
    route: Route,
    sections: &[Section],
    engines: &mut Engines,
    wanted: &mut Vec<Wanted>,
) {
    let at = read.at.key("spec");
    draft.no_counterpart(&at, &route.other);
    let entries = entries(draft, &at, read, &route, sections);
    if entries.is_empty() {
        draft.not_supported(&at, "no listener that was read takes it, so nothing is made of it");
        return;
    }
    let grpc = read.kind == "GRPCRoute";
    for (index, rule) in route.rules.iter().enumerate() {
        let place = at.key("rules").item(index);
        draft.no_counterpart(&place, &rule.other);
        if rule.name.is_some() {
            draft.not_needed(&place.key("name"), "routes are named by namespace, name and rule");
        }
        let all = [Match::default()];
        let list = if rule.matches.is_empty() { &all[..] } else { &rule.matches };
        let mut kept = Vec::new();
        for (number, m) in list.iter().enumerate() {
            let place = place.key("matches").item(number);
            if let Some(matches) = matches::import(draft, &place, m, grpc) {
                kept.push((number, place, matches));
            }
        }
        if kept.is_empty() {
            draft.not_supported(&place, "none of its matches is left, so nothing is made of it");
            continue;
        }
        let spec = action(draft, &place, rule, read, grpc, engines);
        for (number, place, matches) in kept {
            let age = read.created.clone().unwrap_or_else(|| "~".into());
            let order = (age, format!("{}/{}", read.namespace, read.name), index, number);
            for entry in &entries {
                let spec = at_entry(draft, &place, spec.clone(), &matches, entry);
                let Some(spec) = spec else { break };
                let name = format!("{}-{}-{index}", read.namespace, read.name);
                wanted.push(Wanted { at: place.clone(), name, order: order.clone(), spec });
            }
        }
    }
}

/// What is done with the calls of a rule.
fn action(
    draft: &mut Draft,
    at: &Place,
    rule: &Rule,
    read: &Read,
    grpc: bool,
    engines: &mut Engines,
) -> Value {
    let mut spec = filters::import(draft, at, rule, &read.namespace, engines);
    if spec.get("answer").is_some() {
        return failure(grpc);
    }
    if spec.get("redirect").is_some() {
        let (mut alone, mut more) = (json!({}), std::collections::BTreeMap::new());
        for (field, value) in spec.as_object().cloned().unwrap_or_default() {
            if matches!(field.as_str(), "redirect" | "timeout") {
                alone[field] = value;
            } else {
                more.insert(field, value);
            }
        }
        for field in more.keys() {
            draft.not_supported(at, format!("{field} has no meaning with a redirect"));
        }
        return alone;
    }
    let place = at.key("backendRefs");
    match backends::shares(draft, &place, &read.namespace, &rule.backend_refs, engines) {
        Some((engine, split)) => {
            if spec.pointer("/shadow/engine").is_some_and(|copies| {
                *copies == json!(engine) || split.iter().any(|s| s["engine"] == *copies)
            }) {
                draft.not_supported(
                    &at.key("filters"),
                    "an engine that gets the calls gets no copies of them",
                );
                spec.as_object_mut().map(|map| map.remove("shadow"));
            }
            spec["engine"] = engine.into();
            spec["split"] = split.into();
            spec
        }
        None => failure(grpc),
    }
}

/// What the Gateway API says that callers get of a rule without a backend, or with a filter nobody knows.
fn failure(grpc: bool) -> Value {
    if grpc {
        json!({ "answer": { "grpc_status": "UNAVAILABLE" } })
    } else {
        json!({ "answer": { "status": 500 } })
    }
}

/// The route for one match and one way in; none if what is done does not go with the match.
fn at_entry(
    draft: &mut Draft,
    at: &Place,
    mut spec: Value,
    matches: &Value,
    entry: &Entry,
) -> Option<Value> {
    spec["match"] = matches.clone();
    let other_host = spec.pointer("/redirect/host").is_some();
    let says_port =
        ["/redirect/port", "/redirect/scheme"].iter().any(|p| spec.pointer(p).is_some());
    if let (true, false, Some(port)) = (other_host, says_port, entry.port) {
        spec["redirect"]["port"] = port.into();
    }
    for (field, value) in [("listener", &entry.listener), ("host", &entry.host)] {
        if let Some(value) = value {
            spec["match"][field] = value.to_lowercase().into();
        }
    }
    if let Some(why) = super::refusal(&spec) {
        draft.not_supported(at, format!("with the rule's filters: {why}; the match is left out"));
        return None;
    }
    Some(spec)
}

/// Where the calls of a route come in.
fn entries(
    draft: &mut Draft,
    at: &Place,
    read: &Read,
    route: &Route,
    sections: &[Section],
) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (index, parent) in route.parent_refs.iter().enumerate() {
        let place = at.key("parentRefs").item(index);
        if !gateways::is_gateway(parent) {
            draft.not_supported(&place, "only Gateways have listeners");
            continue;
        }
        draft.no_counterpart(&place, &parent.other);
        let namespace = parent.namespace.as_deref().unwrap_or(&read.namespace);
        if !read.gateways.contains(&(namespace.to_owned(), parent.name.clone())) {
            let why = format!(
                "Gateway {namespace}/{} was not read: the routes are for every listener",
                parent.name
            );
            draft.not_supported(&place, why);
            let hosts = matches::hosts(None, &route.hostnames).into_iter();
            entries.extend(hosts.map(|host| Entry { listener: None, host, port: None }));
            continue;
        }
        let meant = sections.iter().filter(|s| s.is_meant(&read.namespace, parent));
        let open: Vec<&Section> = meant.filter(|s| s.takes(&read.kind, &read.namespace)).collect();
        if open.is_empty() {
            draft.not_supported(&place, "no listener of it takes this route (sectionName, port, allowedRoutes, or it could not be imported)");
        }
        for section in open {
            let Some(listener) = &section.listener else { continue };
            let usual = section.port == if section.tls { 443 } else { 80 };
            for host in matches::hosts(section.hostname.as_deref(), &route.hostnames) {
                let port = (!usual).then_some(section.port);
                entries.push(Entry { listener: Some(listener.clone()), host, port });
            }
        }
    }
    let mut once: Vec<Entry> = Vec::new();
    for entry in entries {
        if !once.contains(&entry) {
            once.push(entry);
        }
    }
    once
}

/// Makes the routes. Those that match the same calls get priorities, so that the first of them has them all.
pub(super) fn make(draft: &mut Draft, mut wanted: Vec<Wanted>) {
    wanted.sort_by(|a, b| a.order.cmp(&b.order));
    let mut same: BTreeMap<String, i32> = BTreeMap::new();
    for route in wanted.iter().rev() {
        *same.entry(route.spec["match"].to_string()).or_default() += 1;
    }
    for Wanted { at, name, mut spec, .. } in wanted {
        let left = same.entry(spec["match"].to_string()).or_default();
        *left -= 1;
        if *left > 0 {
            spec["priority"] = (*left * 10).into();
        }
        let name = draft.names.unique(Kind::Route, &name);
        draft.mapped(&at, format!("route/{name}"));
        draft.add(&at, Kind::Route, &name, json!({}), spec);
    }
}
