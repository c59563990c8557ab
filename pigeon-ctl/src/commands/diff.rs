//! `diff`

use std::collections::{BTreeMap, BTreeSet};

use pigeon_proto::model::{Key, Kind, Object};
use serde_json::{Value, json};
use similar::TextDiff;

use super::files::{self, Found};
use super::{Desk, object};
use crate::Outcome;
use crate::cli::{FileArgs, Output};
use crate::document;
use crate::error::{Exit, Failure};
use crate::session::Session;

/// Lines of the document shown around a change.
const AROUND: usize = 3;

pub(crate) fn diff(desk: &Desk, args: &FileArgs) -> Outcome {
    let found = files::read(args)?;
    let current = current(&desk.session()?, &found)?;
    let changed: Vec<&Object> = found
        .objects
        .iter()
        .filter(|new| current.get(&new.key).map(|(_, old)| old) != Some(*new))
        .collect();
    if desk.out.format() == Output::Table {
        for new in &changed {
            desk.out.text(&one(current.get(&new.key), new, &found.places[&new.key])?)?;
        }
    } else {
        let item = |new: &&Object| {
            let old = current.get(&new.key).map(|(_, old)| old.to_json());
            let op = if old.is_some() { "changed" } else { "added" };
            let (kind, name) = (new.key.kind.as_str(), new.key.name.as_str());
            json!({"kind": kind, "name": name, "op": op, "before": old, "after": new.to_json()})
        };
        let items: Vec<Value> = changed.iter().map(item).collect();
        desk.out.value(&json!({ "items": items }))?;
    }
    Ok(if changed.is_empty() { Exit::Done } else { Exit::No })
}

/// Revision and content of each object that is there now, of the kinds in the files.
type Current = BTreeMap<Key, (u64, Object)>;

fn current(session: &Session, found: &Found) -> Result<Current, Failure> {
    let kinds: BTreeSet<Kind> = found.objects.iter().map(|o| o.key.kind).collect();
    let mut current = Current::new();
    for kind in kinds {
        for value in session.list(&object::collection(kind), usize::MAX)? {
            // Objects that are in no file do not concern us, whatever they are.
            if object::key(&value).is_some_and(|k| found.places.contains_key(&k)) {
                let revision = value.get("revision").and_then(Value::as_u64).unwrap_or(0);
                let object = document::of_server(value)?;
                current.insert(object.key.clone(), (revision, object));
            }
        }
    }
    Ok(current)
}

/// A unified diff of one object.
fn one(old: Option<&(u64, Object)>, new: &Object, place: &str) -> Result<String, Failure> {
    let place = format!("{} {place}", new.key);
    let old = old.map(|(revision, old)| (format!("{} revision {revision}", new.key), old));
    unified(old.as_ref().map(|(place, old)| (place.as_str(), *old)), Some((&place, new)))
}

/// A unified diff of an object as it is at two places; at one of them it may not exist.
pub(crate) fn unified(
    old: Option<(&str, &Object)>,
    new: Option<(&str, &Object)>,
) -> Result<String, Failure> {
    let side = |side: Option<(&str, &Object)>| match side {
        Some((place, object)) => Ok((place.to_owned(), document::yaml(object)?)),
        None => Ok(("/dev/null".to_owned(), String::new())),
    };
    let ((from, before), (to, after)) = (side(old)?, side(new)?);
    let diff = TextDiff::from_lines(before.as_str(), after.as_str());
    let text = diff.unified_diff().context_radius(AROUND).header(&from, &to).to_string();
    Ok(text.lines().map(coloured).collect())
}

fn coloured(line: &str) -> String {
    let colour = match line.as_bytes().first() {
        Some(b'+') => "\x1b[32m",
        Some(b'-') => "\x1b[31m",
        Some(b'@') => "\x1b[36m",
        _ => return format!("{line}\n"),
    };
    format!("{colour}{line}\x1b[0m\n")
}
