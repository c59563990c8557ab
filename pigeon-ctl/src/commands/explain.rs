//! `explain`: what a code or a field means, from what this program holds itself.

mod fields;

use pigeon_proto::model::{code, distance};
use serde_json::{Value, json};

use self::fields::Field;
use super::Desk;
use crate::Outcome;
use crate::error::{Exit, Failure};
use crate::output::table;

/// How many names are offered for one that does not exist.
const OFFERED: usize = 3;

pub(crate) fn explain(desk: &Desk, what: &str) -> Outcome {
    let upper = what.to_uppercase();
    if upper.starts_with("PGN-") { explain_code(desk, &upper) } else { explain_field(desk, what) }
}

fn explain_code(desk: &Desk, code: &str) -> Outcome {
    let Some(explanation) = code::explain(code) else {
        let all = code::explanations().map(|e| (distance(code, e.code), e.code.to_owned()));
        return Err(unknown("code", code, all.collect()));
    };
    let code::Explanation { code, meaning, advice } = explanation;
    if !desk.out.value(&json!({"code": code, "meaning": meaning, "next": advice}))? {
        desk.out.text(&explanation.to_string())?;
    }
    Ok(Exit::Done)
}

fn explain_field(desk: &Desk, what: &str) -> Outcome {
    let all = fields::all()?;
    let wanted = fields::names(what);
    let Some(field) = all.iter().find(|field| fields::names(&field.path) == wanted) else {
        return Err(unknown("field", what, near(&all, &wanted)));
    };
    let inside = |other: &&Field| {
        let names = fields::names(&other.path);
        names.len() == wanted.len() + 1 && names.starts_with(&wanted)
    };
    let nested: Vec<&Field> = all.iter().filter(inside).collect();
    if !desk.out.value(&as_json(field, &nested)?)? {
        desk.out.text(&as_text(field, &nested))?;
    }
    Ok(Exit::Done)
}

/// How far each field is from what was asked for; its last name counts for more than where it is.
fn near(all: &[Field], wanted: &[&str]) -> Vec<(usize, String)> {
    let (whole, last) = (wanted.join("."), wanted.last().copied().unwrap_or_default());
    let far = |field: &Field| {
        let names = fields::names(&field.path);
        let by_last = distance(last, names.last().copied().unwrap_or_default()) + 1;
        (distance(&whole, &names.join(".")).min(by_last), names.join("."))
    };
    all.iter().map(far).collect()
}

fn unknown(sort: &str, name: &str, mut near: Vec<(usize, String)>) -> Failure {
    near.sort();
    let names: Vec<String> = near.into_iter().take(OFFERED).map(|(_, name)| name).collect();
    let detail = format!("there is no {sort} \"{name}\"; the nearest are {}", names.join(", "));
    let next = |failure: Failure, name: &String| failure.next(format!("pigeon-ctl explain {name}"));
    names.iter().fold(Failure::not_found(detail), next)
}

fn as_json(field: &Field, nested: &[&Field]) -> Result<Value, Failure> {
    let cannot = |e| Failure::bug(format!("cannot be written as JSON: {e}"));
    let mut value = serde_json::to_value(field).map_err(cannot)?;
    let fields: Result<Vec<Value>, _> = nested.iter().map(serde_json::to_value).collect();
    value["fields"] = fields.map_err(cannot)?.into();
    Ok(value)
}

fn as_text(field: &Field, nested: &[&Field]) -> String {
    let mut text = format!("{}\n  type     {}\n", field.path, field.sort);
    if let Some(form) = &field.form {
        text += &format!("  form     {form}\n");
    }
    match &field.default {
        None => {}
        Some(Value::Null) => text += "  default  none\n",
        Some(Value::String(default)) => text += &format!("  default  {default}\n"),
        Some(default) => text += &format!("  default  {default}\n"),
    }
    text += &format!("\n{}\n", field.description);
    if !nested.is_empty() {
        let row = |field: &&Field| {
            let name = fields::names(&field.path).last().copied().unwrap_or_default().to_owned();
            let about = field.description.split("\n\n").next().unwrap_or_default();
            [name, field.sort.clone(), about.to_owned()]
        };
        text += &format!(
            "\n{}",
            table::table(["FIELD", "TYPE", "DESCRIPTION"], nested.iter().map(row))
        );
    }
    text
}
