//! Lists, printed once or, with `-w`, again whenever they changed.

use std::time::Duration;

use serde_json::{Value, json};

use super::Desk;
use crate::Outcome;
use crate::cli::Output;
use crate::error::{Exit, Failure};
use crate::output::table::table;
use crate::session::Session;

/// How often a watch looks: proxies report once a second.
const PERIOD: Duration = Duration::from_secs(1);
/// Moves to the top of the screen and clears it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints the items that `read` gives; `shown` says how people see the list of them.
pub(crate) fn list(
    desk: &Desk,
    watch: bool,
    read: impl Fn(&Session) -> Result<Vec<Value>, Failure>,
    shown: impl Fn(&Value) -> String,
) -> Outcome {
    let session = desk.session()?;
    let read = || Ok(json!({ "items": read(&session)? }));
    if watch {
        return again(desk, &session, read, shown);
    }
    let list = read()?;
    if !desk.out.value(&list)? {
        desk.out.text(&shown(&list))?;
    }
    Ok(Exit::Done)
}

/// How people see a list: a row each.
pub(crate) fn rows<const N: usize>(
    heading: [&'static str; N],
    row: impl Fn(&Value) -> [String; N],
) -> impl Fn(&Value) -> String {
    move |list| {
        let items = list.get("items").and_then(Value::as_array);
        table(heading, items.into_iter().flatten().map(&row))
    }
}

/// Prints the list again whenever it changed; Ctrl-C, or that nobody reads it any more, is its normal end.
fn again(
    desk: &Desk,
    session: &Session,
    read: impl Fn() -> Result<Value, Failure>,
    shown: impl Fn(&Value) -> String,
) -> Outcome {
    // The list, and the text of it, that was printed last.
    let mut last: Option<(Value, String)> = None;
    loop {
        let list = match read() {
            Err(failure) if failure.exit == Exit::Interrupted => return Ok(Exit::Done),
            list => list?,
        };
        let text = text(desk, &list, &shown)?;
        let list = ageless(list);
        // On a terminal "4s ago" is brought up to date in its place; elsewhere that is no change.
        let changed = last.as_ref().is_none_or(|(list_then, text_then)| {
            text != *text_then && (desk.out.is_terminal() || list != *list_then)
        });
        if changed {
            let between = between(desk, last.is_none());
            if !desk.out.reaches(&format!("{between}{text}"))? {
                return Ok(Exit::Done);
            }
            last = Some((list, text));
        }
        if session.pause(PERIOD).is_err() {
            return Ok(Exit::Done);
        }
    }
}

fn text(desk: &Desk, list: &Value, shown: impl Fn(&Value) -> String) -> Result<String, Failure> {
    Ok(match desk.out.format() {
        Output::Json => format!("{list:#}\n"),
        Output::Jsonl => crate::output::json_lines(list),
        Output::Yaml => crate::output::yaml(list)?,
        Output::Table => shown(list),
    })
}

/// On a terminal a list comes in place of the one before; else after it, told apart as the format has it.
fn between(desk: &Desk, first: bool) -> &'static str {
    match desk.out.format() {
        Output::Table if desk.out.is_terminal() => CLEAR,
        Output::Table if !first => "\n",
        Output::Yaml if !first => "---\n",
        _ => "",
    }
}

/// Without what changes with every look.
fn ageless(mut list: Value) -> Value {
    for item in list.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(item) = item.as_object_mut() {
            item.remove("last_ack_age_ms");
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_time_passes_is_no_change() {
        let list = |age: u64, lag: u64| json!({"items": [{"last_ack_age_ms": age, "lag": lag}]});
        assert_eq!(ageless(list(1, 0)), ageless(list(9, 0)));
        assert_ne!(ageless(list(1, 0)), ageless(list(1, 1)));
        assert_eq!(ageless(json!({"items": []})), json!({"items": []}));
    }
}
