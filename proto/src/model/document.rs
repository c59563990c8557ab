//! Documents: objects written down as YAML or JSON, the same form in files, in `apply` and in REST bodies.
//!
//! ```yaml
//! kind: engine
//! name: asr
//! labels: {team: speech}
//! spec:
//!   endpoints: [{address: "10.0.0.7:50051"}]
//!   pool: {mode: strict, slots: 32}
//! ---
//! kind: route
//! name: asr
//! spec: {match: {grpc: speech.v1.Recognizer}, engine: asr}
//! ```

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::code;
use super::error::{Errors, FieldError, unknown_field};
use super::object::{Key, Kind, Object, Spec, labels_from_json};
use super::text::Name;

/// What the admin adds to an object it gives out, and ignores when it comes back.
const READ_ONLY: [&str; 8] =
    ["uid", "revision", "owner", "created_at", "updated_at", "updated_by", "status", "applied"];

/// Reads every object of a text: YAML documents, JSON, or `{"items": […]}` of them.
///
/// # Errors
/// All of them, each with the object it concerns; none of the objects is to be used then.
pub fn parse(text: &str) -> Result<Vec<Object>, Errors> {
    objects(documents(text)?)
}

/// Reads objects from values that have been parsed already.
///
/// # Errors
/// As [`parse`].
pub fn objects(values: Vec<Value>) -> Result<Vec<Object>, Errors> {
    let mut errors = Errors::default();
    let mut objects: Vec<Object> = Vec::new();
    let mut seen = BTreeSet::new();
    for (i, value) in values.into_iter().enumerate() {
        let Some(object) = errors.keep(object(value, None).map_err(|e| placed(e, i))) else {
            continue;
        };
        if seen.insert(object.key.clone()) {
            objects.push(object);
        } else {
            let message = format!("{} is there twice; keep one", object.key);
            errors.push(FieldError::new("/name", code::DUPLICATE_OBJECT, message).of(&object.key));
        }
    }
    errors.into_result().map(|()| objects)
}

/// Reads one object; `kind` says what it must be where the place (a URL) already tells.
///
/// # Errors
/// All of them, with pointers relative to the object.
pub fn object(value: Value, kind: Option<Kind>) -> Result<Object, Errors> {
    let Value::Object(mut map) = value else {
        let message = "must be an object with kind, name and spec";
        return Err(FieldError::new("", code::WRONG_TYPE, message).into());
    };
    let mut errors = Errors::default();
    for field in READ_ONLY {
        map.remove(field);
    }
    let stated = errors.keep(text(&mut map, "kind", kind.is_none()));
    let name = errors.keep(text(&mut map, "name", true)).flatten();
    let name = name.and_then(|n| {
        errors.keep(
            n.parse::<Name>().map_err(|e| FieldError::new("/name", code::BAD_VALUE, e.0).into()),
        )
    });
    let kind = stated.flatten().map_or(Ok(kind), |s| known_kind(&s, kind).map(Some));
    let kind = errors.keep(kind).flatten();
    let labels = errors.keep(labels_from_json(map.remove("labels").as_ref())).unwrap_or_default();
    let spec = map.remove("spec").unwrap_or_else(|| Value::Object(Map::new()));
    let spec =
        kind.and_then(|k| errors.keep(Spec::from_json(k, spec).map_err(|e| e.under("/spec"))));
    for key in map.keys() {
        let message = unknown_field(key, &["kind", "name", "labels", "spec"]);
        errors.push(FieldError::new(format!("/{key}"), code::UNKNOWN_FIELD, message));
    }
    match (name, kind, spec) {
        (Some(name), Some(kind), Some(spec)) if errors.0.is_empty() => {
            Ok(Object { key: Key { kind, name }, labels, spec })
        }
        (Some(name), Some(kind), _) => Err(errors.of(Key { kind, name })),
        _ => Err(errors),
    }
}

fn known_kind(stated: &str, wanted: Option<Kind>) -> Result<Kind, Errors> {
    let at = |message: String| Errors::from(FieldError::new("/kind", code::BAD_VALUE, message));
    let kind: Kind = stated.parse().map_err(|e: super::error::BadValue| at(e.0))?;
    match wanted {
        Some(w) if w != kind => Err(at(format!("is {kind}, but this is the place for a {w}"))),
        _ => Ok(kind),
    }
}

fn text(
    map: &mut Map<String, Value>,
    field: &str,
    required: bool,
) -> Result<Option<String>, Errors> {
    let at = format!("/{field}");
    match map.remove(field) {
        Some(Value::String(s)) => Ok(Some(s)),
        None if !required => Ok(None),
        None => {
            let message = format!("\"{field}\" is missing; set it");
            Err(FieldError::new(at, code::MISSING_FIELD, message).into())
        }
        Some(other) => {
            let message = format!("is {other}; it must be text: quote it");
            Err(FieldError::new(at, code::WRONG_TYPE, message).into())
        }
    }
}

/// Names the place of an object whose name is not known.
fn placed(mut errors: Errors, index: usize) -> Errors {
    for e in &mut errors.0 {
        e.object.get_or_insert_with(|| format!("document {}", index + 1));
    }
    errors
}

/// Splits a text into its documents, and lists (`items`) into their members.
fn documents(text: &str) -> Result<Vec<Value>, Errors> {
    let malformed = |message: String| Errors::from(FieldError::new("", code::MALFORMED, message));
    let parsed: Vec<Value> = if text.trim_start().starts_with('{') {
        vec![serde_json::from_str(text).map_err(|e| malformed(format!("not JSON: {e}")))?]
    } else {
        if let Some(line) = text.lines().position(|l| l.trim_start_matches(' ').starts_with('\t')) {
            let message = "not YAML: a tab indents this line; indent with spaces";
            return Err(malformed(format!("line {}: {message}", line + 1)));
        }
        serde_saphyr::from_multiple_with_options(text, yaml_options())
            .map_err(|e| malformed(not_yaml(&e)))?
    };
    let mut values = Vec::new();
    for value in parsed {
        match value {
            Value::Null => {}
            Value::Object(mut map) if map.contains_key("items") && !map.contains_key("kind") => {
                match map.remove("items") {
                    Some(Value::Array(items)) => values.extend(items),
                    _ => return Err(malformed("\"items\" must be a list of objects".into())),
                }
            }
            other => values.push(other),
        }
    }
    Ok(values)
}

fn not_yaml(error: &serde_saphyr::Error) -> String {
    let said = error.to_string();
    // The reader wraps this kind of error in others, so its words are all there is to know it by.
    if said.contains("budget breached") || said.contains("limit exceeded") {
        return "not YAML that can be read: it nests too deep, or its anchors unfold to too much; \
                write it flat, or in several files"
            .into();
    }
    format!("not YAML: {said}")
}

/// Room for a whole configuration of 100,000 objects in one text, which the reader's own limits are not;
/// who takes texts from others bounds their bytes. And `mode: off` is the word, not the boolean of YAML 1.1.
fn yaml_options() -> serde_saphyr::Options {
    let budget = serde_saphyr::budget! {
        max_documents: 200_000,
        max_events: 20_000_000,
        max_nodes: 10_000_000,
    };
    serde_saphyr::options! { budget: budget, with_snippet: false, strict_booleans: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<(String, String, String)> {
        let e = parse(text).expect_err("must be refused");
        e.0.into_iter().map(|e| (e.object.unwrap_or_default(), e.pointer, e.code)).collect()
    }

    #[test]
    fn yaml_documents_json_and_lists_read_alike() {
        let yaml = "kind: engine\nname: a\nspec: {endpoints: [{address: 'x:1'}]}\n---\nkind: route\nname: r\nspec:\n  match: {path: /x*}\n  engine: a\n";
        let objects = parse(yaml).expect("yaml");
        assert_eq!(objects.len(), 2);
        let items: Vec<_> = objects.iter().map(Object::to_json).collect();
        let json = serde_json::json!({ "items": items }).to_string();
        assert_eq!(parse(&json).expect("json"), objects);
        assert_eq!(parse("").expect("nothing"), vec![]);
    }

    #[test]
    fn every_error_is_reported_with_its_place() {
        let text = "kind: engine\nname: a\nspec:\n  endpoints: [{address: nope, wieght: 2}]\n  pool: {mode: strict, queue: many}\n---\nkind: rout\nname: has space\n";
        let e = errors(text);
        let has = |o: &str, p: &str, c: &str| {
            assert!(e.contains(&(o.into(), p.into(), c.into())), "{o} {p} {c} in {e:#?}");
        };
        has("engine/a", "/spec/endpoints/0/address", code::BAD_VALUE);
        has("engine/a", "/spec/endpoints/0/wieght", code::UNKNOWN_FIELD);
        has("engine/a", "/spec/pool/queue", code::WRONG_TYPE);
        has("document 2", "/kind", code::BAD_VALUE);
        has("document 2", "/name", code::BAD_VALUE);
    }

    #[test]
    fn a_tab_is_named_with_its_line() {
        let e = parse("kind: engine\n\tname: a\n").expect_err("tab");
        assert!(e.0[0].message.starts_with("line 2"), "{e}");
        assert!(e.0[0].message.contains("tab"), "{e}");
    }

    #[test]
    fn a_whole_configuration_fits_in_one_text() {
        let one = |i: u32| format!("kind: engine\nname: e{i}\nspec: {{}}\n---\n");
        let text: String = (0..5_000).map(one).collect();
        assert_eq!(parse(&text).map_or(0, |o| o.len()), 5_000);
    }

    #[test]
    fn words_that_were_booleans_once_are_words() {
        let text = "kind: engine\nname: on\nlabels: {y: yes}\nspec: {pool: {mode: off}}\n";
        assert_eq!(parse(text).map(|o| o[0].key.to_string()), Ok("engine/on".into()));
    }

    #[test]
    fn what_is_not_yaml_is_said_in_one_line() {
        let e = parse("kind: [engine\nname: a\n").expect_err("not YAML");
        assert!(e.0[0].message.starts_with("not YAML: "), "{e}");
        assert_eq!(e.0[0].message.lines().count(), 1, "{e}");
    }

    #[test]
    fn anchors_that_unfold_to_millions_are_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..9 {
            let ten = vec![format!("*a{}", i - 1); 10].join(", ");
            text += &format!("a{i}: &a{i} [{ten}]\n");
        }
        let e = parse(&text).expect_err("a bomb");
        assert!(e.0[0].message.contains("unfold"), "{e}");
    }

    #[test]
    fn twice_the_same_object_is_refused() {
        let one = "kind: engine\nname: a\nspec: {}\n";
        assert_eq!(errors(&format!("{one}---\n{one}"))[0].2, code::DUPLICATE_OBJECT);
    }

    #[test]
    fn what_the_admin_gave_out_can_come_back() {
        let text = r#"{"kind":"engine","name":"a","uid":"u","revision":7,"status":{},"created_at":"x","spec":{}}"#;
        assert_eq!(parse(text).expect("object").len(), 1);
    }
}
