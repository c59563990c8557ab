//! `audit`: who changed what.

use std::time::Duration;

use serde_json::Value;

use super::{Desk, object};
use crate::Outcome;
use crate::cli::values::Expiry;
use crate::cli::{AuditArgs, Output};
use crate::client::segment;
use crate::error::{Exit, Failure};
use crate::output;
use crate::output::table::{cell, table};
use crate::session::Session;

/// How often a watch looks.
const PERIOD: Duration = Duration::from_secs(1);
const HEADING: [&str; 6] = ["AT", "ACTOR", "SOURCE", "ACTION", "OBJECT", "REVISION"];

pub(crate) fn audit(desk: &Desk, args: &AuditArgs) -> Outcome {
    let session = desk.session()?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut items = session.list(&collection(args), limit)?;
    if !args.watch {
        return object::print_list(desk, items, HEADING, row);
    }
    items.reverse();
    follow(desk, &session, args, items)
}

fn collection(args: &AuditArgs) -> String {
    let since = args.since.map(Expiry::time_ago);
    let given = [
        ("actor", args.actor.clone()),
        ("kind", args.kind.clone()),
        ("name", args.name.clone()),
        ("action", args.action.clone()),
        ("since", since.map(|time| time.to_string())),
    ];
    let pairs = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name}={}", segment(&value))).collect();
    let mark = if pairs.is_empty() { "" } else { "?" };
    format!("/v1/audit-events{mark}{}", pairs.join("&"))
}

/// Prints what there is, then what comes; Ctrl-C, or that nobody reads it any more, is its normal end.
fn follow(desk: &Desk, session: &Session, args: &AuditArgs, mut items: Vec<Value>) -> Outcome {
    let mut after = 0;
    let mut first = true;
    let collection = collection(args);
    let mark = if collection.contains('?') { '&' } else { '?' };
    loop {
        if (first || !items.is_empty()) && !desk.out.reaches(&lines(desk, &items, first)?)? {
            return Ok(Exit::Done);
        }
        first = false;
        after = items.last().and_then(|event| event.get("id")?.as_u64()).unwrap_or(after);
        if session.pause(PERIOD).is_err() {
            return Ok(Exit::Done);
        }
        items = match session.list_whole(&format!("{collection}{mark}after={}", after.max(1))) {
            Err(failure) if failure.exit == Exit::Interrupted => return Ok(Exit::Done),
            more => more?,
        };
    }
}

fn lines(desk: &Desk, items: &[Value], first: bool) -> Result<String, Failure> {
    Ok(match desk.out.format() {
        Output::Json | Output::Jsonl => items.iter().map(|event| format!("{event}\n")).collect(),
        Output::Yaml => {
            let documents = items.iter().map(|event| Ok(format!("---\n{}", output::yaml(event)?)));
            documents.collect::<Result<String, Failure>>()?
        }
        Output::Table => {
            let text = table(HEADING, items.iter().map(row));
            let skipped = if first { 0 } else { text.find('\n').map_or(0, |end| end + 1) };
            text[skipped..].to_owned()
        }
    })
}

fn row(event: &Value) -> [String; 6] {
    let object = format!("{}/{}", cell(event, "/kind"), cell(event, "/name"));
    let of = |field| cell(event, field);
    [of("/at"), of("/actor"), of("/source"), of("/action"), object, of("/revision")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stands_in_the_query() {
        let args = AuditArgs {
            actor: Some("c&i".into()),
            kind: None,
            name: Some("a b".into()),
            action: None,
            since: Some(Expiry::At("2027-01-01T00:00:00Z".parse().expect("a time"))),
            limit: 1,
            watch: false,
        };
        let query = "/v1/audit-events?actor=c%26i&name=a%20b&since=2027-01-01T00%3A00%3A00Z";
        assert_eq!(collection(&args), query);
        let none = AuditArgs { actor: None, name: None, since: None, ..args };
        assert_eq!(collection(&none), "/v1/audit-events");
    }
}
