//! `POST /v1/apply`: many objects at once, all or none, as one revision. It removes nothing but what an owner
//! has left out of their set.

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use pigeon_proto::model::{
    Errors, FieldError, Kind, Labels, Name, Object, Spec, code as model_code, document,
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{Problem, clip};
use super::query::{Query, WriteQuery};
use super::types::Applied;
use super::write::{Done, Intent};
use super::{ApiState, body};
use crate::catalog::{Change, Changed, Expect, OwnerSet, Stored};

/// How many objects may be removed unless the request says otherwise.
const ALLOWED_DELETES: usize = 10;

const TAKEN: [&str; 2] = [body::JSON, body::YAML];
/// Names of YAML from before RFC 9512.
const OLD_YAML: [&str; 3] = ["application/x-yaml", "text/yaml", "text/x-yaml"];

/// The calls of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(apply))
}

/// An object as it is declared in a file.
#[derive(Serialize, ToSchema)]
pub struct Document<'a> {
    /// Its kind.
    kind: Kind,
    /// Its name.
    name: &'a str,
    /// Its labels.
    #[schema(required = false, value_type = BTreeMap<String, String>)]
    labels: &'a Labels,
    /// What it says.
    spec: &'a Spec,
}

impl<'a> Document<'a> {
    fn of(stored: &'a Stored) -> Self {
        let Object { key, labels, spec } = &stored.object;
        Self { kind: key.kind, name: key.name.as_str(), labels, spec }
    }
}

/// Objects to be written.
#[allow(dead_code)] // The schema only; the body is read by `document`.
#[derive(ToSchema)]
pub struct Documents<'a> {
    /// The objects; `items` is another name for it, so that a list can be sent back.
    objects: Vec<Document<'a>>,
}

/// What an apply or a rollback did.
#[derive(Serialize, ToSchema)]
pub struct ApplyAnswer<'a> {
    /// The revision of the configuration after it.
    revision: u64,
    /// Every object of the request, in its order, then those that `prune` removes; of a rollback, every object
    /// that was to change.
    objects: Vec<AppliedObject<'a>>,
    /// How far it came among the proxies; absent in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    applied: Option<&'a Applied>,
}

impl<'a> ApplyAnswer<'a> {
    /// What `done` did.
    pub fn of(done: &'a Done) -> Self {
        Self {
            revision: done.outcome.revision,
            objects: done.outcome.changed.iter().map(AppliedObject::of).collect(),
            applied: done.applied.as_ref(),
        }
    }
}

/// What a write did to one object.
#[derive(Serialize, ToSchema)]
pub struct AppliedObject<'a> {
    /// Its kind.
    kind: Kind,
    /// Its name.
    name: &'a str,
    /// `added`, `changed`, `unchanged` or, by `prune` or a rollback, `removed`.
    #[schema(example = "changed")]
    op: &'static str,
    /// As it was; null if it is new.
    #[schema(required = true)]
    before: Option<Document<'a>>,
    /// As it is; null if it was removed.
    #[schema(required = true)]
    after: Option<Document<'a>>,
}

impl<'a> AppliedObject<'a> {
    fn of(changed: &'a Changed) -> Self {
        let op = match (&changed.before, &changed.after) {
            (None, _) => "added",
            (_, None) => "removed",
            _ if changed.is_change() => "changed",
            _ => "unchanged",
        };
        Self {
            kind: changed.key.kind,
            name: changed.key.name.as_str(),
            op,
            before: changed.before.as_deref().map(Document::of),
            after: changed.after.as_deref().map(Document::of),
        }
    }
}

/// Write many objects at once
///
/// All or none, as one revision. Objects that the body does not name stay as they are, but for those that `prune`
/// removes.
#[utoipa::path(post, path = "/v1/apply", tag = "apply", params(WriteQuery, SetQuery),
    request_body(content((Documents = "application/json"), (String = "application/yaml")),
        description = "JSON, or YAML documents"),
    responses(
        (status = 200, description = "Written", body = ApplyAnswer, headers(
            ("pigeon-revision" = u64), ("pigeon-applied" = String))),
        (status = 202, description = "Written, but a proxy has not applied it in the time given", body = ApplyAnswer)))]
async fn apply(State(api): State<ApiState>, request: Request) -> Result<Response, Problem> {
    let (query, set) = wanted(request.uri())?;
    let intent = Intent::asked(&request, query)?.of_set(set);
    let media = body::media_type(request.headers());
    let old_yaml = media.as_deref().is_some_and(|m| OLD_YAML.contains(&m));
    if !old_yaml {
        body::require(request.headers(), &TAKEN)?;
    }
    let json = media.as_deref() == Some(body::JSON);
    let bytes = body::read(request, body::APPLY_LIMIT).await?;
    // Tens of megabytes take a while to parse; other calls must not wait for it.
    let parsed = tokio::task::spawn_blocking(move || parse(&bytes, json)).await;
    let objects = parsed.map_err(|_| Problem::internal("parsing the body panicked"))??;
    let put = |object| Change::Put { object: Box::new(object), expect: Expect::Any };
    let done = intent.commit(&api, objects.into_iter().map(put).collect(), false).await?;
    Ok(done.answer(StatusCode::OK, &ApplyAnswer::of(&done), None, None))
}

/// Whose the objects are.
#[allow(dead_code)] // The reference only; `wanted` reads it.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SetQuery {
    /// The objects of the body belong to this owner from now on: a name, such as the one of a repository. 409 if one
    /// belongs to another owner.
    #[param(example = "speech")]
    owner: Option<String>,
    /// Remove the objects of `owner` that are not in the body.
    prune: Option<bool>,
    /// How many objects `prune` may remove: 10 unless given. 409 if there are more.
    allow_deletes: Option<u32>,
}

fn wanted(uri: &Uri) -> Result<(WriteQuery, Option<OwnerSet>), Problem> {
    let known = [&WriteQuery::NAMES[..], &["owner", "prune", "allow_deletes"]].concat();
    let mut query = Query::of(uri, &known);
    let write = WriteQuery::read(&mut query);
    let owner = query.parsed::<Name>("owner");
    let prune = query.word("prune", &["true", "false"]) == Some("true");
    let allowed = query.parsed::<usize>("allow_deletes");
    if prune && query.text("owner").is_none() {
        query.error("prune", "needs owner: only what belongs to an owner is removed".into());
    }
    if allowed.is_some() && !prune {
        query.error("allow_deletes", "has no meaning without prune=true; add it".into());
    }
    query.done()?;
    let prune = prune.then(|| allowed.unwrap_or(ALLOWED_DELETES));
    Ok((write, owner.map(|owner| OwnerSet { owner, prune })))
}

fn parse(bytes: &[u8], json: bool) -> Result<Vec<Object>, Problem> {
    if json {
        return Ok(document::objects(listed(body::parse_json(bytes)?)?)?);
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let message = format!("not UTF-8 text, at byte {}", e.valid_up_to());
        Errors::from(FieldError::new("", model_code::MALFORMED, message))
    })?;
    Ok(document::parse(text)?)
}

/// The objects in `{"objects": […]}`.
fn listed(body: Value) -> Result<Vec<Value>, Errors> {
    let wrong = |pointer: &str, code, message: &str| FieldError::new(pointer, code, message).into();
    let Value::Object(mut map) = body else {
        return Err(wrong("", model_code::WRONG_TYPE, "must be {\"objects\": […]}"));
    };
    let mut errors = Errors::default();
    let list = match (map.remove("objects"), map.remove("items")) {
        (Some(_), Some(_)) => {
            let message = "is another name for objects; keep one of the two";
            Err(wrong("/items", model_code::CONFLICTING_FIELDS, message))
        }
        (Some(Value::Array(list)), None) | (None, Some(Value::Array(list))) => Ok(list),
        (Some(_), None) => {
            Err(wrong("/objects", model_code::WRONG_TYPE, "must be a list of objects"))
        }
        (None, Some(_)) => {
            Err(wrong("/items", model_code::WRONG_TYPE, "must be a list of objects"))
        }
        (None, None) => {
            let message = "\"objects\" is missing; set it to a list of objects";
            Err(wrong("/objects", model_code::MISSING_FIELD, message))
        }
    };
    let list = errors.keep(list).unwrap_or_default();
    // A page of a list, or of an export, may come back as it is.
    for key in map.keys().filter(|k| !["next_page_token", "revision"].contains(&k.as_str())) {
        let key = clip(key);
        let message = format!("there is no field \"{key}\"; the only field is: objects");
        errors.push(FieldError::new(format!("/{key}"), model_code::UNKNOWN_FIELD, message));
    }
    errors.into_result().map(|()| list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_of_objects() {
        assert_eq!(listed(json!({"objects": [1]})).expect("a list"), [json!(1)]);
        let page = json!({"items": [], "next_page_token": null, "revision": 3});
        assert!(listed(page).expect("a list").is_empty());
        for (body, pointer) in [
            (json!([]), ""),
            (json!({}), "/objects"),
            (json!({"objects": {}}), "/objects"),
            (json!({"items": 1}), "/items"),
            (json!({"objects": [], "items": []}), "/items"),
            (json!({"objects": [], "prune": true}), "/prune"),
        ] {
            let errors = listed(body.clone()).expect_err("refused");
            assert!(errors.0.iter().any(|e| e.pointer == pointer), "{body}: {errors}");
        }
    }
}
