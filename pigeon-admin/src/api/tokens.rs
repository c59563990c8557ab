//! `/v1/tokens`: who may use this API, and for what. A token is told once, in the answer that makes it; all that
//! is kept of it is its hash.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use pigeon_proto::model::{Errors, FieldError, KeyHash, Labels, Name, Time, code as model_code};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{Problem, ProblemBody, clip};
use super::query::WriteQuery;
use super::types::{Page, now_ms, time};
use super::write::Intent;
use super::{ApiState, body, code, query, write};
use crate::access::{Rights, Role, Token};
use crate::catalog::{Catalog, MOST_TOKENS, TokenError};
use crate::token;

/// What the history calls the holder of the first token, and this program itself.
const RESERVED: [&str; 2] = ["admin", "system"];
/// Most labels of a scope.
const MOST_LABELS: usize = 16;
/// Longest name or value of one.
const LONGEST_LABEL: usize = 128;

/// The calls of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list, create)).routes(routes!(revoke))
}

/// A token, without what makes it one.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub struct TokenEntry {
    /// What the history calls its holder.
    name: String,
    /// The middle of the token itself.
    id: String,
    /// What it may do.
    role: Role,
    /// Labels that an object must have to be written with it; empty = any object.
    #[schema(value_type = BTreeMap<String, String>)]
    scope: Labels,
    /// When it was made. RFC 3339, UTC.
    created_at: String,
    /// By whom.
    created_by: String,
    /// From when on it is worth nothing; null = never.
    #[schema(required = true)]
    expires: Option<String>,
    /// When it was used last, after a restart to the minute; null = never.
    #[schema(required = true)]
    last_used_at: Option<String>,
}

impl TokenEntry {
    fn of(catalog: &Catalog, token: &Token) -> Self {
        Self {
            name: token.name.clone(),
            id: token.id.clone(),
            role: token.rights.role,
            scope: token.rights.scope.clone(),
            created_at: time(token.created_ms),
            created_by: token.created_by.clone(),
            expires: token.expires_ms.map(time),
            last_used_at: catalog.last_use(token).map(time),
        }
    }
}

/// All tokens but the first, which is the file `admin.token`, by name.
#[allow(dead_code)] // The schema only; `Page` is what is written.
#[derive(ToSchema)]
pub struct TokenPage {
    /// The tokens.
    items: Vec<TokenEntry>,
    /// Always null: there is one page.
    #[schema(required = true)]
    next_page_token: Option<String>,
}

/// What can be said of a new token.
#[allow(dead_code)] // The schema only; `wanted` is what reads it.
#[derive(ToSchema)]
pub struct NewToken {
    /// What the history calls its holder: lower-case letters, digits, `-` and `.`.
    name: String,
    /// What it may do.
    role: Role,
    /// Labels that an object must have, before and after, to be written with it. Absent = any object.
    #[schema(required = false)]
    scope: BTreeMap<String, String>,
    /// From when on it is worth nothing; RFC 3339, UTC. Absent = never.
    #[schema(required = false)]
    expires: String,
}

/// A new token. Nothing will ever tell the token itself again.
#[derive(Serialize, ToSchema)]
pub struct CreatedToken {
    #[serde(flatten)]
    about: TokenEntry,
    /// The token; absent in a dry run, which makes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = String)]
    token: Option<String>,
}

/// List the tokens
///
/// Their names, what they may do and when they were used last; the tokens themselves are not known here.
#[utoipa::path(get, path = "/v1/tokens", operation_id = "list_tokens", tag = "tokens",
    responses(
        (status = 200, description = "All of them", body = TokenPage),
        (status = 403, description = "This needs the role admin", body = ProblemBody, content_type = "application/problem+json")))]
async fn list(State(api): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    query::none(&uri)?;
    let catalog = &api.app().catalog;
    let tokens = catalog.tokens();
    let mut items: Vec<_> = tokens.iter().map(|t| TokenEntry::of(catalog, t)).collect();
    items.sort_by(|a, b| a.name.cmp(&b.name));
    let page = Page { items, next_page_token: None, revision: None };
    Ok(write::read(catalog.view().revision, &page, None))
}

/// Make a token
///
/// This answer alone tells the token.
#[utoipa::path(post, path = "/v1/tokens", operation_id = "create_token", tag = "tokens", params(WriteQuery),
    request_body = NewToken,
    responses(
        (status = 201, description = "Made", body = CreatedToken, headers(("location" = String))),
        (status = 403, description = "This needs the role admin", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "A token of this name exists already", body = ProblemBody, content_type = "application/problem+json")))]
async fn create(State(api): State<ApiState>, request: Request) -> Result<Response, Problem> {
    let intent = Intent::of(&request)?;
    let body = body::json(request, &[body::JSON]).await?;
    let wanted = Wanted::of(body)?;
    let no_randomness = |_| Problem::internal("the operating system has no randomness to give");
    let secret = token::generate().map_err(no_randomness)?;
    let token = Token {
        id: secret.split('_').nth(1).unwrap_or_default().to_owned(),
        name: wanted.name.to_string(),
        rights: Rights { role: wanted.role, scope: wanted.scope },
        hash: KeyHash::of(secret.as_bytes()),
        created_ms: now_ms(),
        created_by: intent.actor.name.clone(),
        expires_ms: wanted.expires.map(|time| i64::try_from(time.unix()).unwrap_or(0) * 1_000),
        used_ms: None,
    };
    let catalog = &api.app().catalog;
    let about = TokenEntry::of(catalog, &token);
    let location = format!("/v1/tokens/{}", token.name);
    let secret = match intent.is_dry_run() {
        true if catalog.tokens().by_name(&token.name).is_some() => {
            return Err(failed(TokenError::Exists, &token.name));
        }
        true => None,
        false => {
            let name = token.name.clone();
            let made = catalog.add_token(token, intent.actor).await;
            made.map_err(|e| failed(e, &name))?;
            Some(secret)
        }
    };
    let mut response =
        (StatusCode::CREATED, Json(CreatedToken { about, token: secret })).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Revoke a token
///
/// From the answer on it is worth nothing; to other admins of the same store, within a second.
#[utoipa::path(delete, path = "/v1/tokens/{name}", operation_id = "revoke_token", tag = "tokens",
    params(("name" = String, Path, description = "Its name"), WriteQuery),
    responses(
        (status = 204, description = "Revoked"),
        (status = 403, description = "This needs the role admin", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no token of this name", body = ProblemBody, content_type = "application/problem+json")))]
async fn revoke(
    State(api): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Path(name) =
        path.map_err(|_| Problem::malformed("the name in the path does not decode"))?;
    let intent = Intent::of(&request)?;
    let catalog = &api.app().catalog;
    if intent.is_dry_run() {
        let known = catalog.tokens();
        known.by_name(&name).ok_or_else(|| failed(TokenError::NotFound, &name))?;
    } else {
        let revoked = catalog.revoke_token(&name, intent.actor).await;
        revoked.map_err(|e| failed(e, &name))?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn failed(error: TokenError, name: &str) -> Problem {
    let name = clip(name);
    match error {
        TokenError::Exists => {
            let detail =
                format!("there is a token \"{name}\" already; revoke it, or give another name");
            Problem::new(StatusCode::CONFLICT, "exists", "It exists already", code::EXISTS, detail)
        }
        TokenError::NotFound => {
            let detail = format!("there is no token \"{name}\"");
            let title = "There is no such token";
            Problem::new(StatusCode::NOT_FOUND, "not-found", title, code::NOT_FOUND, detail)
        }
        TokenError::TooMany => {
            let detail = format!("there are {MOST_TOKENS} tokens; revoke those that nobody uses");
            Problem::new(StatusCode::CONFLICT, "exists", "Too many tokens", code::EXISTS, detail)
        }
        TokenError::Store(e) => return Problem::store(&e),
    }
    .next("pigeon-ctl token list")
}

/// What is asked for.
#[derive(Debug, PartialEq)]
struct Wanted {
    name: Name,
    role: Role,
    scope: Labels,
    expires: Option<Time>,
}

impl Wanted {
    /// Reads a body, and finds everything that is wrong with it.
    fn of(body: Value) -> Result<Self, Errors> {
        let Value::Object(mut map) = body else {
            let message = "must be an object, such as {\"name\": \"ci\", \"role\": \"editor\"}";
            return Err(wrong("", model_code::WRONG_TYPE, message).into());
        };
        let bad = |at: &str, why: &str| Errors::from(wrong(at, model_code::BAD_VALUE, why));
        let mut errors = Errors::default();
        let name = text(&mut map, "name", true, &mut errors)
            .and_then(|text| errors.keep(named(&text).map_err(|why| bad("/name", &why))));
        let role = text(&mut map, "role", true, &mut errors).and_then(|text| {
            let names = Role::ALL.map(Role::as_str).join(", ");
            let message = format!("\"{}\" is no role; the roles are: {names}", clip(&text));
            let bad = wrong("/role", model_code::UNKNOWN_VALUE, &message);
            errors.keep(Role::named(&text).ok_or_else(|| bad.into()))
        });
        let expires = text(&mut map, "expires", false, &mut errors)
            .and_then(|text| errors.keep(text.parse::<Time>().map_err(|e| bad("/expires", &e.0))));
        let scope = errors.keep(scope(map.remove("scope"))).unwrap_or_default();
        if role == Some(Role::Admin) && !scope.is_empty() {
            let message = "means nothing with the role admin, which makes tokens without one";
            errors.push(wrong("/scope", model_code::CONFLICTING_FIELDS, message));
        }
        for field in map.keys() {
            let field = clip(field);
            let message = "there is no such field; the fields are: name, role, scope, expires";
            errors.push(wrong(&format!("/{field}"), model_code::UNKNOWN_FIELD, message));
        }
        errors.into_result()?;
        match (name, role) {
            (Some(name), Some(role)) => Ok(Self { name, role, scope, expires }),
            _ => Err(wrong("", model_code::MISSING_FIELD, "name and role are needed").into()),
        }
    }
}

/// A name that nobody has whom the history knows already.
fn named(text: &str) -> Result<Name, String> {
    match RESERVED.contains(&text) {
        true => Err(format!("\"{text}\" is what the history calls another; give another name")),
        false => text.parse::<Name>().map_err(|e| e.0),
    }
}

fn wrong(pointer: &str, code: &'static str, message: &str) -> FieldError {
    FieldError::new(pointer, code, message)
}

fn text(
    map: &mut Map<String, Value>,
    field: &str,
    needed: bool,
    errors: &mut Errors,
) -> Option<String> {
    let pointer = format!("/{field}");
    let error = match map.remove(field) {
        Some(Value::String(text)) => return Some(text),
        None | Some(Value::Null) if !needed => return None,
        None | Some(Value::Null) => {
            let message = format!("\"{field}\" is missing; set it");
            wrong(&pointer, model_code::MISSING_FIELD, &message)
        }
        Some(_) => wrong(&pointer, model_code::WRONG_TYPE, "must be text; quote it"),
    };
    errors.push(error);
    None
}

fn scope(value: Option<Value>) -> Result<Labels, Errors> {
    let bad = |code, message: &str| Err(wrong("/scope", code, message).into());
    let fits = |text: &str| (1..=LONGEST_LABEL).contains(&text.len());
    let map = match value {
        None | Some(Value::Null) => return Ok(Labels::new()),
        Some(Value::Object(map)) => map,
        Some(_) => {
            return bad(
                model_code::WRONG_TYPE,
                "must be an object, such as {\"team\": \"speech\"}",
            );
        }
    };
    if map.len() > MOST_LABELS {
        return bad(model_code::BAD_VALUE, "has more than 16 labels; a few are enough");
    }
    let mut labels = Labels::new();
    for (name, value) in map {
        match value {
            Value::String(value) if fits(&name) && fits(&value) => _ = labels.insert(name, value),
            _ => {
                let message = "names and values of labels are texts of 1 to 128 characters";
                return bad(model_code::BAD_VALUE, message);
            }
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wanted_of_a_token_and_every_error() {
        let all = json!({"name": "ci", "role": "editor", "scope": {"team": "a"},
            "expires": "2027-01-01T00:00:00Z"});
        let wanted = Wanted::of(all).expect("good");
        assert_eq!((wanted.name.as_str(), wanted.role), ("ci", Role::Editor));
        assert_eq!((wanted.scope.len(), wanted.expires.is_some()), (1, true));
        let least = Wanted::of(json!({"name": "a", "role": "viewer", "scope": null}));
        assert!(least.expect("good").scope.is_empty());
        let pointers = |body: Value| match Wanted::of(body) {
            Ok(_) => vec![],
            Err(e) => e.0.into_iter().map(|e| e.pointer).collect::<Vec<_>>(),
        };
        assert_eq!(pointers(json!([])), [""]);
        assert_eq!(pointers(json!({})), ["/name", "/role"]);
        let held = json!({"name": "a", "role": "admin", "scope": {"team": "a"}});
        assert_eq!(pointers(held), ["/scope"], "it could make one without");
        assert_eq!(pointers(json!({"name": "admin", "role": "admin"})), ["/name"]);
        assert_eq!(
            pointers(
                json!({"name": "A b", "role": "king", "scope": {"a": 1}, "expires": 5, "x": 1})
            ),
            ["/name", "/role", "/expires", "/scope", "/x"]
        );
        assert_eq!(pointers(json!({"name": "a", "role": "admin", "scope": {"a": ""}})), ["/scope"]);
    }
}
