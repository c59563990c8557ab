//! `GET /v1/summary`: all that the first page of the dashboard needs, in one answer.

use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use pigeon_proto::model::Kind;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Problem;
use super::types::{EngineObject, Proxy, Representation, RevisionEntry, RouteObject};
use super::{ApiState, body, objects, query};
use crate::catalog::{StoreError, StoreHealth};

/// How many objects of a kind a summary names; `totals` has the whole number.
const MOST: usize = 1_000;
/// How many revisions.
const RECENT: u32 = 10;

/// The calls of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(get))
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    version: &'a str,
    store: StoreState,
    totals: Totals,
    proxies: Vec<Proxy>,
    engines: Vec<Representation<'a>>,
    routes: Vec<Representation<'a>>,
    recent: Vec<RevisionEntry>,
}

/// Whether writes can be stored.
#[derive(Serialize, ToSchema)]
pub struct StoreState {
    /// They can.
    writable: bool,
    /// Why not; null if they can.
    #[schema(required = true)]
    reason: Option<String>,
}

impl StoreState {
    fn of(health: StoreHealth) -> Self {
        match health {
            StoreHealth::Ok => Self { writable: true, reason: None },
            StoreHealth::CannotWrite { reason } => Self { writable: false, reason: Some(reason) },
        }
    }
}

/// How many there are.
#[derive(Serialize, ToSchema)]
pub struct Totals {
    /// Listeners.
    listeners: usize,
    /// Engines.
    engines: usize,
    /// Routes.
    routes: usize,
    /// Tenants.
    tenants: usize,
    /// Proxies heard of.
    proxies: usize,
}

/// The whole system at a glance.
#[allow(dead_code)] // The schema of `Answer`.
#[derive(ToSchema)]
pub struct Summary {
    /// The revision of the configuration.
    revision: u64,
    /// The version of pigeon-admin.
    version: String,
    /// Whether writes can be stored.
    store: StoreState,
    /// How many there are of each.
    totals: Totals,
    /// The first 1000 proxies.
    proxies: Vec<Proxy>,
    /// The first 1000 engines.
    engines: Vec<EngineObject>,
    /// The first 1000 routes.
    routes: Vec<RouteObject>,
    /// The last ten revisions.
    recent: Vec<RevisionEntry>,
}

/// Everything at a glance
///
/// Proxies, engines with their use, routes and the last changes.
#[utoipa::path(get, path = "/v1/summary", operation_id = "get_summary", tag = "summary",
    responses((status = 200, description = "The summary", body = Summary)))]
async fn get(State(api): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    query::none(&uri)?;
    let text = text(&api).await.map_err(|e| Problem::store(&e))?;
    let json = HeaderValue::from_static(body::JSON);
    Ok(([(header::CONTENT_TYPE, json)], text).into_response())
}

/// The summary of now, as JSON.
///
/// # Errors
/// The store cannot be read.
pub async fn text(api: &ApiState) -> Result<String, StoreError> {
    let app = api.app();
    let recent = app.catalog.revisions(None, RECENT).await?;
    let (view, usage, proxies) = (app.catalog.view(), app.proxies.usage(), app.proxies.list());
    let count = |kind| objects::of_kind(&view, kind).count();
    let first = |kind| {
        let objects = objects::of_kind(&view, kind).take(MOST);
        objects.map(|s| Representation::of(s, &usage)).collect()
    };
    let totals = Totals {
        listeners: count(Kind::Listener),
        engines: count(Kind::Engine),
        routes: count(Kind::Route),
        tenants: count(Kind::Tenant),
        proxies: proxies.len(),
    };
    let answer = Answer {
        revision: view.revision,
        version: app.version,
        store: StoreState::of(app.catalog.health()),
        totals,
        proxies: proxies.into_iter().take(MOST).map(|p| Proxy::of(p, view.revision)).collect(),
        engines: first(Kind::Engine),
        routes: first(Kind::Route),
        recent: recent.into_iter().map(RevisionEntry::from).collect(),
    };
    // Only maps with keys that are not text fail to be written; there are none.
    Ok(serde_json::to_string(&answer).unwrap_or_default())
}
