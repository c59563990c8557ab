//! `tenant …`

use http::Method;
use pigeon_proto::model::Kind;
use serde_json::{Value, json};

use super::object::{self, Fields};
use super::write::{self, Written};
use super::{Desk, question};
use crate::Outcome;
use crate::cli::tenant::{AddTenant, CreateKey, RevokeKey, SetTenant, TenantFields};
use crate::cli::values::{Expiry, Subject};
use crate::cli::{ListArgs, WriteArgs};
use crate::client::{Call, segment};
use crate::output::{self, table::cell};

pub(crate) fn add(desk: &Desk, args: AddTenant) -> Outcome {
    let hint = || format!("pigeon-ctl tenant key create {}", args.name);
    object::add(desk, Kind::Tenant, &args.name, of(&args.fields), args.write, hint)
}

pub(crate) fn set(desk: &Desk, args: SetTenant) -> Outcome {
    let fields = of(&args.fields);
    object::set(desk, Kind::Tenant, &args.name, args.change, |_| fields)
}

pub(crate) fn list(desk: &Desk, args: ListArgs) -> Outcome {
    let heading = ["NAME", "KEYS", "CERTIFICATES", "SUBJECTS"];
    object::list(desk, Kind::Tenant, args, heading, |tenant| {
        let count = |field: &str| {
            let list = tenant.pointer(&format!("/spec/{field}")).and_then(Value::as_array);
            list.map_or(0, Vec::len).to_string()
        };
        [cell(tenant, "/name"), count("keys"), count("certificates"), count("subjects")]
    })
}

fn of(args: &TenantFields) -> Fields {
    let mut fields = Fields::new(&args.labels);
    if !args.certificates.is_empty() {
        let all: Vec<_> = args.certificates.iter().filter(|c| !c.is_empty()).collect();
        fields.put("certificates", Some(json!(all)));
    }
    if !args.subjects.is_empty() {
        let all = args.subjects.iter().filter_map(|Subject(subject)| subject.as_ref());
        let all = all.map(|(issuer, subject)| json!({ "issuer": issuer, "subject": subject }));
        fields.put("subjects", Some(all.collect::<Vec<_>>()));
    }
    fields
}

fn keys_of(tenant: &str) -> String {
    format!("/v1/tenants/{}/keys", segment(tenant))
}

/// Prints the key, and nothing else, to standard output: for people and for `$(…)` alike.
pub(crate) fn create_key(desk: &Desk, args: &CreateKey) -> Outcome {
    let expires = args.expires.map(Expiry::time);
    let mut body = json!({});
    if let Some(id) = &args.id {
        body["id"] = json!(id);
    }
    if let Some(expires) = expires {
        body["expires"] = json!(expires.to_string());
    }
    let session = desk.session()?;
    let call = Call::new(Method::POST, keys_of(&args.name)).json(&body);
    let written = write::send(&session, call, args.write);
    let written = written.map_err(|f| object::absent(f, Kind::Tenant))?;
    if desk.out.value(&written.body)? {
        return Ok(written.exit(args.write));
    }
    let id = cell(&written.body, "/id");
    if let Some(key) = written.body.get("key").and_then(Value::as_str) {
        desk.out.text(&format!("{key}\n"))?;
    }
    say(desk, &written, args.write, &format!("key {id} of tenant/{} made", args.name));
    if !args.write.dry_run && !desk.global.quiet {
        output::note("keep it: it is shown this once, and only its hash is stored");
    }
    Ok(written.exit(args.write))
}

pub(crate) fn list_keys(desk: &Desk, tenant: &str) -> Outcome {
    let items = desk.session()?.list_whole(&keys_of(tenant));
    let items = items.map_err(|f| object::absent(f, Kind::Tenant))?;
    object::print_list(desk, items, ["ID", "EXPIRES"], |key| {
        let expires = key.get("expires").and_then(Value::as_str).unwrap_or("never");
        [cell(key, "/id"), expires.to_owned()]
    })
}

pub(crate) fn revoke_key(desk: &Desk, args: &RevokeKey) -> Outcome {
    if !args.write.dry_run {
        let (id, name) = (&args.id, &args.name);
        question::confirm(desk, &format!("Revoke key {id} of tenant/{name}?"))?;
    }
    let session = desk.session()?;
    let target = format!("{}/{}", keys_of(&args.name), segment(&args.id));
    let written = write::send(&session, Call::new(Method::DELETE, target), args.write);
    let written = written.map_err(|f| object::absent(f, Kind::Tenant))?;
    if desk.out.value(&written.body)? {
        return Ok(written.exit(args.write));
    }
    let was_there = written.body.get("revoked").and_then(Value::as_bool) == Some(true);
    let what = if was_there { "revoked" } else { "was not there" };
    let state = written.state(args.write);
    desk.out.done(&format!("key {} of tenant/{} {what}   {state}", args.id, args.name))?;
    written.explain();
    Ok(written.exit(args.write))
}

/// What was done, beside what was asked for: to standard error.
fn say(desk: &Desk, written: &Written, args: WriteArgs, what: &str) {
    if !desk.global.quiet {
        output::note(&format!("{what}   {}", written.state(args)));
    }
    written.explain();
}
