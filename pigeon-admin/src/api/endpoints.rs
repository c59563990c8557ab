//! `/v1/engines/{name}/endpoints`: the endpoints of an engine, how proxies see them, and taking them out of
//! use. An endpoint is a part of its engine: the entity tag and the revision are those of the engine.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use pigeon_proto::model::{Engine, Errors, FieldError, Key, Kind, Name, Spec, code as model_code};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::conditions::{self, Condition};
use super::error::{self, Problem, ProblemBody, clip};
use super::query::WriteQuery;
use super::types::{Applied, EndpointStatus, Page};
use super::write::{self, Done, Intent};
use super::{ApiState, body, code, objects, query};
use crate::catalog::{Change, Expect, Stored, View};

/// How often a change without a condition begins anew when another write comes in between.
const ATTEMPTS: usize = 5;

/// The calls of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(get, patch))
}

/// The endpoints of an engine, in the order of its spec.
#[allow(dead_code)] // The schema only; `Page` is what is written.
#[derive(ToSchema)]
pub struct EndpointPage {
    /// The endpoints.
    items: Vec<EndpointStatus>,
    /// Always null: there is one page.
    #[schema(required = true)]
    next_page_token: Option<String>,
    /// The revision of the whole configuration that this is the state of.
    revision: u64,
}

/// What can be changed of an endpoint by itself; the rest is the engine's spec.
#[allow(dead_code)] // The schema only; `drain_of` is what reads it.
#[derive(ToSchema)]
pub struct EndpointPatch {
    /// Whether it gets no new calls; running ones go on.
    drain: bool,
}

/// An endpoint, and how far the write came that this answers.
#[derive(Serialize, ToSchema)]
pub struct PatchedEndpoint {
    #[serde(flatten)]
    endpoint: EndpointStatus,
    /// How far the write came; absent in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = Applied)]
    applied: Option<Applied>,
}

/// List the endpoints of an engine
///
/// In the order of its spec, then those that proxies still carry calls for.
#[utoipa::path(get, path = "/v1/engines/{name}/endpoints", operation_id = "list_endpoints", tag = "engines",
    params(("name" = String, Path, description = "The engine")),
    responses(
        (status = 200, description = "All of them", body = EndpointPage),
        (status = 404, description = "There is no engine of this name", body = ProblemBody, content_type = "application/problem+json")))]
async fn list(
    State(api): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let Path(name) = path.map_err(|_| undecodable())?;
    let view = api.app().catalog.view();
    let (_, engine) = engine(&view, &key(&name)?)?;
    let items = statuses(&api, &name, engine);
    let page = Page { items, next_page_token: None, revision: Some(view.revision) };
    Ok(write::read(view.revision, &page, None))
}

/// Get an endpoint of an engine
///
/// The entity tag is that of the engine.
#[utoipa::path(get, path = "/v1/engines/{name}/endpoints/{address}", operation_id = "get_endpoint", tag = "engines",
    params(("name" = String, Path, description = "The engine"),
        ("address" = String, Path, description = "host:port")),
    responses(
        (status = 200, description = "The endpoint", body = EndpointStatus, headers(
            ("etag" = String), ("pigeon-revision" = u64))),
        (status = 404, description = "There is no such engine, or it has no such endpoint", body = ProblemBody, content_type = "application/problem+json")))]
async fn get(
    State(api): State<ApiState>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let (name, address) = name_and_address(path)?;
    let view = api.app().catalog.view();
    let (stored, engine) = engine(&view, &key(&name)?)?;
    let endpoint = status(&api, &name, engine, &address)?;
    Ok(write::read(view.revision, &endpoint, Some(error::etag(stored.mod_revision))))
}

/// Drain or undrain an endpoint
///
/// A merge patch of the engine's spec would do the same, but has to repeat every endpoint.
#[utoipa::path(patch, path = "/v1/engines/{name}/endpoints/{address}", operation_id = "patch_endpoint", tag = "engines",
    params(("name" = String, Path, description = "The engine"),
        ("address" = String, Path, description = "host:port"), WriteQuery,
        ("if-match" = Option<String>, Header, description = "Change only if the engine is at one of these entity tags")),
    request_body(content = EndpointPatch, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "Changed, or unchanged", body = PatchedEndpoint, headers(
            ("etag" = String), ("pigeon-revision" = u64), ("pigeon-applied" = String))),
        (status = 202, description = "Changed, but a proxy has not applied it in the time given", body = PatchedEndpoint),
        (status = 404, description = "There is no such engine, or it has no such endpoint", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "The condition does not hold", body = ProblemBody, content_type = "application/problem+json")))]
async fn patch(
    State(api): State<ApiState>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (name, address) = name_and_address(path)?;
    let key = key(&name)?;
    let intent = Intent::of(&request)?;
    let condition = conditions::of_write(request.headers())?;
    body::require(request.headers(), &[body::MERGE_PATCH]).map_err(Problem::accept_patch)?;
    let patch = body::json(request, &[body::MERGE_PATCH]).await?;
    let drain = drain_of(&patch).map_err(|e| e.of(&key))?;
    let done = drained(&api, &key, &address, drain, intent, condition).await?;
    let after = done.outcome.changed.first().and_then(|c| c.after.clone());
    let Some((stored, Spec::Engine(engine))) = after.as_ref().map(|s| (s, &s.object.spec)) else {
        return Err(Problem::internal("a change of an endpoint did not say what it wrote"));
    };
    let endpoint = status(&api, &name, engine, &address)?;
    let body = PatchedEndpoint { endpoint, applied: done.applied.clone() };
    Ok(done.answer(StatusCode::OK, &body, Some(error::etag(stored.mod_revision)), None))
}

/// Writes it. The list of endpoints is replaced whole, so the engine must still be what was read; if it is
/// not, and the caller does not mind, it is read again.
async fn drained(
    api: &ApiState,
    key: &Key,
    address: &str,
    drain: bool,
    intent: Intent,
    condition: Condition,
) -> Result<Done, Problem> {
    let mut left = if condition == Condition::None { ATTEMPTS } else { 1 };
    loop {
        left -= 1;
        let change = change(&api.app().catalog.view(), key, address, drain, &condition)?;
        let done = intent.clone().commit(api, vec![change], condition != Condition::None).await;
        match done {
            Err(p) if p.status() == StatusCode::PRECONDITION_FAILED && left > 0 => {}
            done => return done,
        }
    }
}

fn change(
    view: &View,
    key: &Key,
    address: &str,
    drain: bool,
    condition: &Condition,
) -> Result<Change, Problem> {
    let (stored, engine) = engine(view, key)?;
    match condition {
        Condition::None => {}
        Condition::Match(tags) if tags.contain(stored.mod_revision) => {}
        Condition::Match(_) => return Err(Problem::changed(key, Some(stored.mod_revision))),
        Condition::Absent => {
            return Err(Problem::malformed(
                "If-None-Match has no meaning with this method; use If-Match",
            ));
        }
    }
    let mut endpoints = engine.endpoints.clone();
    let endpoint = endpoints.iter_mut().find(|e| e.address.as_str() == address);
    endpoint.ok_or_else(|| no_endpoint(key.name.as_str(), address))?.drain = drain;
    let patch = json!({ "spec": { "endpoints": endpoints } });
    let expect = Expect::Revision(stored.mod_revision);
    Ok(Change::Patch { key: key.clone(), patch, expect })
}

/// Reads `{"drain": …}`.
fn drain_of(patch: &Value) -> Result<bool, Errors> {
    let error = |at: &str, code, message: String| FieldError::new(at, code, message);
    let Some(map) = patch.as_object() else {
        let message = "must be an object, such as {\"drain\": true}";
        return Err(error("", model_code::WRONG_TYPE, message.into()).into());
    };
    let mut errors = Errors::default();
    for field in map.keys().filter(|k| *k != "drain") {
        let field = clip(field);
        let message = format!(
            "\"{field}\" cannot be changed here, only drain; change the engine's spec.endpoints"
        );
        errors.push(error(&format!("/{field}"), model_code::UNKNOWN_FIELD, message));
    }
    match map.get("drain") {
        Some(Value::Bool(drain)) => return errors.into_result().map(|()| *drain),
        None => {
            let message = "\"drain\" is missing; set it to true or false".into();
            errors.push(error("/drain", model_code::MISSING_FIELD, message));
        }
        Some(other) => {
            let message = format!("is {}; it must be true or false", clip(&other.to_string()));
            errors.push(error("/drain", model_code::WRONG_TYPE, message));
        }
    }
    Err(errors)
}

fn key(name: &str) -> Result<Key, Problem> {
    let parsed = name.parse::<Name>().map_err(|_| Problem::no_object(Kind::Engine, name))?;
    Ok(Key { kind: Kind::Engine, name: parsed })
}

fn engine<'a>(view: &'a View, key: &Key) -> Result<(&'a Arc<Stored>, &'a Engine), Problem> {
    let stored = objects::find(view, key)?;
    match &stored.object.spec {
        Spec::Engine(engine) => Ok((stored, engine)),
        Spec::Listener(_) | Spec::Route(_) | Spec::Tenant(_) => {
            Err(Problem::internal("an engine is stored with the spec of another kind"))
        }
    }
}

fn statuses(api: &ApiState, name: &str, engine: &Engine) -> Vec<EndpointStatus> {
    EndpointStatus::all(engine, api.app().proxies.usage().get(name))
}

fn status(
    api: &ApiState,
    name: &str,
    engine: &Engine,
    address: &str,
) -> Result<EndpointStatus, Problem> {
    let found = statuses(api, name, engine).into_iter().find(|e| e.address == address);
    found.ok_or_else(|| no_endpoint(name, address))
}

fn no_endpoint(name: &str, address: &str) -> Problem {
    let detail = format!("engine \"{}\" has no endpoint \"{}\"", clip(name), clip(address));
    let title = "There is no such endpoint";
    Problem::new(StatusCode::NOT_FOUND, "not-found", title, code::NOT_FOUND, detail)
        .next(format!("pigeon-ctl engine endpoints {}", clip(name)))
}

/// The engine and the address of a path; addresses are kept in lower case.
fn name_and_address(
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<(String, String), Problem> {
    let Path((name, address)) = path.map_err(|_| undecodable())?;
    Ok((name, address.to_ascii_lowercase()))
}

fn undecodable() -> Problem {
    Problem::malformed("the name or address in the path does not decode to UTF-8 text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_drain_can_be_changed_and_every_error_is_told() {
        assert_eq!(drain_of(&json!({"drain": true})), Ok(true));
        assert_eq!(drain_of(&json!({"drain": false})), Ok(false));
        let pointers = |patch: Value| match drain_of(&patch) {
            Ok(_) => vec![],
            Err(e) => e.0.into_iter().map(|e| e.pointer).collect::<Vec<_>>(),
        };
        assert_eq!(pointers(json!([])), [""]);
        assert_eq!(pointers(json!({})), ["/drain"]);
        assert_eq!(pointers(json!({"drain": null})), ["/drain"]);
        assert_eq!(pointers(json!({"drain": "yes", "weight": 2})), ["/weight", "/drain"]);
        assert_eq!(pointers(json!({"drain": true, "slots": 2})), ["/slots"]);
    }
}
