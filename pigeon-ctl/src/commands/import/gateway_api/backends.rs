//! Backends: an engine for each port of a Service, and the shares of a rule's calls.

use pigeon_proto::model::Kind;
use serde_json::{Value, json};

use super::form::Reference;
use crate::commands::import::draft::Draft;
use crate::commands::import::place::Place;

/// The engines so far, by the address of their Service.
pub(super) type Engines = Vec<(String, String)>;

/// The engine of a Service's port; none if it is no Service.
pub(super) fn engine(
    draft: &mut Draft,
    at: &Place,
    namespace: &str,
    backend: &Reference,
    engines: &mut Engines,
) -> Option<String> {
    let kind = backend.kind.as_deref().unwrap_or("Service");
    if kind != "Service" || backend.group.as_deref().is_some_and(|group| !group.is_empty()) {
        draft.not_supported(at, format!("{kind} {} is no Service; it gets no calls", backend.name));
        return None;
    }
    let Some(port) = backend.port else {
        draft.not_supported(
            at,
            format!("Service {} has no port here; it gets no calls", backend.name),
        );
        return None;
    };
    draft.no_counterpart(at, &backend.other);
    if !backend.filters.is_empty() {
        draft.not_supported(&at.key("filters"), "only all calls of a route can be changed");
    }
    let namespace = backend.namespace.as_deref().unwrap_or(namespace);
    let address = format!("{}.{namespace}.svc:{port}", backend.name);
    if let Some((_, name)) = engines.iter().find(|(known, _)| *known == address) {
        return Some(name.clone());
    }
    let wanted = format!("{namespace}-{}-{port}", backend.name);
    let name = draft.names.unique(Kind::Engine, &wanted);
    draft.add(at, Kind::Engine, &name, json!({}), json!({ "endpoints": [{ "address": address }] }));
    // Once is enough for all of them.
    let why = if engines.is_empty() {
        "; Pigeon does not watch EndpointSlices yet, so the Service chooses the pod, and slots are not counted (pool.mode: off)"
    } else {
        ""
    };
    draft.mapped(at, format!("engine/{name} with the one endpoint {address}{why}"));
    engines.push((address, name.clone()));
    Some(name)
}

/// The engine that gets most of the calls, and the shares of the others; none if nobody gets any.
pub(super) fn shares(
    draft: &mut Draft,
    at: &Place,
    namespace: &str,
    backends: &[Reference],
    engines: &mut Engines,
) -> Option<(String, Vec<Value>)> {
    let mut weights: Vec<(String, u64)> = Vec::new();
    for (index, backend) in backends.iter().enumerate() {
        let place = at.item(index);
        let weight = backend.weight.unwrap_or(1);
        if weight == 0 {
            draft.not_needed(&place, "weight is 0: it gets no calls");
            continue;
        }
        let Some(name) = engine(draft, &place, namespace, backend, engines) else { continue };
        match weights.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += weight,
            None => weights.push((name, weight)),
        }
    }
    let total: u64 = weights.iter().map(|(_, weight)| weight).sum();
    // The first of the heaviest gets what the others leave.
    let most = weights.iter().map(|(_, weight)| *weight).max()?;
    let first = weights.iter().position(|(_, weight)| *weight == most)?;
    let (main, _) = weights.remove(first);
    let mut split = Vec::new();
    for (name, weight) in weights {
        let percent = ((weight * 100 + total / 2) / total).clamp(1, 99);
        if weight * 100 != percent * total {
            let why = format!(
                "shares are whole percents: {name} gets {percent} % instead of {weight} of {total}"
            );
            draft.not_supported(at, why);
        }
        split.push(json!({ "engine": name, "percent": percent }));
    }
    Some((main, split))
}
