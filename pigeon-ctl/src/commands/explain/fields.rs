//! Every field of every kind, as docs/openapi.json has them; defaults are those of the model itself.

use pigeon_proto::model::{Kind, Spec};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::Failure;

const REFERENCE: &str = include_str!("../../../../docs/openapi.json");
/// How deep fields are followed; a schema that has itself as a field would never end.
const DEEPEST: usize = 8;

/// One field.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Field {
    /// Where it is, such as `engine.spec.endpoints[].weight`; `[]` stands for each entry of a list.
    #[serde(rename = "field")]
    pub(super) path: String,
    /// What sort of value it has.
    #[serde(rename = "type")]
    pub(super) sort: String,
    /// How text is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) form: Option<String>,
    /// What holds where it is not set, as far as there is one answer; null: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default: Option<Value>,
    /// What it is for.
    pub(super) description: String,
}

/// The names in a path, as people may write them: `spec` and places in lists are left out.
pub(super) fn names(path: &str) -> Vec<&str> {
    let names = path.split(['.', '/']).map(|name| name.split('[').next().unwrap_or_default());
    let is_place = |name: &str| name.chars().all(|c| c.is_ascii_digit());
    let mut names: Vec<&str> = names.filter(|name| !is_place(name)).collect();
    if names.get(1) == Some(&"spec") {
        names.remove(1);
    }
    names
}

/// All fields.
///
/// # Errors
/// None for the reference that is compiled in.
pub(super) fn all() -> Result<Vec<Field>, Failure> {
    let reference: Value = serde_json::from_str(REFERENCE)
        .map_err(|e| Failure::bug(format!("docs/openapi.json cannot be read: {e}")))?;
    let schemas = &reference["components"]["schemas"];
    let mut fields = Vec::new();
    for kind in Kind::ALL {
        let properties = &schemas[whole(kind)]["properties"];
        let spec = resolve(schemas, &properties["spec"]);
        let description = text(spec.schema, "description").unwrap_or_default().to_owned();
        let (path, sort) = (kind.to_string(), "object".to_owned());
        fields.push(Field { path, sort, form: None, default: None, description });
        for name in ["kind", "name", "labels"] {
            let path = format!("{kind}.{name}");
            fields.push(field(path, &resolve(schemas, &properties[name]), schemas));
        }
        let from = fields.len();
        inside(schemas, spec.schema, &format!("{kind}.spec"), DEEPEST, &mut fields);
        set_defaults(kind, &mut fields[from..]);
    }
    Ok(fields)
}

/// The schema of a whole object: `EngineObject`.
fn whole(kind: Kind) -> String {
    let (first, rest) = kind.as_str().split_at(1);
    format!("{}{rest}Object", first.to_uppercase())
}

/// Adds the fields of an object, and theirs.
fn inside(schemas: &Value, object: &Value, path: &str, deeper: usize, fields: &mut Vec<Field>) {
    let properties = object["properties"].as_object();
    for (name, at) in properties.into_iter().flatten() {
        let place = resolve(schemas, at);
        let path = format!("{path}.{name}");
        fields.push(field(path.clone(), &place, schemas));
        if deeper == 0 {
            continue;
        }
        match place.schema.get("items") {
            Some(items) => {
                let entry = resolve(schemas, items).schema;
                inside(schemas, entry, &format!("{path}[]"), deeper - 1, fields);
            }
            None => inside(schemas, place.schema, &path, deeper - 1, fields),
        }
    }
}

/// A schema, and what the places that lead to it say of it.
struct Place<'a> {
    schema: &'a Value,
    /// What the field says.
    about: Option<&'a str>,
    /// What the type says that it refers to.
    of_type: Option<&'a str>,
    optional: bool,
}

/// Follows `$ref`, and leaves null out of what may be null.
fn resolve<'a>(schemas: &'a Value, at: &'a Value) -> Place<'a> {
    let mut choices = at["oneOf"].as_array().into_iter().flatten();
    if let Some(real) = choices.find(|choice| choice["type"] != "null") {
        return Place { optional: true, ..resolve(schemas, real) };
    }
    let name = at["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    let target = name.and_then(|name| schemas.get(name));
    Place {
        schema: target.unwrap_or(at),
        about: text(at, "description"),
        of_type: target.and_then(|target| text(target, "description")),
        optional: at["type"].as_array().is_some_and(|sorts| sorts.iter().any(|s| s == "null")),
    }
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}

fn field(path: String, place: &Place<'_>, schemas: &Value) -> Field {
    let entry = place.schema.get("items").map(|items| resolve(schemas, items));
    let valued = entry.as_ref().unwrap_or(place);
    let is_text = valued.schema["type"] == "string" && valued.schema.get("enum").is_none();
    let form = valued.of_type.filter(|_| is_text).map(str::to_owned);
    let mut description = place.about.or(place.of_type).unwrap_or_default().to_owned();
    // An object's own rules; of a text its form is said, and of a word there is nothing to add.
    let rules = valued.of_type.filter(|_| valued.schema["type"] == "object");
    if let Some(rules) = rules.filter(|rules| *rules != description) {
        description += &format!("\n\n{rules}");
    }
    let said = description.split_once("(default").and_then(|(_, rest)| rest.split_once(')'));
    let default = match said {
        Some((words, _)) => Some(words.trim_start_matches([':', ' ']).into()),
        None => place.optional.then_some(Value::Null),
    };
    Field { path, sort: sort(place.schema, schemas), form, default, description }
}

fn sort(schema: &Value, schemas: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        return words.join(" | ");
    }
    let sorts =
        schema["type"].as_array().map_or(std::slice::from_ref(&schema["type"]), Vec::as_slice);
    let of = |inner: &Value| sort(resolve(schemas, inner).schema, schemas);
    match sorts.iter().filter_map(Value::as_str).find(|sort| *sort != "null") {
        Some("string") => "text".to_owned(),
        Some("integer") => "whole number".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("array") => format!("list of {}", of(&schema["items"])),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("text to {}", of(&schema["additionalProperties"]))
        }
        Some(other) => other.to_owned(),
        None => "anything".to_owned(),
    }
}

/// The model's own defaults, where it has some: what an object is that says as little as it may.
fn set_defaults(kind: Kind, fields: &mut [Field]) {
    let least = match kind {
        Kind::Listener => json!({"address": "127.0.0.1:1"}),
        Kind::Route => json!({"engine": "e"}),
        Kind::Engine | Kind::Tenant => json!({}),
    };
    let Ok(spec) = Spec::from_json(kind, least.clone()) else { return };
    let spec = spec.to_json();
    for field in fields {
        let pointer =
            names(&field.path)[1..].iter().map(|name| format!("/{name}")).collect::<String>();
        if least.pointer(&pointer).is_none()
            && let Some(value) = spec.pointer(&pointer).filter(|v| !v.is_object())
        {
            field.default = Some(value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Field {
        let all = all().expect("fields");
        all.into_iter().find(|f| names(&f.path) == names(path)).unwrap_or_else(|| panic!("{path}"))
    }

    #[test]
    fn every_field_is_there_once_with_type_and_description() {
        let all = all().expect("fields");
        assert!(all.len() > 150, "{} fields", all.len());
        for field in &all {
            let same = all.iter().filter(|other| names(&other.path) == names(&field.path)).count();
            assert_eq!(same, 1, "{field:?}");
            assert!(!field.description.is_empty() && !field.sort.is_empty(), "{field:?}");
            assert_ne!(field.sort, "anything", "{field:?}");
        }
    }

    #[test]
    fn what_the_model_writes_out_is_explained() {
        let engine = Spec::from_json(Kind::Engine, json!({})).expect("an engine").to_json();
        let mut count = 0;
        for (name, value) in engine.as_object().expect("object") {
            found(&format!("engine.{name}"));
            for (inner, value) in value.as_object().into_iter().flatten() {
                let field = found(&format!("engine.spec.{name}.{inner}"));
                assert_eq!(field.default.as_ref(), Some(value), "{field:?}");
                count += 1;
            }
        }
        assert!(count > 10, "{count}");
    }

    #[test]
    fn paths_are_understood_as_people_write_them() {
        assert_eq!(names("engine.spec.endpoints[].slots"), ["engine", "endpoints", "slots"]);
        assert_eq!(names("engine/spec/endpoints/0/slots"), ["engine", "endpoints", "slots"]);
        assert_eq!(names("engine.endpoints[3].slots"), ["engine", "endpoints", "slots"]);
        assert_eq!(names("engine.spec"), ["engine"]);
    }

    #[test]
    fn types_and_defaults_are_said_in_words() {
        let said = |path: &str| {
            let field = found(path);
            (field.sort, field.default.map(|d| d.to_string()).unwrap_or_default())
        };
        let both = |sort: &str, default: &str| (sort.to_owned(), default.to_owned());
        assert_eq!(said("route.priority"), both("whole number", "0"));
        assert_eq!(said("route.engine"), both("text", "null"));
        assert_eq!(said("route.match.grpc"), both("text", "null"));
        assert_eq!(said("engine.pool.mode"), both("off | strict | loose", "\"off\""));
        assert_eq!(said("engine.pool.idle_timeout"), both("text", "\"5m\""));
        assert_eq!(said("engine.endpoints"), both("list of object", "[]"));
        assert_eq!(said("engine.labels"), both("text to text", ""));
        assert_eq!(said("route.request_headers.set"), both("text to text", ""));
        assert_eq!(said("route.cors.max_age"), both("text", "\"10m\""));
        assert_eq!(said("listener.address"), both("text", ""));
        let form = found("engine.endpoints.address").form.unwrap_or_default();
        assert!(form.starts_with("host:port"), "{form}");
    }
}
