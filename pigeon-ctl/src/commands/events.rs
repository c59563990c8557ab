//! `events`: what happens, as it happens.

use std::time::Duration;

use jiff::{Timestamp, Unit};
use serde_json::{Value, json};

use super::Desk;
use crate::Outcome;
use crate::cli::{EventsArgs, Output};
use crate::client::{Call, Event, segment};
use crate::error::{Exit, Failure, clean};
use crate::output::table::cell;
use crate::output::{note, yaml};
use crate::session::Session;

/// Waits before connecting again, the last one for ever.
const RETRY: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// Prints events until Ctrl-C, or until nobody reads them any more: its normal ends.
pub(crate) fn events(desk: &Desk, args: &EventsArgs) -> Outcome {
    if args.since.is_some() && !args.topics.iter().any(|topic| topic == "config") {
        let detail = "--since has no meaning without the topic config; only that has a history";
        return Err(Failure::usage(detail).next("pigeon-ctl events --topics config --since …"));
    }
    let session = desk.session()?;
    match follow(desk, &session, args) {
        Err(failure) if failure.exit == Exit::Interrupted => Ok(Exit::Done),
        ended => ended.map(|()| Exit::Done),
    }
}

/// Ends when nobody reads what is printed. A server that was there once is waited for.
fn follow(desk: &Desk, session: &Session, args: &EventsArgs) -> Result<(), Failure> {
    let mut last = None;
    let (mut failures, mut begun, mut told) = (0, false, false);
    loop {
        match session.follow(call(args, last.clone())) {
            Ok(mut events) => {
                if !begun && !desk.out.reaches(&heading(desk))? {
                    return Ok(());
                }
                begun = true;
                while let Ok(event) = session.next(&mut events)? {
                    (failures, told) = (0, false);
                    if !print(desk, &event)? {
                        return Ok(());
                    }
                    last = event.id.or(last);
                }
            }
            Err(failure) if begun && is_away(&failure) => {
                if !std::mem::replace(&mut told, true) {
                    note(&format!(
                        "{}; trying again until it is back",
                        clean(&failure.to_string())
                    ));
                }
            }
            Err(failure) => return Err(failure),
        }
        session.pause(RETRY[failures.min(RETRY.len() - 1)])?;
        failures += 1;
    }
}

fn call(args: &EventsArgs, last: Option<String>) -> Call {
    let since = args.since.as_ref().map(|since| format!("&since={}", segment(since)));
    let topics = args.topics.join(",");
    let mut call = Call::get(format!("/v1/stream?topics={topics}{}", since.unwrap_or_default()));
    call.last_event_id = last;
    call
}

/// Whether the server may be back later, with the same answer for the same token.
fn is_away(failure: &Failure) -> bool {
    matches!(failure.exit, Exit::Unreachable | Exit::TimedOut)
}

/// Prints an event; says whether there still is someone to read it.
fn print(desk: &Desk, event: &Event) -> Result<bool, Failure> {
    if event.name == "resync" {
        let revision = cell(&event.data, "/revision");
        note(&format!(
            "what changed before revision {revision} is not all there: see pigeon-ctl revision list"
        ));
    }
    let whole = || json!({ "event": event.name, "id": event.id, "data": event.data });
    let text = match desk.out.format() {
        Output::Json | Output::Jsonl => format!("{}\n", whole()),
        Output::Yaml => format!("---\n{}", yaml(&whole())?),
        Output::Table => match columns(event) {
            Some([what, object, revision]) => line(&now(), &what, &object, &revision),
            None => return Ok(true),
        },
    };
    desk.out.reaches(&text)
}

fn heading(desk: &Desk) -> String {
    match desk.out.format() {
        Output::Table => line("RECEIVED", "WHAT", "OBJECT", "REVISION"),
        _ => String::new(),
    }
}

/// As wide as most are: what comes later is not known yet.
fn line(time: &str, what: &str, object: &str, revision: &str) -> String {
    // What a server says may neither break the line nor steer the terminal.
    let [what, object, revision] = [what, object, revision]
        .map(|text| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>());
    format!("{time:<20}  {what:<12}  {object:<32}  {revision}\n")
}

fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now).to_string()
}

/// What, object, revision; nothing for what only programs need.
fn columns(event: &Event) -> Option<[String; 3]> {
    let of = |field: &str| cell(&event.data, field);
    match event.name.as_str() {
        "config" => {
            let object = format!("{}/{}", of("/kind"), of("/name"));
            Some([of("/op"), object, of("/revision")])
        }
        "proxy" => {
            let state = event.data.get("state").and_then(Value::as_str).unwrap_or_default();
            let object = format!("proxy/{}", of("/name"));
            Some([state.replace('_', " "), object, of("/effective_revision")])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heading_stands_over_its_columns() {
        let args = EventsArgs { topics: vec!["config".into(), "proxies".into()], since: None };
        assert_eq!(call(&args, None).target, "/v1/stream?topics=config,proxies");
        let args = EventsArgs { topics: vec!["config".into()], since: Some("1-42".into()) };
        assert_eq!(call(&args, None).target, "/v1/stream?topics=config&since=1-42");
        let heading = line("RECEIVED", "WHAT", "OBJECT", "REVISION");
        let row = line("2027-01-01T00:00:00Z", "disconnected", "proxy/edge-1", "42");
        for (name, value) in [("WHAT", "disc"), ("OBJECT", "proxy/"), ("REVISION", "42")] {
            assert_eq!(heading.find(name), row.find(value), "{heading}{row}");
        }
    }
}
