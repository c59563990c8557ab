//! `/log`: the level of the process's own log, per module, while it runs.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Status;
use crate::logs::InForce;

/// What a change may say besides the filter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// How long it is in force.
    #[serde(rename = "for")]
    time: Option<String>,
}

pub(super) async fn get(State(status): State<Arc<Status>>) -> Response {
    match &status.levels {
        Some(levels) => Json(shown(&levels.get())).into_response(),
        None => unknown(),
    }
}

pub(super) async fn put(
    State(status): State<Arc<Status>>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
    filter: Result<String, axum::extract::rejection::StringRejection>,
) -> Response {
    let Some(levels) = &status.levels else { return unknown() };
    let time = match asked {
        Ok(Query(Asked { time: Some(time) })) => match humantime::parse_duration(&time) {
            Ok(time) => Some(time),
            Err(e) => {
                return bad(&format!("for={}: {e}; write it like for=5m", time.escape_debug()));
            }
        },
        Ok(Query(Asked { time: None })) => None::<Duration>,
        Err(_) => return bad("the only parameter is for, such as ?for=5m"),
    };
    let filter = match filter {
        Ok(filter) => filter,
        Err(e) => return bad(&format!("the body is the filter, as text: {e}")),
    };
    match levels.set(filter.trim(), time) {
        Ok(now) => Json(shown(&now)).into_response(),
        Err(e) => bad(&e.to_string()),
    }
}

fn shown(now: &InForce) -> Value {
    let then = now.then.as_ref().map(|(at, filter)| {
        json!({ "at": at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(), "filter": filter })
    });
    json!({ "filter": now.filter, "then": then })
}

fn bad(why: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": why }))).into_response()
}

fn unknown() -> Response {
    let why = "this process does not let its log level be changed";
    (StatusCode::NOT_FOUND, Json(json!({ "error": why }))).into_response()
}
