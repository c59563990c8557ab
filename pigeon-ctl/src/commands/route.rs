//! `route …`

use http::Method;
use pigeon_proto::model::Kind;
use serde_json::{Map, Value, json};

use super::Desk;
use super::object::{self, Fields};
use crate::Outcome;
use crate::cli::route::{AddRoute, RouteFields, SetRoute, TestArgs};
use crate::client::Call;
use crate::error::Exit;
use crate::output::table::{NONE, cell, table};

pub(crate) fn add(desk: &Desk, args: AddRoute) -> Outcome {
    let AddRoute { name, engine, fields: given, write } = args;
    let mut fields = of(&given);
    fields.text("engine", Some(&engine));
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
    fields
}

pub(crate) fn list(desk: &Desk) -> Outcome {
    let heading = ["NAME", "MATCH", "ENGINE", "PRIORITY"];
    object::list(desk, Kind::Route, heading, |route| {
        let priority = cell(route, "/spec/priority");
        [cell(route, "/name"), matches(route), cell(route, "/spec/engine"), priority]
    })
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
            "match: {}   {} → engine {}\n",
            cell(route, "/name"),
            matches(route),
            cell(route, "/spec/engine")
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
    fn matches_in_words() {
        let said = |m: Value| matches(&json!({ "spec": { "match": m } }));
        assert_eq!(said(json!({"grpc": "a.B"})), "grpc a.B");
        assert_eq!(said(json!({"path": "/x*", "methods": ["GET", "PUT"]})), "http GET|PUT /x*");
        assert_eq!(said(json!({"host": "x.y", "listener": "l"})), "host x.y listener l");
        assert_eq!(said(json!({})), "all");
    }
}
