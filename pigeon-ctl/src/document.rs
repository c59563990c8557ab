//! Objects as YAML documents, their fields in the order in which people write them.

use pigeon_proto::model::{Errors, Labels, Object, Spec, document};
use serde::Serialize;
use serde_json::Value;

use crate::error::Failure;
use crate::output;

#[derive(Serialize)]
struct Document<'a> {
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    labels: &'a Labels,
    spec: &'a Spec,
}

/// One document, every default written out.
///
/// # Errors
/// None for what the model holds.
pub fn yaml(object: &Object) -> Result<String, Failure> {
    let (kind, name) = (object.key.kind.as_str(), object.key.name.as_str());
    output::yaml(&Document { kind, name, labels: &object.labels, spec: &object.spec })
}

/// Documents one after another, as `apply` reads them.
///
/// # Errors
/// As [`yaml`].
pub fn yaml_stream(objects: &[Object]) -> Result<String, Failure> {
    let documents: Result<Vec<String>, Failure> = objects.iter().map(yaml).collect();
    Ok(documents?.join("---\n"))
}

/// An object as the server gave it out.
///
/// # Errors
/// This version does not understand it.
pub fn of_server(value: Value) -> Result<Object, Failure> {
    document::object(value, None).map_err(|Errors(errors)| {
        let first = errors.first().map(ToString::to_string).unwrap_or_default();
        Failure::bug(format!("the server has an object that this version does not know: {first}"))
            .next("pigeon-ctl version    (is the server newer?)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let text = r#"{"items": [
            {"kind": "engine", "name": "a", "labels": {"n": "1", "y": "yes", "e": "", "c": "a: b #c", "nl": "x\ny", "t": "~", "q": "'\"", "d": "1e3", "tab": "a\tb", "sp": " x "},
             "spec": {"endpoints": [{"address": "[::1]:80", "slots": 4}, {"address": "x:1", "weight": 3}],
                      "pool": {"mode": "strict", "slots": 2, "queue_timeout": "1m30s"}}},
            {"kind": "route", "name": "0", "spec": {"match": {"host": "*.x.y", "path": "/*", "methods": ["GET"]}, "engine": "a", "priority": -3}},
            {"kind": "route", "name": "1.5", "spec": {"match": {"grpc": "a.B/C"}, "engine": "a"}},
            {"kind": "listener", "name": "no", "spec": {"address": "[::]:80"}}]}"#;
        let objects = document::parse(text).expect("objects");
        let written = yaml_stream(&objects).expect("yaml");
        assert_eq!(document::parse(&written).expect(&written), objects);
        assert!(written.starts_with("kind: engine\nname: a\nlabels:\n"), "{written}");
    }
}
