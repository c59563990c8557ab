//! `GET /v1/proxies`: who is connected, and what each acknowledged and refused.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{Problem, ProblemBody, clip};
use super::types::{Page, Proxy};
use super::{ApiState, code, query, write};

/// The calls of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(get))
}

/// Every proxy heard of since the admin started, by name.
#[allow(dead_code)] // The schema only; `Page` is what is written.
#[derive(ToSchema)]
pub struct ProxyPage {
    /// The proxies.
    items: Vec<Proxy>,
    /// Always null: there is one page.
    #[schema(required = true)]
    next_page_token: Option<String>,
    /// The revision of the configuration that they are measured against.
    revision: u64,
}

/// List proxies
///
/// Every proxy heard of since pigeon-admin started, connected or not, by name.
#[utoipa::path(get, path = "/v1/proxies", operation_id = "list_proxies", tag = "proxies",
    responses((status = 200, description = "All of them", body = ProxyPage)))]
async fn list(State(api): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    query::none(&uri)?;
    let revision = api.app().catalog.view().revision;
    let proxies = api.app().proxies.list().into_iter();
    let items: Vec<_> = proxies.map(|p| Proxy::of(p, revision)).collect();
    let page = Page { items, next_page_token: None, revision: Some(revision) };
    Ok(write::read(revision, &page, None))
}

/// Get a proxy
///
/// By the name people see; of several with one name the connected one.
#[utoipa::path(get, path = "/v1/proxies/{name}", operation_id = "get_proxy", tag = "proxies",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The proxy", body = Proxy),
        (status = 404, description = "None of this name has connected since the start", body = ProblemBody, content_type = "application/problem+json")))]
async fn get(
    State(api): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let Ok(Path(name)) = path else {
        return Err(Problem::malformed("the name in the path does not decode to UTF-8 text"));
    };
    let revision = api.app().catalog.view().revision;
    let Some(proxy) = api.app().proxies.get(&name) else {
        let detail =
            format!("no proxy named \"{}\" has connected since pigeon-admin started", clip(&name));
        let title = "There is no such proxy";
        let status = StatusCode::NOT_FOUND;
        return Err(Problem::new(status, "not-found", title, code::NOT_FOUND, detail)
            .next("pigeon-ctl proxy list"));
    };
    Ok(write::read(revision, &Proxy::of(proxy, revision), None))
}
