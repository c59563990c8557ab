//! `/v1/sessions` and `/v1/whoami`: log in, log out, who am I.

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use pigeon_proto::model::{Errors, FieldError, Labels, code as model_code};
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{self, COOKIE, Principal};
use super::error::Problem;
use super::{ApiState, body, frame, query};
use crate::access::Role;

/// The calls of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(log_in, log_out)).routes(routes!(whoami))
}

/// A token, to begin a session with.
#[derive(utoipa::ToSchema)]
pub struct LogIn {
    /// The content of `<data-dir>/admin.token`, or any other token.
    #[allow(dead_code)] // The schema only; the body is read field by field, for better errors.
    token: String,
}

/// Who makes the call.
#[derive(Serialize, utoipa::ToSchema)]
pub struct WhoAmI {
    /// The name in the history.
    #[schema(example = "admin")]
    name: String,
    /// What the caller may do.
    role: Role,
    /// Labels that an object must have to be written by the caller; absent = any object.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    #[schema(required = false, value_type = std::collections::BTreeMap<String, String>)]
    scope: Labels,
}

/// Begin a session
///
/// The cookie `pigeon_session` of the answer may read for 12 hours; it cannot write.
#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", request_body = LogIn,
    responses((status = 204, description = "The session has begun",
        headers(("set-cookie" = String, description = "`pigeon_session`, HttpOnly, SameSite=Strict")))))]
async fn log_in(State(api): State<ApiState>, request: Request) -> Result<Response, Problem> {
    query::none(request.uri())?;
    auth::check_host(&request)?;
    let source = frame::peer(&request);
    let token = token(body::json(request, &[body::JSON]).await?)?;
    let holder = auth::holder(&api, source, token.trim())?;
    let Ok(id) = api.sessions().open(holder.owner) else {
        return Err(Problem::internal("the operating system gave no randomness"));
    };
    let secure = if api.app().tls.is_some() { " Secure;" } else { "" };
    let cookie = format!("{COOKIE}={id}; HttpOnly;{secure} SameSite=Strict; Path=/; Max-Age=43200");
    let Ok(mut cookie) = HeaderValue::try_from(cookie) else {
        return Err(Problem::internal("the session id does not fit into a cookie"));
    };
    cookie.set_sensitive(true);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

fn token(body: Value) -> Result<String, Errors> {
    let wrong = |pointer: &str, code, message: &str| FieldError::new(pointer, code, message).into();
    let Value::Object(mut map) = body else {
        return Err(wrong("", model_code::WRONG_TYPE, "must be {\"token\": \"…\"}"));
    };
    let token = map.remove("token");
    let mut errors = Errors::default();
    for key in map.keys() {
        let message = "there is no such field; the only field is: token";
        let key = super::error::clip(key);
        errors.push(FieldError::new(format!("/{key}"), model_code::UNKNOWN_FIELD, message));
    }
    let token = match token {
        Some(Value::String(token)) => Ok(token),
        Some(_) => Err(wrong("/token", model_code::WRONG_TYPE, "must be text")),
        None => Err(wrong("/token", model_code::MISSING_FIELD, "\"token\" is missing; set it")),
    };
    let token = errors.keep(token).unwrap_or_default();
    errors.into_result().map(|()| token)
}

/// End the session
///
/// Ends the session whose cookie the call carries.
#[utoipa::path(delete, path = "/v1/sessions", tag = "sessions",
    responses((status = 204, description = "It has ended, if there was one")))]
async fn log_out(
    State(api): State<ApiState>,
    Extension(principal): Extension<Principal>,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    if let Some(ticket) = principal.session {
        api.sessions().end(&ticket);
    }
    let gone = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

/// Who am I
///
/// Tells who the token or session belongs to.
#[utoipa::path(get, path = "/v1/whoami", tag = "sessions",
    responses((status = 200, description = "Who makes the call", body = WhoAmI)))]
async fn whoami(
    Extension(principal): Extension<Principal>,
    uri: Uri,
) -> Result<Json<WhoAmI>, Problem> {
    query::none(&uri)?;
    let Principal { owner, rights, .. } = principal;
    Ok(Json(WhoAmI { name: owner.name, role: rights.role, scope: rights.scope }))
}
