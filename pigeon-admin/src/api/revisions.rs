//! `GET /v1/revisions`: who changed what and when, newest first.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Problem;
use super::query::PageQuery;
use super::types::{Page, RevisionEntry};
use super::{ApiState, write};

/// The calls of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list))
}

/// One page of revisions, newest first.
#[allow(dead_code)] // The schema only; `Page` is what is written.
#[derive(ToSchema)]
pub struct RevisionPage {
    /// The revisions.
    items: Vec<RevisionEntry>,
    /// The `page_token` of the next page; null on the last.
    #[schema(required = true)]
    next_page_token: Option<String>,
}

/// List revisions
///
/// Newest first, a page at a time.
#[utoipa::path(get, path = "/v1/revisions", operation_id = "list_revisions", tag = "revisions", params(PageQuery),
    responses((status = 200, description = "One page", body = RevisionPage)))]
async fn list(State(api): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let (size, before) = PageQuery::of_revisions(&uri)?;
    let current = api.app().catalog.view().revision;
    // One more than asked for tells whether there is another page.
    let limit = u32::try_from(size + 1).unwrap_or(u32::MAX);
    let found = api.app().catalog.revisions(before, limit).await;
    let mut found = found.map_err(|e| Problem::store(&e))?;
    let more = found.len() > size;
    found.truncate(size);
    let next_page_token = found.last().filter(|_| more).map(|r| r.revision.to_string());
    let items = found.into_iter().map(RevisionEntry::from).collect();
    Ok(write::read(current, &Page { items, next_page_token, revision: None }, None))
}
