//! `revision …`

use http::Method;
use serde_json::Value;

use super::{Desk, apply, diff as differ, question, watch, write};
use crate::Outcome;
use crate::cli::{ListArgs, Output, WriteArgs};
use crate::client::Call;
use crate::document;
use crate::error::{Exit, Failure};
use crate::output::table::cell;

pub(crate) fn list(desk: &Desk, limit: u32, args: ListArgs) -> Outcome {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let heading = ["REVISION", "AT", "ACTOR", "SOURCE", "CHANGES"];
    let shown = watch::rows(heading, |revision| {
        [
            cell(revision, "/revision"),
            cell(revision, "/at"),
            cell(revision, "/actor"),
            cell(revision, "/source"),
            changes(revision),
        ]
    });
    watch::list(desk, args.watch, |session| session.list("/v1/revisions", limit), shown)
}

/// `create engine/a, update route/b and 3 more`
pub(crate) fn changes(revision: &Value) -> String {
    const SHOWN: usize = 4;
    let all = revision.get("changes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let word = |change: &Value| {
        let (action, kind, name) =
            (cell(change, "/action"), cell(change, "/kind"), cell(change, "/name"));
        format!("{action} {kind}/{name}")
    };
    let shown: Vec<String> = all.iter().take(SHOWN).map(word).collect();
    match all.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

pub(crate) fn get(desk: &Desk, revision: u64) -> Outcome {
    let found = desk.session()?.get(&format!("/v1/revisions/{revision}"))?;
    if !desk.out.value(&found)? {
        let by = format!("{} from {}", cell(&found, "/actor"), cell(&found, "/source"));
        desk.out.text(&format!("revision {revision}   {}   by {by}\n", cell(&found, "/at")))?;
        for change in found["changes"].as_array().into_iter().flatten() {
            let words = ["/action", "/kind", "/name"].map(|field| cell(change, field));
            desk.out.text(&format!("{} {}/{}\n", words[0], words[1], words[2]))?;
        }
    }
    Ok(Exit::Done)
}

pub(crate) fn diff(desk: &Desk, from: u64, to: Option<u64>) -> Outcome {
    let to = to.map(|to| format!("?to={to}")).unwrap_or_default();
    let found = desk.session()?.get(&format!("/v1/revisions/{from}/diff{to}"))?;
    let objects = found["objects"].as_array().map_or(&[][..], Vec::as_slice);
    if desk.out.format() == Output::Table {
        for object in objects {
            desk.out.text(&one(object, [&found["from"], &found["to"]])?)?;
        }
    } else {
        desk.out.value(&found)?;
    }
    Ok(if objects.is_empty() { Exit::Done } else { Exit::No })
}

/// A unified diff of one object at two revisions.
fn one(object: &Value, revisions: [&Value; 2]) -> Result<String, Failure> {
    let key = format!("{}/{}", cell(object, "/kind"), cell(object, "/name"));
    let side = |field: &str, revision: &Value| {
        let document = object.get(field).filter(|document| !document.is_null()).cloned();
        let place = format!("{key} revision {revision}");
        document.map(|document| Ok((place, document::of_server(document)?))).transpose()
    };
    let (before, after) = (side("before", revisions[0])?, side("after", revisions[1])?);
    differ::unified(
        before.as_ref().map(|(place, object)| (place.as_str(), object)),
        after.as_ref().map(|(place, object)| (place.as_str(), object)),
    )
}

pub(crate) fn rollback(desk: &Desk, revision: u64, args: WriteArgs) -> Outcome {
    let session = desk.session()?;
    if !args.dry_run {
        let found = session.get(&format!("/v1/revisions/{revision}/diff"))?;
        let count = found["objects"].as_array().map_or(0, Vec::len);
        if count == 0 {
            desk.out.done(&format!("nothing has changed since revision {revision}"))?;
            return Ok(Exit::Done);
        }
        let objects = if count == 1 { "1 object".to_owned() } else { format!("{count} objects") };
        question::confirm(desk, &format!("Take {objects} back to revision {revision}?"))?;
    }
    let call = Call::new(Method::POST, format!("/v1/revisions/{revision}/rollback"));
    let written = write::send(&session, call, args)?;
    apply::print(desk, &written, args)
}
