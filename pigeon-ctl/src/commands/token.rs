//! `token …`

use http::Method;
use serde_json::{Value, json};

use super::{Desk, question, watch};
use crate::Outcome;
use crate::cli::ListArgs;
use crate::cli::token::{CreateToken, RevokeToken};
use crate::client::{Call, segment};
use crate::error::{Exit, Failure};
use crate::output::table::{NONE, cell};
use crate::output::{self, time};

const ALL: &str = "/v1/tokens";

/// Prints the token, and nothing else, to standard output: for people and for `$(…)` alike.
pub(crate) fn create(desk: &Desk, args: &CreateToken) -> Outcome {
    let mut body = json!({ "name": args.name, "role": args.role });
    for label in &args.scope {
        let Some(value) = &label.value else {
            let detail = format!("--label-scope {}= has no value; write it NAME=VALUE", label.name);
            return Err(Failure::usage(detail));
        };
        body["scope"][&label.name] = json!(value);
    }
    if let Some(expires) = args.expires {
        body["expires"] = json!(expires.time().to_string());
    }
    let call = Call::new(Method::POST, target(ALL, args.dry_run)).json(&body);
    let made = desk.session()?.send(call)?.body;
    if desk.out.value(&made)? {
        return Ok(Exit::Done);
    }
    if let Some(token) = made.get("token").and_then(Value::as_str) {
        desk.out.text(&format!("{token}\n"))?;
    }
    if !desk.global.quiet {
        let what = if args.dry_run { "would be made" } else { "made" };
        output::note(&format!("token {} {what}, role {}", args.name, args.role));
        if !args.dry_run {
            output::note("keep it: it is shown this once, and only its hash is stored");
        }
    }
    Ok(Exit::Done)
}

pub(crate) fn list(desk: &Desk, args: ListArgs) -> Outcome {
    let heading = ["NAME", "ROLE", "SCOPE", "EXPIRES", "LAST USED", "CREATED BY"];
    let shown = watch::rows(heading, |token| {
        let scope = token.get("scope").and_then(Value::as_object);
        let pairs = scope.into_iter().flatten();
        let pairs = pairs.map(|(name, value)| format!("{name}={}", cell(value, "")));
        let scope = pairs.collect::<Vec<_>>().join(" ");
        let used = token.get("last_used_at").and_then(Value::as_str);
        let used = used.map(|at| format!("{} ago", time::ago(time::since(at))));
        [
            cell(token, "/name"),
            cell(token, "/role"),
            if scope.is_empty() { NONE.to_owned() } else { scope },
            token.get("expires").and_then(Value::as_str).unwrap_or("never").to_owned(),
            used.unwrap_or_else(|| "never".to_owned()),
            cell(token, "/created_by"),
        ]
    });
    watch::list(desk, args.watch, |session| session.list_whole(ALL), shown)
}

pub(crate) fn revoke(desk: &Desk, args: &RevokeToken) -> Outcome {
    let name = &args.name;
    if !args.dry_run {
        question::confirm(desk, &format!("Revoke the token {name}?"))?;
    }
    let target = target(&format!("{ALL}/{}", segment(name)), args.dry_run);
    desk.session()?.send(Call::new(Method::DELETE, target))?;
    let what = if args.dry_run { "would be revoked" } else { "revoked" };
    desk.out.done(&format!("token {name} {what}"))?;
    Ok(Exit::Done)
}

fn target(path: &str, dry_run: bool) -> String {
    format!("{path}{}", if dry_run { "?dry_run=true" } else { "" })
}
