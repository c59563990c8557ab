//! The REST API: one file per noun, and what surrounds every call. docs/rest.md says how it behaves; the
//! reference (`/openapi.json`, docs/openapi.json) is made from the calls themselves.
//!
//! A call passes the frame (`frame.rs`: id, time limit, metrics, problems), then the guard (`auth.rs`: who
//! is it), then its handler.

mod apply;
mod audit;
mod auth;
mod body;
mod code;
mod conditions;
mod endpoints;
mod error;
mod frame;
mod objects;
mod ops;
mod proxies;
mod query;
mod reference;
mod revisions;
mod route_tests;
mod sessions;
mod stream;
mod summary;
mod tenant_keys;
mod tokens;
mod types;
mod write;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use tokio::sync::Semaphore;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::app::AppState;
use crate::ui;
use error::{Problem, clip};

/// What handlers work with; clones share everything.
#[derive(Clone)]
struct ApiState(Arc<Shared>);

struct Shared {
    app: AppState,
    sessions: auth::Sessions,
    failures: auth::FailureLimit,
    streams: Arc<Semaphore>,
    reference: Bytes,
}

impl ApiState {
    fn app(&self) -> &AppState {
        &self.0.app
    }

    fn sessions(&self) -> &auth::Sessions {
        &self.0.sessions
    }

    fn failures(&self) -> &auth::FailureLimit {
        &self.0.failures
    }

    fn streams(&self) -> &Arc<Semaphore> {
        &self.0.streams
    }

    fn reference(&self) -> Bytes {
        self.0.reference.clone()
    }
}

/// Every call of the API and the dashboard's files.
pub fn router(state: AppState) -> Router {
    let (router, document) = documented();
    let api = ApiState(Arc::new(Shared {
        app: state,
        sessions: auth::Sessions::default(),
        failures: auth::FailureLimit::new(Instant::now()),
        streams: Arc::new(Semaphore::new(stream::MOST)),
        reference: reference_text(&document).into(),
    }));
    router
        .merge(ui::router())
        .fallback(no_such_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(api.clone(), auth::guard))
        .layer(from_fn_with_state(api.clone(), frame::frame))
        .with_state(api)
}

/// The reference as it is served and as docs/openapi.json has it.
pub fn reference() -> String {
    reference_text(&documented().1)
}

fn reference_text(document: &OpenApi) -> String {
    // Only maps with keys that are not text fail to be written; there are none.
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

fn documented() -> (Router<ApiState>, OpenApi) {
    let (router, document) = OpenApiRouter::with_openapi(reference::head())
        .merge(objects::routes())
        .merge(endpoints::routes())
        .merge(tenant_keys::routes())
        .merge(apply::routes())
        .merge(revisions::routes())
        .merge(audit::routes())
        .merge(proxies::routes())
        .merge(summary::routes())
        .merge(stream::routes())
        .merge(route_tests::routes())
        .merge(sessions::routes())
        .merge(tokens::routes())
        .merge(ops::routes())
        .split_for_parts();
    (router, reference::complete(document))
}

async fn no_such_path(request: Request) -> Problem {
    let path = request.uri().path();
    let detail = format!("there is nothing at {}; /openapi.json lists every path", clip(path));
    let title = "There is nothing at this path";
    Problem::new(StatusCode::NOT_FOUND, "no-such-path", title, code::NO_SUCH_PATH, detail)
}

async fn method_not_allowed(request: Request) -> Problem {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let detail = format!(
        "{} is not a method of {}; the header Allow lists those that are",
        clip(method),
        clip(path)
    );
    let title = "This method is not taken here";
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Problem::new(status, "method-not-allowed", title, code::METHOD_NOT_ALLOWED, detail)
}
