//! `route …`

use http::Method;
use pigeon_proto::model::Kind;
use serde_json::{Map, Value, json};

use super::Desk;
use super::object::{self, Fields};
use crate::Outcome;
use crate::cli::ListArgs;
use crate::cli::route::{
    AddRoute, AuthArg, AuthFields, EditFields, LimitFields, OwnFields, RetryFields, RouteFields,
    SetRoute, TestArgs,
};
use crate::cli::values::{Answer, Redirect, Share, Size, word};
use crate::client::Call;
use crate::error::Exit;
use crate::output::table::{NONE, cell, table};

pub(crate) fn add(desk: &Desk, args: AddRoute) -> Outcome {
    let AddRoute { name, engine, fields: given, write } = args;
    let mut fields = of(&given);
    fields.text("engine", engine.as_ref());
    let hint = || match (&given.grpc, &given.path) {
        (Some(grpc), _) if grpc.contains('/') => format!("pigeon-ctl route test --grpc {grpc}"),
        (Some(grpc), _) => format!("pigeon-ctl route test --grpc {grpc}/METHOD"),
        (_, Some(path)) => {
            format!("pigeon-ctl route test --path '{}'", path.trim_end_matches('*'))
        }
        _ => "pigeon-ctl route list".to_owned(),
    };
    object::add(desk, Kind::Route, &name, fields, write, hint)
}

pub(crate) fn set(desk: &Desk, args: SetRoute) -> Outcome {
    let mut fields = of(&args.fields);
    if args.engine.is_some() {
        instead_of(&mut fields, &["redirect", "answer"]);
    }
    fields.text("engine", args.engine.as_ref());
    object::set(desk, Kind::Route, &args.name, args.change, |_| fields)
}

fn of(args: &RouteFields) -> Fields {
    let mut fields = Fields::new(&args.labels);
    let is_set = |field: &Option<String>| field.as_ref().is_some_and(|f| !f.is_empty());
    // gRPC and path exclude each other; whoever sets the one means "instead of the other".
    if is_set(&args.grpc) {
        fields.put("match/path", Some(Value::Null));
        fields.put("match/methods", Some(Value::Null));
    }
    if is_set(&args.path) || args.methods.iter().any(|m| !m.is_empty()) {
        fields.put("match/grpc", Some(Value::Null));
    }
    fields.text("match/grpc", args.grpc.as_ref());
    fields.text("match/path", args.path.as_ref());
    if !args.methods.is_empty() {
        let methods: Vec<&String> = args.methods.iter().filter(|m| !m.is_empty()).collect();
        fields.put("match/methods", Some(json!(methods)));
    }
    fields.text("match/host", args.host.as_ref());
    fields.text("match/listener", args.listener.as_ref());
    fields.put("priority", args.priority);
    fields.text("timeout", args.timeout.as_ref());
    if !args.shares.is_empty() {
        let shares = args.shares.iter().filter_map(|Share(share)| share.as_ref());
        let split = shares.map(|(engine, percent)| json!({"engine": engine, "percent": percent}));
        fields.put("split", Some(split.collect::<Vec<_>>()));
    }
    let shadow = args.shadow.as_ref().map(|Share(share)| match share {
        Some((engine, percent)) => json!({"engine": engine, "percent": percent}),
        None => Value::Null,
    });
    fields.put("shadow", shadow);
    retry(&mut fields, &args.retry);
    limits(&mut fields, &args.limit);
    edits(&mut fields, &args.edits);
    own(&mut fields, &args.own);
    auth(&mut fields, &args.auth);
    fields
}

fn edits(fields: &mut Fields, args: &EditFields) {
    let lists = [
        ("request_headers", &args.set_request, &args.add_request, &args.remove_request),
        ("response_headers", &args.set_response, &args.add_response, &args.remove_response),
    ];
    for (field, set, add, remove) in lists {
        for (how, headers) in [("set", set), ("add", add)] {
            if !headers.is_empty() {
                let headers = headers.iter().map(|h| (h.name.clone(), json!(h.value)));
                fields.put(&format!("{field}/{how}"), Some(headers.collect::<Map<_, _>>()));
            }
        }
        if !remove.is_empty() {
            let names: Vec<&String> = remove.iter().filter(|name| !name.is_empty()).collect();
            fields.put(&format!("{field}/remove"), Some(json!(names)));
        }
    }
    fields.text("rewrite/path", args.rewrite_path.as_ref());
    fields.text("rewrite/host", args.rewrite_host.as_ref());
    fields.put("max_body_bytes", args.max_body.map(|Size(size)| json!(size)));
    match args.cors.as_deref() {
        Some([none]) if none.is_empty() => fields.put("cors", Some(Value::Null)),
        origins => fields.put("cors/origins", origins.map(|origins| json!(origins))),
    }
    fields.put("transcode", args.transcode);
}

fn limits(fields: &mut Fields, args: &LimitFields) {
    let Some(rate) = &args.rate else { return };
    let mut limit = Map::from_iter([("rate".to_owned(), json!(rate))]);
    limit.extend(args.burst.map(|burst| ("burst".to_owned(), json!(burst))));
    limit.extend(args.rate_per.as_ref().map(|per| ("per".to_owned(), json!(per))));
    let limits = if rate.is_empty() { vec![] } else { vec![limit] };
    fields.put("limits", Some(json!(limits)));
}

/// A route does one thing with its calls; whoever says another means instead.
fn instead_of(fields: &mut Fields, others: &[&str]) {
    for other in others {
        fields.put(other, Some(Value::Null));
    }
}

fn own(fields: &mut Fields, args: &OwnFields) {
    if let Some(Redirect { scheme, host, port, path }) = &args.redirect {
        instead_of(fields, &["engine", "answer"]);
        // All of it: what the URL leaves out is to stay as the caller wrote it.
        for (field, part) in [("scheme", scheme), ("host", host), ("path", path)] {
            fields.put(&format!("redirect/{field}"), Some(json!(part)));
        }
        fields.put("redirect/port", Some(json!(port)));
    }
    fields.put("redirect/status", args.redirect_status);
    if let Some(answer) = &args.answer {
        instead_of(fields, &["engine", "redirect"]);
        let (status, grpc) = match answer {
            Answer::Http(status) => (json!(status), Value::Null),
            Answer::Grpc(status) => (Value::Null, json!(status)),
        };
        fields.put("answer/status", Some(status));
        fields.put("answer/grpc_status", Some(grpc));
    }
    fields.text("answer/body", args.answer_body.as_ref());
    fields.text("answer/message", args.answer_message.as_ref());
    if !args.answer_headers.is_empty() {
        let headers = args.answer_headers.iter().map(|h| (h.name.clone(), json!(h.value)));
        fields.put("answer/headers", Some(headers.collect::<Map<_, _>>()));
    }
}

fn auth(fields: &mut Fields, args: &AuthFields) {
    if args.auth.contains(&AuthArg::None) {
        fields.put("auth", Some(Value::Null));
        return;
    }
    if !args.auth.is_empty() {
        let methods = args.auth.iter().map(|method| word(*method));
        fields.put("auth/methods", Some(methods.collect::<Vec<_>>()));
        if args.auth != [AuthArg::Jwt] && args.claims.is_empty() {
            // Only tokens have any.
            fields.put("auth/claims", Some(Value::Null));
        }
    }
    if !args.tenants.is_empty() {
        let tenants: Vec<_> = args.tenants.iter().filter(|t| !t.is_empty()).collect();
        fields.put("auth/tenants", Some(json!(tenants)));
    }
    if !args.claims.is_empty() {
        let claims = args.claims.iter().map(|claim| (claim.name.clone(), json!(claim.value)));
        fields.put("auth/claims", Some(Value::Object(claims.collect())));
    }
}

fn retry(fields: &mut Fields, args: &RetryFields) {
    fields.put("retry/attempts", args.retries);
    let on = args.retry_on.as_ref().map(|on| on.iter().filter(|o| !o.is_empty()));
    let on = on.map(|on| on.cloned().collect::<Vec<String>>());
    // Attempts and what they are for make sense together only; whoever takes one away means both.
    if args.retries == Some(0) && on.is_none() {
        fields.put("retry/on", Some(Value::Null));
    }
    if on.as_ref().is_some_and(Vec::is_empty) && args.retries.is_none() {
        fields.put("retry/attempts", Some(Value::Null));
    }
    fields.put("retry/on", on);
    fields.text("retry/backoff", args.retry_backoff.as_ref());
    fields.text("retry/max_backoff", args.retry_max_backoff.as_ref());
    fields.put("retry/buffer", args.retry_buffer);
    fields.put("retry/budget", args.retry_budget);
}

pub(crate) fn list(desk: &Desk, args: ListArgs) -> Outcome {
    let heading = ["NAME", "MATCH", "ENGINE", "PRIORITY"];
    object::list(desk, Kind::Route, args, heading, |route| {
        let priority = cell(route, "/spec/priority");
        [cell(route, "/name"), matches(route), engines(route), priority]
    })
}

/// `asr`, or with a split `llm-a 90 llm-b 10`: each engine and its percent; `redirect https://b.example/*`
/// or `answer 503` of a route without.
pub(crate) fn engines(route: &Value) -> String {
    if let Some(redirect) = route.pointer("/spec/redirect") {
        return format!("redirect {}", location(redirect));
    }
    if let Some(answer) = route.pointer("/spec/answer") {
        let status = ["status", "grpc_status"].into_iter().find_map(|field| answer.get(field));
        let status =
            status.map_or("200".to_owned(), |s| s.as_str().map_or(s.to_string(), Into::into));
        return format!("answer {status}");
    }
    let engine = cell(route, "/spec/engine");
    let copies = route.pointer("/spec/shadow").map_or_else(String::new, |shadow| {
        format!(" copies {} {}", cell(shadow, "/engine"), cell(shadow, "/percent"))
    });
    let split = route.pointer("/spec/split").and_then(Value::as_array);
    let Some(split) = split.filter(|s| !s.is_empty()) else { return engine + &copies };
    let shares: u64 = split.iter().filter_map(|s| s.get("percent")?.as_u64()).sum();
    let mut words = format!("{engine} {}", 100_u64.saturating_sub(shares));
    for share in split {
        words.push_str(&format!(" {} {}", cell(share, "/engine"), cell(share, "/percent")));
    }
    words + &copies
}

/// A redirect as `--redirect` takes it.
fn location(redirect: &Value) -> String {
    let text = |field: &str| redirect.get(field).and_then(Value::as_str).unwrap_or_default();
    let port = redirect.get("port").and_then(Value::as_u64).map(|port| format!(":{port}"));
    let port = port.unwrap_or_default();
    let mut url = match text("scheme") {
        "" => String::new(),
        scheme => format!("{scheme}:"),
    };
    if !text("host").is_empty() || !port.is_empty() {
        url.push_str(&format!("//{}{port}", text("host")));
    }
    url.push_str(text("path"));
    url
}

/// Whether a route sends calls to an engine.
pub(crate) fn uses(route: &Value, engine: &str) -> bool {
    let split = route.pointer("/spec/split").and_then(Value::as_array);
    let shares = split.into_iter().flatten().map(|s| cell(s, "/engine"));
    let others = ["/spec/engine", "/spec/shadow/engine"].map(|at| cell(route, at));
    shares.chain(others).any(|e| e == engine)
}

/// `grpc speech.v1.Recognizer`, `http GET /users* host example.com`, `all`.
pub(crate) fn matches(route: &Value) -> String {
    let text = |field: &str| {
        route.pointer(&format!("/spec/match/{field}")).and_then(Value::as_str).map(str::to_owned)
    };
    let methods = route.pointer("/spec/match/methods").and_then(Value::as_array);
    let methods: Vec<&str> = methods.into_iter().flatten().filter_map(Value::as_str).collect();
    let path = text("path");
    let mut words: Vec<String> = Vec::new();
    if let Some(grpc) = text("grpc") {
        words.push(format!("grpc {grpc}"));
    } else if path.is_some() || !methods.is_empty() {
        words.push("http".into());
        if !methods.is_empty() {
            words.push(methods.join("|"));
        }
        words.extend(path);
    }
    for field in ["host", "listener"] {
        words.extend(text(field).map(|value| format!("{field} {value}")));
    }
    if words.is_empty() { "all".into() } else { words.join(" ") }
}

pub(crate) fn test(desk: &Desk, args: TestArgs) -> Outcome {
    let TestArgs { grpc, path, method, host, listener } = args;
    let given = [
        ("grpc", grpc),
        ("path", path),
        ("method", method),
        ("host", host),
        ("listener", listener),
    ];
    let question: Map<String, Value> =
        given.into_iter().filter_map(|(k, v)| Some((k.to_owned(), json!(v?)))).collect();
    let call = Call::new(Method::POST, "/v1/route-tests").json(&question.into());
    let answer = desk.session()?.send(call)?.body;
    let matched = answer.get("match").filter(|m| !m.is_null());
    let exit = if matched.is_some() { Exit::Done } else { Exit::No };
    if desk.out.value(&answer)? {
        return Ok(exit);
    }
    let mut text = match matched {
        Some(route) => format!(
            "match: {}   {} → {}{}\n",
            cell(route, "/name"),
            matches(route),
            if route.pointer("/spec/engine").is_some() { "engine " } else { "" },
            engines(route)
        ),
        None => "no route matches\n".to_owned(),
    };
    let reason = cell(&answer, "/reason");
    if !reason.is_empty() && reason != NONE {
        text.push_str(&format!("  {reason}\n"));
    }
    let considered = answer.get("considered").and_then(Value::as_array);
    if let Some(considered) = considered.filter(|c| !c.is_empty()) {
        text.push_str("also considered:\n");
        let rows = considered.iter().map(|c| [format!("  {}", cell(c, "/name")), cell(c, "/why")]);
        let lines = table(["", ""], rows);
        text.push_str(lines.split_once('\n').map_or("", |(_, rows)| rows));
    }
    desk.out.text(&text).map(|()| exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_in_words() {
        let plain = json!({"spec": {"engine": "a", "split": []}});
        assert_eq!(
            (engines(&plain), uses(&plain, "a"), uses(&plain, "b")),
            ("a".into(), true, false)
        );
        let split = json!([{"engine": "b", "percent": 10}, {"engine": "c", "percent": 5}]);
        let split = json!({"spec": {"engine": "a", "split": split}});
        assert_eq!(engines(&split), "a 85 b 10 c 5");
        let copied = json!({"spec": {"engine": "a", "shadow": {"engine": "n", "percent": 5}}});
        assert_eq!((engines(&copied), uses(&copied, "n")), ("a copies n 5".into(), true));
        assert!(uses(&split, "a") && uses(&split, "c") && !uses(&split, "d"));
    }

    #[test]
    fn what_routes_without_an_engine_do() {
        let said = |spec: Value| engines(&json!({ "spec": spec }));
        let redirect =
            json!({"scheme": "https", "host": "b", "port": 81, "path": "/n*", "status": 302});
        assert_eq!(said(json!({"redirect": redirect})), "redirect https://b:81/n*");
        assert_eq!(said(json!({"redirect": {"path": "/n"}})), "redirect /n");
        assert_eq!(said(json!({"redirect": {"port": 81}})), "redirect //:81");
        assert_eq!(said(json!({"answer": {"status": 404}})), "answer 404");
        assert_eq!(said(json!({"answer": {"grpc_status": "ABORTED"}})), "answer ABORTED");
        assert_eq!(said(json!({"answer": {}})), "answer 200");
    }

    #[test]
    fn matches_in_words() {
        let said = |m: Value| matches(&json!({ "spec": { "match": m } }));
        assert_eq!(said(json!({"grpc": "a.B"})), "grpc a.B");
        assert_eq!(said(json!({"path": "/x*", "methods": ["GET", "PUT"]})), "http GET|PUT /x*");
        assert_eq!(said(json!({"host": "x.y", "listener": "l"})), "host x.y listener l");
        assert_eq!(said(json!({})), "all");
    }
}
