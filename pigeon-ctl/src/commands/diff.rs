//! `diff`

use std::collections::{BTreeMap, BTreeSet};

use pigeon_proto::model::{Key, Kind, Object};
use serde_json::{Value, json};
use similar::TextDiff;

use super::files::{self, Found};
use super::{Desk, object};
use crate::Outcome;
use crate::cli::{DiffArgs, Output, SetArgs};
use crate::document;
use crate::error::{Exit, Failure};
use crate::session::Session;

/// Lines of the document shown around a change.
const AROUND: usize = 3;

pub(crate) fn diff(desk: &Desk, args: &DiffArgs) -> Outcome {
    let found = files::read(&args.files)?;
    let current = current(&desk.session()?, &found, &args.set)?;
    let changed: Vec<&Object> = found
        .objects
        .iter()
        .filter(|new| current.get(&new.key).map(|(_, old)| old) != Some(*new))
        .collect();
    let removed = || current.iter().filter(|(key, _)| !found.places.contains_key(key));
    if desk.out.format() == Output::Table {
        for new in &changed {
            desk.out.text(&one(current.get(&new.key), new, &found.places[&new.key])?)?;
        }
        for (key, (revision, old)) in removed() {
            desk.out.text(&unified(Some((&format!("{key} revision {revision}"), old)), None)?)?;
        }
    } else {
        let item = |key: &Key, old: Option<&Object>, new: Option<&Object>| {
            let op = match (old, new) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "changed",
            };
            let (kind, name) = (key.kind.as_str(), key.name.as_str());
            let [before, after] = [old, new].map(|object| object.map(Object::to_json));
            json!({"kind": kind, "name": name, "op": op, "before": before, "after": after})
        };
        let old = |key: &Key| current.get(key).map(|(_, old)| old);
        let kept = changed.iter().map(|new| item(&new.key, old(&new.key), Some(*new)));
        let gone = removed().map(|(key, (_, old))| item(key, Some(old), None));
        let items: Vec<Value> = kept.chain(gone).collect();
        desk.out.value(&json!({ "items": items }))?;
    }
    let same = changed.is_empty() && removed().next().is_none();
    Ok(if same { Exit::Done } else { Exit::No })
}

/// Revision and content of each object that is there now and is in the files, or would be removed.
type Current = BTreeMap<Key, (u64, Object)>;

fn current(session: &Session, found: &Found, set: &SetArgs) -> Result<Current, Failure> {
    let owner = set.owner.as_deref().filter(|_| set.prune);
    let kinds: BTreeSet<Kind> = match owner {
        Some(_) => Kind::ALL.into_iter().collect(),
        None => found.objects.iter().map(|o| o.key.kind).collect(),
    };
    let mut current = Current::new();
    for kind in kinds {
        for value in session.list(&object::collection(kind), usize::MAX)? {
            let owned = owner.is_some() && value.get("owner").and_then(Value::as_str) == owner;
            // What is in no file, and not to be removed, does not concern us, whatever it is.
            let ours = |key: Key| owned || found.places.contains_key(&key);
            if object::key(&value).is_some_and(ours) {
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
