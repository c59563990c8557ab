//! `revision …`

use serde_json::Value;

use super::{Desk, object};
use crate::Outcome;
use crate::output::table::cell;

pub(crate) fn list(desk: &Desk, limit: u32) -> Outcome {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let items = desk.session()?.list("/v1/revisions", limit)?;
    let heading = ["REVISION", "AT", "ACTOR", "SOURCE", "CHANGES"];
    object::print_list(desk, items, heading, |revision| {
        [
            cell(revision, "/revision"),
            cell(revision, "/at"),
            cell(revision, "/actor"),
            cell(revision, "/source"),
            changes(revision),
        ]
    })
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
