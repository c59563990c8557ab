//! `proxy …`

use serde_json::Value;

use super::{Desk, watch};
use crate::Outcome;
use crate::cli::ListArgs;
use crate::client::segment;
use crate::error::Exit;
use crate::output::table::{NONE, cell};
use crate::output::{self, time};

pub(crate) fn list(desk: &Desk, args: ListArgs) -> Outcome {
    let heading = ["NAME", "VERSION", "CONNECTED", "REVISION", "LAG", "LAST-ACK", "STATE"];
    let shown = watch::rows(heading, |proxy| {
        let lag = match proxy.get("lag").and_then(Value::as_u64) {
            None | Some(0) => NONE.to_owned(),
            Some(lag) => lag.to_string(),
        };
        [
            cell(proxy, "/name"),
            cell(proxy, "/version"),
            connected(proxy),
            cell(proxy, "/effective_revision"),
            lag,
            time::ago(proxy.get("last_ack_age_ms").and_then(Value::as_u64)),
            state(proxy),
        ]
    });
    watch::list(desk, args.watch, |session| session.list_whole("/v1/proxies"), shown)
}

fn connected(proxy: &Value) -> String {
    if proxy.get("connected") != Some(&Value::Bool(true)) {
        return "no".into();
    }
    let at = proxy.get("connected_at").and_then(Value::as_str).and_then(time::since);
    at.map_or_else(|| "yes".into(), time::span)
}

/// `in sync`, or what is wrong: `REJECTED listener/x of revision 41: address in use (PGN-P301)`.
pub(crate) fn state(proxy: &Value) -> String {
    let state = cell(proxy, "/state");
    let rejected = proxy.get("rejected").and_then(Value::as_array);
    let reasons: Vec<String> = rejected
        .into_iter()
        .flatten()
        .map(|r| {
            format!(
                "{}/{} of revision {}: {} ({})",
                cell(r, "/kind"),
                cell(r, "/name"),
                cell(r, "/mod_revision"),
                cell(r, "/message"),
                cell(r, "/code")
            )
        })
        .collect();
    match (state.as_str(), &reasons[..]) {
        ("in_sync", _) => "in sync".into(),
        (_, []) => state.to_uppercase(),
        _ => format!("{} {}", state.to_uppercase(), reasons.join("; ")),
    }
}

pub(crate) fn get(desk: &Desk, name: &str) -> Outcome {
    let target = format!("/v1/proxies/{}", segment(name));
    let proxy = desk.session()?.get(&target).map_err(|failure| match failure.exit {
        Exit::NotFound if failure.problem.next.is_empty() => failure.next("pigeon-ctl proxy list"),
        _ => failure,
    })?;
    if !desk.out.value(&proxy)? {
        desk.out.text(&output::yaml(&proxy)?)?;
    }
    Ok(Exit::Done)
}
