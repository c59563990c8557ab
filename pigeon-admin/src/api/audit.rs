//! `/v1/audit-events`: who changed what, with every object before and after.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use pigeon_proto::model::Time;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Problem;
use super::query::{self, Query};
use super::types::{AuditEntry, Page};
use super::{ApiState, write};
use crate::catalog::AuditFilter;

/// Most events on a page: each has two whole documents.
const LARGEST_PAGE: usize = 100;

/// The calls of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list))
}

/// One page of events.
#[allow(dead_code)] // The schema only; `Page` is what is written.
#[derive(ToSchema)]
pub struct AuditEventPage {
    /// The events.
    items: Vec<AuditEntry>,
    /// The `page_token` of the next page; null on the last.
    #[schema(required = true)]
    next_page_token: Option<String>,
}

/// Which events.
#[allow(dead_code)] // The reference only; `wanted` reads it.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only what this caller did.
    actor: Option<String>,
    /// Only objects of this kind, such as `route`.
    kind: Option<String>,
    /// Only objects of this name.
    name: Option<String>,
    /// Only `create`, `update` or `delete`.
    action: Option<String>,
    /// Only what is not older; RFC 3339.
    #[param(example = "2026-01-31T12:00:00Z")]
    since: Option<String>,
    /// Only what is newer than the event of this id, the oldest first: for following along.
    #[param(minimum = 1)]
    after: Option<u64>,
    /// How many at most: 100 unless given, and never more.
    #[param(minimum = 1)]
    page_size: Option<u32>,
    /// The `next_page_token` of the page before.
    page_token: Option<String>,
}

/// List audit events
///
/// Newest first, a page at a time; with `after` the oldest first.
#[utoipa::path(get, path = "/v1/audit-events", operation_id = "list_audit_events", tag = "revisions", params(AuditQuery),
    responses((status = 200, description = "One page", body = AuditEventPage)))]
async fn list(State(api): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let (filter, size) = wanted(&uri)?;
    let follows = filter.after.is_some();
    let current = api.app().catalog.view().revision;
    // One more than asked for tells whether there is another page.
    let limit = u32::try_from(size + 1).unwrap_or(u32::MAX);
    let found = api.app().catalog.audit(&filter, limit).await;
    let mut found = found.map_err(|e| Problem::store(&e))?;
    let more = found.len() > size && !follows;
    found.truncate(size);
    let next_page_token = found.last().filter(|_| more).map(|event| event.id.to_string());
    let items = found.into_iter().map(AuditEntry::from).collect();
    Ok(write::read(current, &Page { items, next_page_token, revision: None }, None))
}

fn wanted(uri: &Uri) -> Result<(AuditFilter, usize), Problem> {
    let known = ["actor", "kind", "name", "action", "since", "after", "page_size", "page_token"];
    let mut query = Query::of(uri, &known);
    let size = query::page_size(&mut query).min(LARGEST_PAGE);
    let since = query.parsed::<Time>("since");
    let filter = AuditFilter {
        actor: query.text("actor"),
        kind: query.text("kind"),
        name: query.text("name"),
        action: query.word("action", &["create", "update", "delete"]).map(str::to_owned),
        since_ms: since.map(|time| i64::try_from(time.unix() * 1_000).unwrap_or(i64::MAX)),
        before: query.count("page_token"),
        after: query.count("after"),
    };
    query.done().map(|()| (filter, size))
}
