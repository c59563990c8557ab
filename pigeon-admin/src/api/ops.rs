//! What needs no token: health, metrics, the reference, the explanation of codes.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pigeon_proto::model::code::explain;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{Problem, ProblemBody, clip};
use super::{ApiState, code};
use crate::catalog::StoreHealth;

/// The calls of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
        .routes(routes!(openapi))
        .routes(routes!(help))
}

/// Is it alive
///
/// Answers as long as the process can answer at all.
#[utoipa::path(get, path = "/healthz", operation_id = "get_health", tag = "operation",
    responses((status = 200, description = "It is", body = String, example = "ok")))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Is it ready
///
/// Ready means that writes can be stored and proxies can connect.
#[utoipa::path(get, path = "/readyz", operation_id = "get_readiness", tag = "operation",
    responses(
        (status = 200, description = "It is", body = String, example = "ok"),
        (status = 503, description = "It is not, and why", body = ProblemBody, content_type = "application/problem+json")))]
async fn readyz(State(api): State<ApiState>) -> Result<&'static str, Problem> {
    let not_ready = |why: String| {
        let title = "pigeon-admin is not ready";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Problem::new(status, "not-ready", title, code::NOT_READY, why)
    };
    // The port of the config stream is taken before this one answers, and both are given up together.
    if api.app().shutdown.is_cancelled() {
        return Err(not_ready("it is stopping".into()));
    }
    match api.app().catalog.health() {
        StoreHealth::Ok => Ok("ok\n"),
        StoreHealth::CannotWrite { reason } => {
            Err(not_ready(format!("writes cannot be stored: {reason}")))
        }
    }
}

/// Metrics
///
/// In the Prometheus text format.
#[utoipa::path(get, path = "/metrics", operation_id = "get_metrics", tag = "operation",
    responses((status = 200, description = "The metrics", body = String)))]
async fn metrics(State(api): State<ApiState>) -> Response {
    let app = api.app();
    app.metrics.set(&app.gauges());
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], app.metrics.render()).into_response()
}

/// This reference
///
/// As an OpenAPI document.
#[utoipa::path(get, path = "/openapi.json", operation_id = "get_reference", tag = "operation",
    responses((status = 200, description = "The document", body = Object)))]
async fn openapi(State(api): State<ApiState>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], api.reference()).into_response()
}

/// Explain a code
///
/// What an error code means and what to do, as Markdown.
#[utoipa::path(get, path = "/help/{code}", operation_id = "explain_code", tag = "operation",
    params(("code" = String, Path, description = "The code", example = "PGN-R101")),
    responses(
        (status = 200, description = "The explanation", body = String, content_type = "text/markdown"),
        (status = 404, description = "There is no such code", body = ProblemBody, content_type = "application/problem+json")))]
async fn help(path: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let code = path.map(|Path(code)| code).unwrap_or_default();
    let Some(explanation) = explain(&code) else {
        let detail = format!("there is no code \"{}\"; they look like PGN-R101", clip(&code));
        let title = "There is no such code";
        let status = StatusCode::NOT_FOUND;
        return Err(Problem::new(status, "not-found", title, code::NOT_FOUND, detail));
    };
    let kind = HeaderValue::from_static("text/markdown; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], explanation.to_string()).into_response())
}

#[cfg(test)]
mod tests {
    use pigeon_proto::model::code::explanations;

    /// The codes in the constants of a source file.
    fn constants(source: &str) -> Vec<&str> {
        let lines = source.lines().filter(|l| l.starts_with("pub const "));
        lines.filter_map(|l| l.split('"').nth(1)).collect()
    }

    #[test]
    fn every_code_is_explained_once() {
        let mut all = constants(include_str!("code.rs"));
        all.extend(constants(include_str!("../../../proto/src/model/code.rs")));
        assert!(all.len() > 30, "{all:?}");
        for code in all {
            let rows = explanations().filter(|e| e.code == code).count();
            assert_eq!(rows, 1, "rows of {code} in docs/errors.md");
        }
    }
}
