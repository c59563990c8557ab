//! Filters, timeouts and retries of a rule. What Pigeon refuses is reported, piece by piece.

use serde_json::{Value, json};

use super::backends::{self, Engines};
use super::form::{Filter, HeaderModifier, Mirror, Redirect, Rewrite, Rule, Typed};
use crate::commands::import::draft::Draft;
use crate::commands::import::place::Place;

/// The fields of a route that a rule sets, beside its engine.
pub(super) fn import(
    draft: &mut Draft,
    at: &Place,
    rule: &Rule,
    namespace: &str,
    engines: &mut Engines,
) -> Value {
    let mut spec = json!({});
    for (index, filter) in rule.filters.iter().enumerate() {
        let place = at.key("filters").item(index);
        draft.no_counterpart(&place, &filter.other);
        one(draft, &place, filter, namespace, engines, &mut spec);
    }
    timeouts(draft, at, rule, &mut spec);
    retry(draft, at, rule, &mut spec);
    spec
}

fn one(
    draft: &mut Draft,
    at: &Place,
    filter: &Filter,
    namespace: &str,
    engines: &mut Engines,
    spec: &mut Value,
) {
    match filter.kind.as_str() {
        "RequestHeaderModifier" => {
            let edits = filter.request_header_modifier.clone().unwrap_or_default();
            headers(draft, &at.key("requestHeaderModifier"), "request_headers", &edits, spec);
        }
        "ResponseHeaderModifier" => {
            let edits = filter.response_header_modifier.clone().unwrap_or_default();
            headers(draft, &at.key("responseHeaderModifier"), "response_headers", &edits, spec);
        }
        "RequestRedirect" => {
            let to = filter.request_redirect.clone().unwrap_or_default();
            draft.no_counterpart(&at.key("requestRedirect"), &to.other);
            spec["redirect"] = redirect(&to);
        }
        "URLRewrite" => {
            let to = filter.url_rewrite.clone().unwrap_or_default();
            draft.no_counterpart(&at.key("urlRewrite"), &to.other);
            spec["rewrite"] = rewrite(&to);
        }
        "RequestMirror" => {
            let mirror = filter.request_mirror.clone().unwrap_or_default();
            shadow(draft, &at.key("requestMirror"), &mirror, namespace, engines, spec);
        }
        "CORS" => draft.not_supported(
            at,
            "write cors of the route; until then pages of other origins are refused",
        ),
        // Whatever it did, such as asking who calls: nothing may pass without it.
        other => {
            draft.not_supported(
                at,
                format!(
                    "there is no filter like {other}: calls of the rule fail, as the API has it"
                ),
            );
            spec["answer"] = json!({});
        }
    }
}

fn headers(draft: &mut Draft, at: &Place, field: &str, edits: &HeaderModifier, spec: &mut Value) {
    draft.no_counterpart(at, &edits.other);
    let pairs = |list: &[super::form::Header]| -> Vec<(String, Value)> {
        list.iter().map(|h| (h.name.to_lowercase(), Value::from(h.value.as_str()))).collect()
    };
    for (list, pairs) in [("set", pairs(&edits.set)), ("add", pairs(&edits.add))] {
        for (name, value) in pairs {
            let one = json!({ "engine": "e", field: { list: { name.as_str(): value } } });
            match super::refusal(&one) {
                Some(why) => draft.not_supported(&at.key(list), format!("{name}: {why}")),
                None => spec[field][list][name] = value,
            }
        }
    }
    for name in &edits.remove {
        match super::refusal(&json!({ "engine": "e", field: { "remove": [name] } })) {
            Some(why) => draft.not_supported(&at.key("remove"), format!("{name}: {why}")),
            None => match spec[field]["remove"].as_array_mut() {
                Some(list) => list.push(name.as_str().into()),
                None => spec[field]["remove"] = json!([name]),
            },
        }
    }
}

/// A path that replaces another: all of it, or the prefix that matched.
fn replaced(path: &Typed) -> Option<String> {
    match (&path.replace_full_path, &path.replace_prefix_match) {
        (Some(full), _) => Some(full.clone()),
        (None, Some(prefix)) if prefix.trim_end_matches('/').is_empty() => Some("/*".into()),
        (None, Some(prefix)) => Some(format!("{}*", prefix.trim_end_matches('/'))),
        (None, None) => None,
    }
}

fn redirect(to: &Redirect) -> Value {
    let mut redirect = json!({ "status": to.status_code.unwrap_or(302) });
    let path = to.path.as_ref().and_then(replaced);
    for (field, value) in [("scheme", &to.scheme), ("host", &to.hostname), ("path", &path)] {
        if let Some(value) = value {
            redirect[field] = value.as_str().into();
        }
    }
    if let Some(port) = to.port {
        redirect["port"] = port.into();
    }
    redirect
}

fn rewrite(to: &Rewrite) -> Value {
    let mut rewrite = json!({});
    let path = to.path.as_ref().and_then(replaced);
    for (field, value) in [("host", &to.hostname), ("path", &path)] {
        if let Some(value) = value {
            rewrite[field] = value.as_str().into();
        }
    }
    rewrite
}

fn shadow(
    draft: &mut Draft,
    at: &Place,
    mirror: &Mirror,
    namespace: &str,
    engines: &mut Engines,
    spec: &mut Value,
) {
    draft.no_counterpart(at, &mirror.other);
    if spec.get("shadow").is_some() {
        draft.not_supported(at, "one engine gets copies, and another filter names it");
        return;
    }
    let percent = match &mirror.fraction {
        Some(part) => part.numerator * 100 / part.denominator.unwrap_or(100).max(1),
        None => mirror.percent.unwrap_or(100),
    };
    if percent == 0 {
        draft.not_supported(at, "less than one percent of the calls cannot be copied; none is");
        return;
    }
    let place = at.key("backendRef");
    if let Some(engine) = backends::engine(draft, &place, namespace, &mirror.backend_ref, engines) {
        spec["shadow"] = json!({ "engine": engine, "percent": percent.min(100) });
    }
}

fn timeouts(draft: &mut Draft, at: &Place, rule: &Rule, spec: &mut Value) {
    let Some(timeouts) = &rule.timeouts else { return };
    let at = at.key("timeouts");
    draft.no_counterpart(&at, &timeouts.other);
    let whole = match (&timeouts.request, &timeouts.backend_request) {
        (Some(request), backend) => {
            if backend.as_ref().is_some_and(|backend| backend != request) {
                let why = "a try has no time of its own, only the call as a whole";
                draft.not_supported(&at.key("backendRequest"), why);
            }
            request
        }
        // Of a call that is never tried again it is the same.
        (None, Some(backend)) if rule.retry.is_none() => backend,
        (None, Some(_)) => {
            let why = "a try has no time of its own, only the call as a whole (request)";
            return draft.not_supported(&at.key("backendRequest"), why);
        }
        (None, None) => return,
    };
    match super::refusal(&json!({ "engine": "e", "timeout": whole })) {
        Some(why) => draft.not_supported(&at, why),
        None => spec["timeout"] = whole.as_str().into(),
    }
}

fn retry(draft: &mut Draft, at: &Place, rule: &Rule, spec: &mut Value) {
    let Some(form) = &rule.retry else { return };
    let at = at.key("retry");
    draft.no_counterpart(&at, &form.other);
    let mut on: Vec<String> = form.codes.iter().map(u16::to_string).collect();
    on.push("reset".into());
    let mut retry = json!({ "attempts": form.attempts.unwrap_or(1), "on": on });
    if let Some(backoff) = &form.backoff {
        retry["backoff"] = backoff.as_str().into();
        retry["max_backoff"] = backoff.as_str().into();
    }
    match super::refusal(&json!({ "engine": "e", "retry": retry })) {
        Some(why) => draft.not_supported(&at, why),
        None => spec["retry"] = retry,
    }
}
