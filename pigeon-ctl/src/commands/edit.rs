//! `edit`: an object in an editor, and back to the server if it is still as it was read.

mod draft;

use http::Method;
use pigeon_proto::model::{Errors, FieldError, Key, Object, code, document as documents};
use serde_json::Value;

use self::draft::Draft;
use super::write::{self, Op, Written};
use super::{Desk, object, question};
use crate::Outcome;
use crate::cli::{EditArgs, Output, WriteArgs};
use crate::client::Call;
use crate::document;
use crate::error::{Exit, Failure};
use crate::session::Session;

/// An object as it was read.
struct Read {
    key: Key,
    body: Value,
    object: Object,
    /// Its entity tag is `"r<revision>"`.
    revision: u64,
}

pub(crate) fn edit(desk: &Desk, args: &EditArgs) -> Outcome {
    let session = desk.session()?;
    let read = read(&session, &args.key)?;
    let Read { key, revision, .. } = &read;
    let heading = format!(
        "{key} of revision {revision}. Save and close to send it; saved as it is, it changes nothing."
    );
    let mut draft = Draft::new(&args.key, &heading, &document::yaml(&read.object)?)?;
    loop {
        let text = draft.edit()?;
        // The editor had the terminal.
        session.forget_interrupt();
        match send(&session, &read, &text, args.write) {
            Ok(None) => {
                if !desk.out.value(&read.body)? {
                    desk.out.done(&format!("{key} {}   nothing was sent", Op::Unchanged))?;
                }
                return Ok(Exit::Done);
            }
            Ok(Some(written)) => return print(desk, &read, &written, args.write, draft),
            // Who saves it again as it was refused gives up.
            Err(failure)
                if failure.exit == Exit::Invalid
                    && question::may_ask(desk)
                    && text != draft.shown() =>
            {
                draft.refuse(&complaint(key, &failure))?;
            }
            Err(failure) => return Err(kept(failure, &draft.keep()?, key)),
        }
    }
}

fn read(session: &Session, key: &Key) -> Result<Read, Failure> {
    let target = object::member(key.kind, key.name.as_str());
    let body = session.get(&target).map_err(|f| object::absent(f, key.kind))?;
    let revision = body.get("revision").and_then(Value::as_u64).ok_or_else(|| {
        Failure::unreachable(format!("{key} has no revision; is the server a Pigeon admin?"))
    })?;
    let object = document::of_server(body.clone())?;
    Ok(Read { key: key.clone(), body, object, revision })
}

/// Sends what was written, if it says anything new.
fn send(
    session: &Session,
    read: &Read,
    text: &str,
    args: WriteArgs,
) -> Result<Option<Written>, Failure> {
    let object = one_object(text, &read.key).map_err(Failure::invalid)?;
    if object == read.object {
        return Ok(None);
    }
    let target = object::member(read.key.kind, read.key.name.as_str());
    let mut call = Call::new(Method::PUT, target).json(&object.to_json());
    call.if_match = Some(read.revision);
    write::send(session, call, args).map(Some)
}

/// The object of a text, which must be the one that was read.
fn one_object(text: &str, key: &Key) -> Result<Object, Errors> {
    let mut objects = documents::parse(text)?;
    let count = objects.len();
    let Some(object) = objects.pop().filter(|_| count == 1) else {
        let message = format!("has {count} objects; it must have one, {key}");
        return Err(FieldError::new("", code::MALFORMED, message).into());
    };
    let must_stay = |pointer: &str, now: &str, before: &str| {
        let message = format!(
            "is \"{now}\"; it must stay \"{before}\": to rename, add another object and remove this one"
        );
        Err(FieldError::new(pointer, code::BAD_VALUE, message).of(key).into())
    };
    if object.key.kind != key.kind {
        return must_stay("/kind", object.key.kind.as_str(), key.kind.as_str());
    }
    if object.key.name != key.name {
        return must_stay("/name", object.key.name.as_str(), key.name.as_str());
    }
    Ok(object)
}

fn print(
    desk: &Desk,
    read: &Read,
    written: &Written,
    args: WriteArgs,
    mut draft: Draft,
) -> Outcome {
    let op = if object::same(&read.body, &written.body) { Op::Unchanged } else { Op::Changed };
    let exit = written.print(&desk.out, &read.key.to_string(), op, args)?;
    // After a dry run the work is still to be sent.
    if args.dry_run && desk.out.format() == Output::Table {
        desk.out.done(&format!("next: pigeon-ctl apply -f {}", draft.keep()?))?;
    }
    Ok(exit)
}

/// Why the editor is opened again.
fn complaint(key: &Key, failure: &Failure) -> String {
    let mut lines = vec![format!(
        "{key} was not taken. Correct it, save and close; saved as it is, it is given up."
    )];
    lines.extend(failure.problem.errors.iter().map(ToString::to_string));
    if lines.len() == 1 {
        lines.push(failure.problem.detail.clone());
    }
    lines.join("\n")
}

/// Says where the work is, and how to go on with it.
fn kept(mut failure: Failure, path: &str, key: &Key) -> Failure {
    failure.problem.detail += &format!("; what you wrote is kept in {path}");
    match failure.exit {
        Exit::Conflict => failure
            .next(format!("pigeon-ctl diff -f {path}    (what you wrote is kept there)"))
            .next(format!("pigeon-ctl edit {key}    (begins with what is there now)")),
        Exit::Invalid => {
            failure.next(format!("pigeon-ctl apply -f {path}    (kept there; correct it first)"))
        }
        _ => failure.next(format!("pigeon-ctl apply -f {path}    (what you wrote is kept there)")),
    }
}
