//! What an import has so far: documents, what became of each key, and what is wrong.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use pigeon_proto::model::{FieldError, Kind, code};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::names::Names;
use super::place::Place;
use crate::error::clean;
use crate::output::note;

/// A value as it stands in a file, if it is there at all.
pub(super) type Field = Option<Value>;

/// An import under way.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Documents, each with where it comes from.
    pub(super) documents: Vec<(Place, Value)>,
    /// Values that cannot be used.
    pub(super) errors: Vec<FieldError>,
    /// The names that are taken.
    pub(super) names: Names,
    lines: Vec<(Place, Fate)>,
}

/// What became of a key.
#[derive(Debug)]
enum Fate {
    Mapped(String),
    NotNeeded(String),
    NotSupported(String),
    Unknown,
}

impl Draft {
    /// Adds a document.
    pub(super) fn add(&mut self, from: &Place, kind: Kind, name: &str, labels: Value, spec: Value) {
        let document =
            json!({ "kind": kind.as_str(), "name": name, "labels": labels, "spec": spec });
        self.documents.push((from.clone(), document));
    }

    /// The key says this there.
    pub(super) fn mapped(&mut self, at: &Place, to: impl Into<String>) {
        self.lines.push((at.clone(), Fate::Mapped(to.into())));
    }

    /// Nothing is lost without it.
    pub(super) fn not_needed(&mut self, at: &Place, why: impl Into<String>) {
        self.lines.push((at.clone(), Fate::NotNeeded(why.into())));
    }

    /// It said something that no document says.
    pub(super) fn not_supported(&mut self, at: &Place, why: impl Into<String>) {
        self.lines.push((at.clone(), Fate::NotSupported(why.into())));
    }

    /// Fields that say what no document says.
    pub(super) fn no_counterpart(&mut self, at: &Place, fields: &BTreeMap<String, Value>) {
        fields.keys().for_each(|key| self.not_supported(&at.key(key), "Pigeon has no counterpart"));
    }

    /// Whether anything was said that no document says.
    pub(super) fn is_lossy(&self) -> bool {
        self.lines.iter().any(|(_, fate)| matches!(fate, Fate::NotSupported(_) | Fate::Unknown))
    }

    /// Keys that nobody knows.
    pub(super) fn unknown(&mut self, at: &Place, keys: &BTreeMap<String, Value>) {
        self.lines.extend(keys.keys().map(|key| (at.key(key), Fate::Unknown)));
    }

    /// One key that nobody knows.
    pub(super) fn unknown_key(&mut self, at: &Place) {
        self.lines.push((at.clone(), Fate::Unknown));
    }

    /// The value cannot be used.
    pub(super) fn wrong(&mut self, at: &Place, value: &Value, why: &str) {
        self.secret_wrong(at, &format!("is {value}; {why}"));
    }

    /// The same of a value that must not be shown.
    pub(super) fn secret_wrong(&mut self, at: &Place, message: &str) {
        self.errors.push(at.error(code::BAD_VALUE, message));
    }

    /// A part of a file in its own form.
    pub(super) fn typed<T: DeserializeOwned + Default>(&mut self, at: &Place, value: Field) -> T {
        let value = value.filter(|v| !v.is_null()).unwrap_or_else(|| Value::Object(Map::new()));
        serde_json::from_value(value).unwrap_or_else(|_| {
            // What else it is may hold a token, so it is not repeated.
            self.errors.push(at.error(code::WRONG_TYPE, "must be keys and values"));
            T::default()
        })
    }

    /// The items of a list, each with its place.
    pub(super) fn items(&mut self, at: &Place, value: Field) -> Vec<(Place, Value)> {
        match value {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => {
                items.into_iter().enumerate().map(|(i, item)| (at.item(i), item)).collect()
            }
            Some(_) => {
                self.errors.push(at.error(code::WRONG_TYPE, "must be a list"));
                Vec::new()
            }
        }
    }

    /// A number, also where it is written as text.
    pub(super) fn number(
        &mut self,
        at: &Place,
        value: &Field,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let value = value.as_ref()?;
        let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
        let number = number.filter(|n| range.contains(n));
        if number.is_none() {
            let why = format!("it must be a number from {} to {}", range.start(), range.end());
            self.wrong(at, value, &why);
        }
        number
    }

    /// True or false, as YAML 1.1 also writes them.
    pub(super) fn flag(&mut self, at: &Place, value: &Field) -> Option<bool> {
        let value = value.as_ref()?;
        let word = value.as_str().map(str::to_ascii_lowercase);
        match (value, word.as_deref()) {
            (Value::Bool(flag), _) => Some(*flag),
            (_, Some("true" | "yes" | "on" | "y")) => Some(true),
            (_, Some("false" | "no" | "off" | "n")) => Some(false),
            _ => {
                self.wrong(at, value, "it must be true or false");
                None
            }
        }
    }

    /// Text; a number is the text it is written as.
    pub(super) fn text(&mut self, at: &Place, value: &Field) -> Option<String> {
        match value.as_ref()? {
            Value::String(text) => Some(text.trim().to_owned()),
            Value::Number(number) => Some(number.to_string()),
            other => {
                self.wrong(at, other, "it must be text");
                None
            }
        }
    }

    /// Says to people what became of each key; `quiet`: only what is lost.
    pub(super) fn report(&self, quiet: bool) {
        let mut sources: Vec<&String> = Vec::new();
        for (at, _) in &self.lines {
            if !sources.contains(&&at.source) {
                sources.push(&at.source);
            }
        }
        for source in sources {
            let of_it = self.lines.iter().filter(|(at, _)| at.source == *source);
            let said: Vec<String> = of_it.filter_map(|(at, fate)| fate.line(at, quiet)).collect();
            if !said.is_empty() {
                note(&clean(&format!("{source}\n{}", said.join("\n"))));
            }
        }
    }
}

impl Fate {
    /// The line of the report; none if it is quiet and nothing is lost.
    fn line(&self, at: &Place, quiet: bool) -> Option<String> {
        let (lost, said) = match self {
            Self::Mapped(to) => (false, format!("mapped to {to}")),
            Self::NotNeeded(why) => (false, format!("not needed: {why}")),
            Self::NotSupported(why) => (true, format!("NOT SUPPORTED: {why}")),
            Self::Unknown => (true, "UNKNOWN: nothing is known of it, and it is left out".into()),
        };
        let key = if at.key.is_empty() { "all" } else { &at.key };
        (lost || !quiet).then(|| format!("  {key}: {said}"))
    }
}
