//! `/v1/revisions`: who changed what and when, what is not the same at two of them, and going back to one.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use pigeon_proto::model::document;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::apply::ApplyAnswer;
use super::error::{Problem, ProblemBody, clip};
use super::query::{PageQuery, Query, WriteQuery};
use super::types::{Page, RevisionEntry};
use super::write::Intent;
use super::{ApiState, code, query, write};
use crate::catalog::{Change, Difference, Expect, View};

/// How often a rollback begins anew when another write comes in between.
const ATTEMPTS: usize = 5;

/// The calls of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(diff))
        .routes(routes!(rollback))
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

/// What is not the same at two revisions.
#[derive(Serialize, ToSchema)]
pub struct RevisionDiff {
    /// The first.
    from: u64,
    /// The second.
    to: u64,
    /// The objects that are not the same, by kind and name.
    objects: Vec<DiffObject>,
}

/// An object that is not the same at two revisions.
#[derive(Serialize, ToSchema)]
pub struct DiffObject {
    /// Its kind.
    kind: String,
    /// Its name.
    name: String,
    /// `added`, `changed` or `removed`.
    #[schema(example = "changed")]
    op: &'static str,
    /// Its document at the first revision; null if it did not exist.
    #[schema(required = true, value_type = Option<Object>)]
    before: Option<Value>,
    /// Its document at the second; null if it does not exist.
    #[schema(required = true, value_type = Option<Object>)]
    after: Option<Value>,
}

impl From<Difference> for DiffObject {
    fn from(Difference { key, before, after }: Difference) -> Self {
        let op = match (&before, &after) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        };
        Self { kind: key.kind.to_string(), name: key.name.to_string(), op, before, after }
    }
}

/// Read a revision
#[utoipa::path(get, path = "/v1/revisions/{revision}", operation_id = "get_revision", tag = "revisions",
    params(("revision" = u64, Path, description = "Its number")),
    responses(
        (status = 200, description = "Who changed what and when", body = RevisionEntry),
        (status = 404, description = "There is no such revision", body = ProblemBody, content_type = "application/problem+json")))]
async fn get(
    State(api): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let current = api.app().catalog.view().revision;
    let revision = number(path, current)?;
    let found = api.app().catalog.revisions(Some(revision + 1), 1).await;
    let found = found.map_err(|e| Problem::store(&e))?.into_iter().next();
    match found.filter(|found| found.revision == revision) {
        Some(found) => Ok(write::read(current, &RevisionEntry::from(found), None)),
        None => Err(no_revision(&revision.to_string(), current)),
    }
}

/// Compare two revisions
///
/// Every object that is not the same, with its documents before and after.
#[utoipa::path(get, path = "/v1/revisions/{revision}/diff", operation_id = "diff_revisions", tag = "revisions",
    params(
        ("revision" = u64, Path, description = "The first"),
        ("to" = Option<u64>, Query, description = "The second; the newest unless given", minimum = 1)),
    responses(
        (status = 200, description = "What is not the same", body = RevisionDiff),
        (status = 404, description = "There is no such revision", body = ProblemBody, content_type = "application/problem+json")))]
async fn diff(
    State(api): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut query = Query::of(&uri, &["to"]);
    let to = query.count("to");
    query.done()?;
    let current = api.app().catalog.view().revision;
    let from = number(path, current)?;
    let to = to.unwrap_or(current);
    if to > current {
        return Err(no_revision(&to.to_string(), current));
    }
    let differences = differences(&api, from.min(to), from.max(to)).await?;
    let turned = |d: Difference| match from <= to {
        true => d,
        false => Difference { key: d.key, before: d.after, after: d.before },
    };
    let objects = differences.into_iter().map(turned).map(DiffObject::from).collect();
    Ok(write::read(current, &RevisionDiff { from, to, objects }, None))
}

/// Go back to a revision
///
/// Makes the configuration what it was then, as a new revision; nothing of the history is lost.
#[utoipa::path(post, path = "/v1/revisions/{revision}/rollback", operation_id = "rollback", tag = "revisions",
    params(("revision" = u64, Path, description = "Where to"), WriteQuery),
    responses(
        (status = 200, description = "Written", body = ApplyAnswer, headers(
            ("pigeon-revision" = u64), ("pigeon-applied" = String))),
        (status = 202, description = "Written, but a proxy has not applied it in the time given", body = ApplyAnswer),
        (status = 404, description = "There is no such revision", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Others write all the time", body = ProblemBody, content_type = "application/problem+json")))]
async fn rollback(
    State(api): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let intent = Intent::of(&request)?;
    let to = number(path, api.app().catalog.view().revision)?;
    let mut attempts = 0..ATTEMPTS;
    loop {
        let view = api.app().catalog.view();
        let changes = back(&view, differences(&api, to, view.revision).await?)?;
        match intent.clone().at(view.revision).commit(&api, changes, false).await {
            Err(problem) if problem.is(code::MOVED) && attempts.next().is_some() => {}
            done => {
                let done = done?;
                return Ok(done.answer(StatusCode::OK, &ApplyAnswer::of(&done), None, None));
            }
        }
    }
}

async fn differences(api: &ApiState, from: u64, to: u64) -> Result<Vec<Difference>, Problem> {
    let found = api.app().catalog.difference(from, to).await;
    found.map_err(|e| Problem::store(&e))
}

/// The changes that undo `differences`, the newest of which `view` shows.
fn back(view: &View, differences: Vec<Difference>) -> Result<Vec<Change>, Problem> {
    let change = |Difference { key, before, .. }: Difference| match before {
        Some(document) => {
            let object = document::object(document, Some(key.kind)).map_err(|e| e.of(&key))?;
            Ok(Change::Put { object: Box::new(object), expect: Expect::Any })
        }
        None => Ok(Change::Delete { key, expect: Expect::Any }),
    };
    // What the log says was changed but is there no more was removed by hand; it has nothing to remove.
    let there = |d: &Difference| d.before.is_some() || view.objects.contains_key(&d.key);
    differences.into_iter().filter(there).map(change).collect()
}

fn number(path: Result<Path<String>, PathRejection>, current: u64) -> Result<u64, Problem> {
    let Path(text) = path.map_err(|_| Problem::malformed("the path does not decode"))?;
    let number = text.strip_prefix('r').unwrap_or(&text).parse::<u64>();
    match number {
        Ok(n) if (1..=current).contains(&n) => Ok(n),
        _ => Err(no_revision(&text, current)),
    }
}

fn no_revision(asked: &str, current: u64) -> Problem {
    let detail = format!("there is no revision \"{}\"; the newest is {current}", clip(asked));
    let title = "There is no such revision";
    Problem::new(StatusCode::NOT_FOUND, "not-found", title, code::NOT_FOUND, detail)
        .next("pigeon-ctl revision list")
}
