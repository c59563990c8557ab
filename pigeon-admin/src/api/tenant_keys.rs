//! `/v1/tenants/{name}/keys`: making and revoking the API keys of a tenant. A key is told once, in the answer
//! that makes it; all that is kept of it is its hash, in the tenant's spec.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use pigeon_proto::model::{
    ApiKey, Errors, FieldError, Key, KeyHash, KeyId, Kind, Name, Spec, Tenant, Time,
    code as model_code,
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{Problem, ProblemBody, clip};
use super::query::WriteQuery;
use super::types::{Applied, Page};
use super::write::{self, Done, Intent};
use super::{ApiState, body, code, objects, query};
use crate::catalog::{Change, Expect, View};
use crate::token;

/// How often a write begins anew when another comes in between.
const ATTEMPTS: usize = 5;

/// The calls of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list, create)).routes(routes!(revoke))
}

/// A key, without what makes it one.
#[derive(Serialize, ToSchema)]
pub struct TenantKey {
    /// Its id.
    id: String,
    /// From when on it is worth nothing; RFC 3339, UTC; absent = never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = String)]
    expires: Option<Time>,
}

/// The keys of a tenant, in the order of its spec.
#[allow(dead_code)] // The schema only; `Page` is what is written.
#[derive(ToSchema)]
pub struct TenantKeyPage {
    /// The keys.
    items: Vec<TenantKey>,
    /// Always null: there is one page.
    #[schema(required = true)]
    next_page_token: Option<String>,
    /// The revision of the whole configuration that this is the state of.
    revision: u64,
}

/// What can be said of a new key.
#[allow(dead_code)] // The schema only; `wanted` is what reads it.
#[derive(ToSchema)]
pub struct NewTenantKey {
    /// Its id: 1 to 32 lower-case letters, digits and `-`, unique over all tenants. Absent = one is made up.
    #[schema(required = false)]
    id: String,
    /// From when on it is worth nothing; RFC 3339, UTC. Absent = never.
    #[schema(required = false)]
    expires: String,
}

/// A new key. Nothing will ever tell the key itself again.
#[derive(Serialize, ToSchema)]
pub struct CreatedTenantKey {
    #[serde(flatten)]
    about: TenantKey,
    /// The key; absent in a dry run, which makes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = String)]
    key: Option<String>,
    /// How far the write came; absent in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = Applied)]
    applied: Option<Applied>,
}

/// A key that is gone.
#[derive(Serialize, ToSchema)]
pub struct RevokedTenantKey {
    /// Its id.
    id: String,
    /// Whether it was there.
    revoked: bool,
    /// How far the write came; absent in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = Applied)]
    applied: Option<Applied>,
}

/// List the API keys of a tenant
///
/// Their ids and when they expire; the keys themselves are not known here.
#[utoipa::path(get, path = "/v1/tenants/{name}/keys", operation_id = "list_tenant_keys", tag = "tenants",
    params(("name" = String, Path, description = "The tenant")),
    responses(
        (status = 200, description = "All of them", body = TenantKeyPage),
        (status = 404, description = "There is no tenant of this name", body = ProblemBody, content_type = "application/problem+json")))]
async fn list(
    State(api): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let Path(name) = path.map_err(|_| undecodable())?;
    let view = api.app().catalog.view();
    let (_, tenant) = tenant(&view, &key(&name)?)?;
    let items = tenant.keys.iter().map(about).collect();
    let page = Page { items, next_page_token: None, revision: Some(view.revision) };
    Ok(write::read(view.revision, &page, None))
}

/// Make an API key
///
/// This answer alone tells the key.
#[utoipa::path(post, path = "/v1/tenants/{name}/keys", operation_id = "create_tenant_key", tag = "tenants",
    params(("name" = String, Path, description = "The tenant"), WriteQuery),
    request_body = NewTenantKey,
    responses(
        (status = 201, description = "Made", body = CreatedTenantKey, headers(
            ("location" = String), ("pigeon-revision" = u64), ("pigeon-applied" = String))),
        (status = 202, description = "Made, but a proxy has not applied it in the time given", body = CreatedTenantKey),
        (status = 404, description = "There is no tenant of this name", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "A key of this id exists already", body = ProblemBody, content_type = "application/problem+json")))]
async fn create(
    State(api): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Path(name) = path.map_err(|_| undecodable())?;
    let of = key(&name)?;
    let intent = Intent::of(&request)?;
    let body = body::json(request, &[body::JSON]).await?;
    let (id, expires) = wanted(&body).map_err(|e| e.of(&of))?;
    let made = token::generate_key(id.as_ref().map(KeyId::as_str));
    let (id, secret) =
        made.map_err(|_| Problem::internal("the operating system has no randomness to give"))?;
    let id: KeyId = id.parse().map_err(|_| Problem::internal("the id of a new key is not one"))?;
    let new = ApiKey { id: id.clone(), sha256: KeyHash::of(secret.as_bytes()), expires };
    let done = rewritten(&api, &of, intent, |keys| {
        if keys.iter().any(|k| k.id == new.id) {
            return Err(exists(&name, &new.id));
        }
        keys.push(new.clone());
        Ok(())
    })
    .await?;
    let key = done.applied.is_some().then_some(secret);
    let body = CreatedTenantKey { about: about(&new), key, applied: done.applied.clone() };
    let location = format!("/v1/tenants/{}/keys/{id}", of.name);
    let mut response = done.answer(StatusCode::CREATED, &body, None, Some(location));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Revoke an API key
///
/// One that is not there is revoked already.
#[utoipa::path(delete, path = "/v1/tenants/{name}/keys/{id}", operation_id = "revoke_tenant_key", tag = "tenants",
    params(("name" = String, Path, description = "The tenant"),
        ("id" = String, Path, description = "The id of the key"), WriteQuery),
    responses(
        (status = 200, description = "Revoked", body = RevokedTenantKey, headers(
            ("pigeon-revision" = u64), ("pigeon-applied" = String))),
        (status = 202, description = "Revoked, but a proxy has not applied it in the time given", body = RevokedTenantKey),
        (status = 404, description = "There is no tenant of this name", body = ProblemBody, content_type = "application/problem+json")))]
async fn revoke(
    State(api): State<ApiState>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Path((name, id)) = path.map_err(|_| undecodable())?;
    let of = key(&name)?;
    let intent = Intent::of(&request)?;
    let mut revoked = false;
    let done = rewritten(&api, &of, intent, |keys| {
        let before = keys.len();
        keys.retain(|k| k.id.as_str() != id);
        revoked = keys.len() < before;
        Ok(())
    })
    .await?;
    let body = RevokedTenantKey { id: clip(&id), revoked, applied: done.applied.clone() };
    Ok(done.answer(StatusCode::OK, &body, None, None))
}

/// Changes the keys of a tenant. The list is replaced whole, so the tenant must still be what was read; if it
/// is not, it is read again.
async fn rewritten(
    api: &ApiState,
    of: &Key,
    intent: Intent,
    mut change: impl FnMut(&mut Vec<ApiKey>) -> Result<(), Problem>,
) -> Result<Done, Problem> {
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        let view = api.app().catalog.view();
        let (mod_revision, tenant) = tenant(&view, of)?;
        let mut keys = tenant.keys.clone();
        change(&mut keys)?;
        let patch = json!({ "spec": { "keys": keys } });
        let expect = Expect::Revision(mod_revision);
        let change = Change::Patch { key: of.clone(), patch, expect };
        match intent.clone().commit(api, vec![change], false).await {
            Err(p) if p.status() == StatusCode::PRECONDITION_FAILED && left > 0 => {}
            done => return done,
        }
    }
}

/// Reads `{"id": …, "expires": …}`.
fn wanted(body: &Value) -> Result<(Option<KeyId>, Option<Time>), Errors> {
    let error = |at: &str, code, message: String| FieldError::new(at, code, message);
    let Some(map) = body.as_object() else {
        let message = "must be an object, such as {} or {\"expires\": \"2027-01-01T00:00:00Z\"}";
        return Err(error("", model_code::WRONG_TYPE, message.into()).into());
    };
    let mut errors = Errors::default();
    for field in map.keys().filter(|k| !["id", "expires"].contains(&k.as_str())) {
        let field = clip(field);
        let message = format!("there is no field \"{field}\"; the fields are: id, expires");
        errors.push(error(&format!("/{field}"), model_code::UNKNOWN_FIELD, message));
    }
    let mut text = |field: &str| match map.get(field) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) => {
            let message = "must be text; quote it".to_owned();
            errors.push(error(&format!("/{field}"), model_code::WRONG_TYPE, message));
            None
        }
    };
    let (id, expires) = (text("id").map(str::parse::<KeyId>), text("expires").map(str::parse));
    let bad = |at: &str, message: String| error(at, model_code::BAD_VALUE, message).into();
    let id = errors.keep(id.transpose().map_err(|e| bad("/id", e.0))).flatten();
    let expires: Option<Result<Time, _>> = expires;
    let expires = errors.keep(expires.transpose().map_err(|e| bad("/expires", e.0))).flatten();
    errors.into_result().map(|()| (id, expires))
}

fn about(key: &ApiKey) -> TenantKey {
    TenantKey { id: key.id.to_string(), expires: key.expires }
}

fn exists(tenant: &str, id: &KeyId) -> Problem {
    let tenant = clip(tenant);
    let detail = format!(
        "tenant \"{tenant}\" has a key \"{id}\" already; give another id, or revoke that one first"
    );
    Problem::new(StatusCode::CONFLICT, "exists", "It exists already", code::EXISTS, detail)
        .next(format!("pigeon-ctl tenant key list {tenant}"))
}

fn key(name: &str) -> Result<Key, Problem> {
    let parsed = name.parse::<Name>().map_err(|_| Problem::no_object(Kind::Tenant, name))?;
    Ok(Key { kind: Kind::Tenant, name: parsed })
}

fn tenant<'a>(view: &'a View, key: &Key) -> Result<(u64, &'a Tenant), Problem> {
    let stored = objects::find(view, key)?;
    match &stored.object.spec {
        Spec::Tenant(tenant) => Ok((stored.mod_revision, tenant)),
        Spec::Listener(_) | Spec::Route(_) | Spec::Engine(_) => {
            Err(Problem::internal("a tenant is stored with the spec of another kind"))
        }
    }
}

fn undecodable() -> Problem {
    Problem::malformed("the name or id in the path does not decode to UTF-8 text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_of_a_key_and_every_error() {
        assert_eq!(wanted(&json!({})), Ok((None, None)));
        assert_eq!(wanted(&json!({"id": null})), Ok((None, None)));
        let (id, expires) =
            wanted(&json!({"id": "k1", "expires": "2027-01-01T00:00:00Z"})).expect("good");
        assert_eq!(id.map(|i| i.to_string()), Some("k1".into()));
        assert_eq!(expires.map(|e| e.to_string()), Some("2027-01-01T00:00:00Z".into()));
        let pointers = |body: Value| match wanted(&body) {
            Ok(_) => vec![],
            Err(e) => e.0.into_iter().map(|e| e.pointer).collect::<Vec<_>>(),
        };
        assert_eq!(pointers(json!([])), [""]);
        assert_eq!(
            pointers(json!({"id": "A_b", "expires": 5, "key": "x"})),
            ["/key", "/expires", "/id"]
        );
    }
}
