//! `lint`: what is wrong with files, said without asking a server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pigeon_proto::model::{
    self, Errors, FieldError, Key, Kind, Listener, Object, Snapshot, Spec, Versioned, code,
};
use serde::Serialize;
use serde_json::json;

use super::Desk;
use super::files::{self, Found};
use crate::Outcome;
use crate::cli::LintArgs;
use crate::error::{Exit, Failure, clean};

/// What is said of an object because of another that is missing: it may be in a file that cannot be read.
const REFERENCES: [&str; 4] =
    [code::UNKNOWN_ENGINE, code::UNKNOWN_LISTENER, code::UNKNOWN_TENANT, code::NO_ISSUER];

/// Something wrong.
#[derive(Debug, Serialize)]
struct Finding {
    file: String,
    #[serde(flatten)]
    error: FieldError,
    /// What to do.
    next: &'static str,
}

pub(crate) fn lint(desk: &Desk, args: &LintArgs) -> Outcome {
    let (found, faults) = files::scan(&args.files)?;
    let complete = faults.is_empty();
    let mut findings: Vec<Finding> =
        faults.into_iter().map(|(file, error)| finding(file, error)).collect();
    findings.extend(between(&found, complete)?);
    findings.retain(|f| !is_suppressed(args, &f.error));
    findings.sort_by(|a, b| a.file.cmp(&b.file));
    if !desk.out.value(&json!({ "items": findings }))? {
        for Finding { file, error, next } in &findings {
            desk.out.text(&clean(&format!("{file}: {error}\n  next: {next}\n")))?;
        }
        desk.out.done(&summary(&found, &findings, complete))?;
    }
    Ok(if findings.is_empty() { Exit::Done } else { Exit::No })
}

fn finding(file: String, error: FieldError) -> Finding {
    let next = code::explain(&error.code).map_or("", |explanation| explanation.advice);
    Finding { file, error, next }
}

/// What is wrong between objects, as the file mode of a proxy sees it.
fn between(found: &Found, complete: bool) -> Result<Vec<Finding>, Failure> {
    let Errors(errors) = model::validate(&snapshot(&found.objects)?).err().unwrap_or_default();
    let said = errors.into_iter().filter(|e| complete || !REFERENCES.contains(&e.code.as_str()));
    let places: BTreeMap<String, &String> =
        found.places.iter().map(|(key, place)| (key.to_string(), place)).collect();
    let place = |error: &FieldError| places.get(error.object.as_ref()?).map(|p| (*p).clone());
    Ok(said.map(|error| finding(place(&error).unwrap_or_default(), error)).collect())
}

/// All objects, and the listener that a proxy has when its file has none.
pub(super) fn snapshot(objects: &[Object]) -> Result<Snapshot, Failure> {
    let versioned = |spec: &Spec| Versioned { mod_revision: 1, spec: Arc::new(spec.clone()) };
    let mut objects: BTreeMap<Key, Versioned> =
        objects.iter().map(|o| (o.key.clone(), versioned(&o.spec))).collect();
    if !objects.keys().any(|key| key.kind == Kind::Listener) {
        let name = "default".parse().map_err(|e| Failure::bug(format!("{e}")))?;
        let standard = Spec::Listener(Listener::standard());
        objects.insert(Key { kind: Kind::Listener, name }, versioned(&standard));
    }
    Ok(Snapshot { revision: 1, objects })
}

fn is_suppressed(args: &LintArgs, error: &FieldError) -> bool {
    args.suppress.iter().any(|s| {
        let of_all = s.object.is_none();
        s.code == error.code && (of_all || s.object.as_ref().map(Key::to_string) == error.object)
    })
}

fn summary(found: &Found, findings: &[Finding], complete: bool) -> String {
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    if findings.is_empty() {
        let files: BTreeSet<&String> = found.places.values().collect();
        let objects = count(found.objects.len(), "object");
        return format!("nothing found: {objects} in {}", count(files.len(), "file"));
    }
    let files: BTreeSet<&String> = findings.iter().map(|f| &f.file).collect();
    let counted = format!("{} in {}", count(findings.len(), "finding"), count(files.len(), "file"));
    if complete {
        return counted;
    }
    counted + "; whether what objects refer to exists was not checked, as not all could be read"
}
