//! What can be done to an object of any kind: add, list, get, set, remove.

use http::Method;
use pigeon_proto::model::{Key, Kind};
use serde_json::{Map, Value, json};

use super::write::{self, Op};
use super::{Desk, question, watch};
use crate::cli::values::Label;
use crate::cli::{ChangeArgs, ListArgs, RemoveArgs, WriteArgs};
use crate::client::{Call, segment};
use crate::document;
use crate::error::{Exit, Failure};
use crate::output::{self, table};
use crate::{Outcome, session::Session};

/// `/v1/routes`
pub(crate) fn collection(kind: Kind) -> String {
    format!("/v1/{}", kind.plural())
}

/// `/v1/routes/NAME`
pub(crate) fn member(kind: Kind, name: &str) -> String {
    format!("/v1/{}/{}", kind.plural(), segment(name))
}

/// Fields of an object as a merge patch: what is absent stays, what is null goes.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    labels: Map<String, Value>,
    spec: Map<String, Value>,
}

impl Fields {
    /// Starts with the labels of a command line.
    pub(crate) fn new(labels: &[Label]) -> Self {
        let label = |l: &Label| (l.name.clone(), json!(l.value));
        Self { labels: labels.iter().map(label).collect(), spec: Map::new() }
    }

    /// Sets a field of the spec, or of an object inside of it (`pool/slots`), if there is a value.
    pub(crate) fn put(&mut self, field: &str, value: Option<impl Into<Value>>) {
        let Some(value) = value else { return };
        match field.split_once('/') {
            None => {
                self.spec.insert(field.to_owned(), value.into());
            }
            Some((outer, inner)) => {
                let outer = self.spec.entry(outer).or_insert_with(|| json!({}));
                if let Value::Object(outer) = outer {
                    outer.insert(inner.to_owned(), value.into());
                }
            }
        }
    }

    /// Like [`Self::put`] for text; an empty one removes the field.
    pub(crate) fn text(&mut self, field: &str, value: Option<&String>) {
        let or_null = |v: &String| if v.is_empty() { Value::Null } else { json!(v) };
        self.put(field, value.map(or_null));
    }

    /// Whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.spec.is_empty()
    }

    /// The value of a field of the spec.
    pub(crate) fn get(&self, pointer: &str) -> Option<&Value> {
        let mut steps = pointer.split('/');
        let first = self.spec.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.get(step))
    }

    fn into_patch(self) -> Value {
        let mut patch = Map::new();
        if !self.labels.is_empty() {
            patch.insert("labels".into(), self.labels.into());
        }
        if !self.spec.is_empty() {
            patch.insert("spec".into(), self.spec.into());
        }
        patch.into()
    }

    fn into_new(self, name: &str) -> Value {
        let labels = without_nulls(self.labels);
        let spec = without_nulls(self.spec);
        json!({ "name": name, "labels": labels, "spec": spec })
    }
}

/// A merge patch applied to nothing.
fn without_nulls(map: Map<String, Value>) -> Value {
    let kept = map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| match v {
        Value::Object(inner) => (k, without_nulls(inner)),
        other => (k, other),
    });
    Value::Object(kept.collect())
}

/// Adds an object.
pub(crate) fn add(
    desk: &Desk,
    kind: Kind,
    name: &str,
    fields: Fields,
    args: WriteArgs,
    hint: impl FnOnce() -> String,
) -> Outcome {
    let session = desk.session()?;
    let call = Call::new(Method::POST, collection(kind)).json(&fields.into_new(name));
    let written = write::send(&session, call, args).map_err(|failure| match failure.exit {
        Exit::Conflict if failure.problem.next.is_empty() => {
            failure.next(format!("pigeon-ctl {kind} set {name} …"))
        }
        _ => failure,
    })?;
    let exit = written.print(&desk.out, &format!("{kind}/{name}"), Op::Added, args)?;
    if desk.out.is_terminal() && exit == Exit::Done && !args.dry_run {
        desk.out.text(&format!("next: {}\n", hint()))?;
    }
    Ok(exit)
}

/// Changes what is given of an object.
pub(crate) fn set(
    desk: &Desk,
    kind: Kind,
    name: &str,
    args: ChangeArgs,
    fields: impl FnOnce(&Value) -> Fields,
) -> Outcome {
    let session = desk.session()?;
    let before = session.get(&member(kind, name)).map_err(|f| absent(f, kind))?;
    let fields = fields(&before);
    if fields.is_empty() {
        let detail = format!("there is nothing to change; give at least one field of the {kind}");
        return Err(Failure::usage(detail).next(format!("pigeon-ctl {kind} set --help")));
    }
    let mut call = Call::new(Method::PATCH, member(kind, name))
        .body("application/merge-patch+json", &fields.into_patch());
    call.if_match = args.if_match;
    let written = write::send(&session, call, args.write)?;
    let op = if same(&before, &written.body) { Op::Unchanged } else { Op::Changed };
    written.print(&desk.out, &format!("{kind}/{name}"), op, args.write)
}

/// How often [`rewrite`] begins anew when another write comes in between.
const ATTEMPTS: usize = 5;

/// Changes fields that are computed from what is there, such as one entry of a list: written only if the
/// object still is as it was read, and read again if it is not.
pub(crate) fn rewrite(
    desk: &Desk,
    kind: Kind,
    name: &str,
    args: ChangeArgs,
    fields: impl Fn(&Value) -> Result<Fields, Failure>,
) -> Outcome {
    let session = desk.session()?;
    let mut left = if args.if_match.is_some() { 1 } else { ATTEMPTS };
    loop {
        left -= 1;
        let before = session.get(&member(kind, name)).map_err(|f| absent(f, kind))?;
        let patch = fields(&before)?.into_patch();
        let mut call = Call::new(Method::PATCH, member(kind, name))
            .body("application/merge-patch+json", &patch);
        call.if_match = args.if_match.or_else(|| before.get("revision").and_then(Value::as_u64));
        match write::send(&session, call, args.write) {
            Err(failure) if failure.exit == Exit::Conflict && left > 0 => {}
            written => {
                let written = written?;
                let op = if same(&before, &written.body) { Op::Unchanged } else { Op::Changed };
                return written.print(&desk.out, &format!("{kind}/{name}"), op, args.write);
            }
        }
    }
}

/// Whether two representations of an object say the same.
pub(crate) fn same(before: &Value, after: &Value) -> bool {
    ["spec", "labels"].iter().all(|field| before.get(field) == after.get(field))
}

/// Removes an object, once someone said yes.
pub(crate) fn remove(desk: &Desk, kind: Kind, args: &RemoveArgs) -> Outcome {
    let settings = desk.settings()?;
    let name = &args.name;
    if !args.change.write.dry_run {
        let server = &settings.server;
        question::confirm(desk, &format!("Remove {kind}/{name} from {server}?"))?;
    }
    let session = Session::new(&settings, desk.global.request_timeout)?;
    let mut call = Call::new(Method::DELETE, member(kind, name));
    call.if_match = args.change.if_match;
    let written = write::send(&session, call, args.change.write).map_err(|f| absent(f, kind))?;
    written.print(&desk.out, &format!("{kind}/{name}"), Op::Removed, args.change.write)
}

/// Adds to "not found" how to see what is there.
pub(crate) fn absent(failure: Failure, kind: Kind) -> Failure {
    match failure.exit {
        Exit::NotFound if failure.problem.next.is_empty() => {
            failure.next(format!("pigeon-ctl {kind} list"))
        }
        _ => failure,
    }
}

/// Prints all objects of a kind: a row each, or `{"items": […]}`.
pub(crate) fn list<const N: usize>(
    desk: &Desk,
    kind: Kind,
    args: ListArgs,
    heading: [&'static str; N],
    row: impl Fn(&Value) -> [String; N],
) -> Outcome {
    let read = |session: &Session| session.list(&collection(kind), usize::MAX);
    watch::list(desk, args.watch, read, watch::rows(heading, row))
}

/// Prints items: a row each, or `{"items": […]}`.
pub(crate) fn print_list<const N: usize>(
    desk: &Desk,
    items: Vec<Value>,
    heading: [&'static str; N],
    row: impl Fn(&Value) -> [String; N],
) -> Outcome {
    let list = json!({ "items": items });
    if !desk.out.value(&list)? {
        desk.out.text(&watch::rows(heading, row)(&list))?;
    }
    Ok(Exit::Done)
}

/// Prints one object: for people its document, then what the server knows of it.
pub(crate) fn get(desk: &Desk, kind: Kind, name: &str) -> Outcome {
    let object = desk.session()?.get(&member(kind, name)).map_err(|f| absent(f, kind))?;
    if desk.out.value(&object)? {
        return Ok(Exit::Done);
    }
    let mut text = match document::of_server(object.clone()) {
        Ok(known) => document::yaml(&known)?,
        // A newer server: show it as it is.
        Err(_) => return desk.out.text(&output::yaml(&object)?).map(|()| Exit::Done),
    };
    let status = object.get("status").filter(|s| s.as_object().is_some_and(|s| !s.is_empty()));
    if let Some(status) = status {
        text.push_str(&output::yaml(&json!({ "status": status }))?);
    }
    let field = |name: &str| table::cell(&object, name);
    text.push_str(&format!(
        "# revision {}, {} by {}; created {}\n",
        field("/revision"),
        field("/updated_at"),
        field("/updated_by"),
        field("/created_at")
    ));
    if let Some(owner) = object.get("owner").and_then(Value::as_str) {
        text.push_str(&format!("# belongs to the owner {owner}\n"));
    }
    desk.out.text(&text).map(|()| Exit::Done)
}

/// Which object a representation is of, as far as it says.
pub(crate) fn key(value: &Value) -> Option<Key> {
    let kind = value.get("kind")?.as_str()?.parse().ok()?;
    let name = value.get("name")?.as_str()?.parse().ok()?;
    Some(Key { kind, name })
}
