//! `apply`

use http::Method;
use pigeon_proto::model::Object;
use serde_json::{Value, json};

use super::write::{self, Written};
use super::{Desk, files};
use crate::Outcome;
use crate::cli::{ApplyArgs, Output, WriteArgs};
use crate::client::{Call, segment};
use crate::output::table::cell;

pub(crate) fn apply(desk: &Desk, args: &ApplyArgs) -> Outcome {
    let found = files::read(&args.files)?;
    let session = desk.session()?;
    let objects: Vec<Value> = found.objects.iter().map(Object::to_json).collect();
    let call = Call::new(Method::POST, target(args)).json(&json!({ "objects": objects }));
    let written = write::send(&session, call, args.write).map_err(|failure| {
        // A program gets the problem document as the server wrote it.
        match desk.out.format() {
            Output::Json | Output::Jsonl => failure,
            Output::Table | Output::Yaml => found.name_files(failure),
        }
    })?;
    print(desk, &written, args.write)
}

fn target(args: &ApplyArgs) -> String {
    let mut pairs = Vec::new();
    if let Some(owner) = &args.set.owner {
        pairs.push(format!("owner={}", segment(owner)));
    }
    if args.set.prune {
        pairs.push("prune=true".to_owned());
    }
    if let Some(allowed) = args.allow_deletes {
        pairs.push(format!("allow_deletes={allowed}"));
    }
    let mark = if pairs.is_empty() { "" } else { "?" };
    format!("/v1/apply{mark}{}", pairs.join("&"))
}

/// Prints a write of many objects, and says how to exit.
pub(crate) fn print(desk: &Desk, written: &Written, args: WriteArgs) -> Outcome {
    if !desk.out.value(&written.body)? {
        let objects = written.body.get("objects").and_then(Value::as_array);
        let objects = objects.map_or(&[][..], Vec::as_slice);
        for object in objects {
            let (kind, name) = (cell(object, "/kind"), cell(object, "/name"));
            desk.out.done(&format!("{kind}/{name} {}", cell(object, "/op")))?;
        }
        desk.out.done(&format!("{}   {}", counts(objects), written.state(args)))?;
        written.explain();
    }
    Ok(written.exit(args))
}

/// `2 added, 1 changed, 3 unchanged`; `nothing to do` if there is no object
fn counts(objects: &[Value]) -> String {
    let count = |op: &str| objects.iter().filter(|o| cell(o, "/op") == op).count();
    let counted = ["added", "changed", "removed", "unchanged"].map(|op| (count(op), op));
    let words: Vec<String> =
        counted.iter().filter(|(n, _)| *n > 0).map(|(n, op)| format!("{n} {op}")).collect();
    if words.is_empty() { "nothing to do".to_owned() } else { words.join(", ") }
}
