//! The status port: `/healthz`, `/readyz`, `/metrics`, `/state`, `/config` and `/log`, for probes, Prometheus and
//! people.
//!
//! It asks for no token, so it tells no secret, and it listens on loopback unless told otherwise.

mod config;
mod guard;
mod log;
mod page;
mod state;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use pigeon_proto::model::code;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::identity::Identity;
use crate::config::{Connection, Serving, Source};
use crate::gateway::Gateway;
use crate::logs::Levels;
use crate::metrics::Metrics;
use crate::metrics::config::ConfigMetrics;

/// Content type of the Prometheus text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The longest body of a request.
const MOST_BODY: usize = 4_096;

/// What the status port tells about.
pub struct Status {
    /// Copied, so that a connection left open does not keep the state directory locked.
    name: String,
    node_id: String,
    incarnation: u64,
    gateway: Arc<Gateway>,
    metrics: Metrics,
    config_metrics: ConfigMetrics,
    serving: watch::Receiver<Serving>,
    connection: watch::Receiver<Connection>,
    started: Instant,
    /// The port listens on loopback alone.
    only_here: bool,
    levels: Option<Levels>,
    draining: AtomicBool,
}

impl Status {
    /// Tells about these; the last: where the port listens, and the level of the log, if that can be changed.
    pub fn new(
        identity: &Identity,
        gateway: Arc<Gateway>,
        metrics: Metrics,
        config_metrics: ConfigMetrics,
        serving: watch::Receiver<Serving>,
        connection: watch::Receiver<Connection>,
        (address, levels): (SocketAddr, Option<Levels>),
    ) -> Self {
        Self {
            name: identity.name.to_string(),
            node_id: identity.node_id.clone(),
            incarnation: identity.incarnation,
            gateway,
            metrics,
            config_metrics,
            serving,
            connection,
            started: Instant::now(),
            only_here: address.ip().is_loopback(),
            levels,
            draining: AtomicBool::new(false),
        }
    }

    /// From now on not ready.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn only_here(&self) -> bool {
        self.only_here
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Why not ready, if so: a word for programs and a sentence for people.
    fn unready(&self) -> Option<(&'static str, String)> {
        if self.is_draining() {
            return Some(("draining", "the proxy is stopping".to_owned()));
        }
        let serving = self.serving.borrow();
        if serving.source == Source::None {
            let why = self.connection.borrow().last_error.clone();
            let why = why.unwrap_or_else(|| "the admin has not answered yet".to_owned());
            return Some(("no_config", format!("there is no configuration: {why}")));
        }
        if serving.listen.is_empty() {
            let deaf = serving.rejected.iter().find(|r| r.code == code::CANNOT_LISTEN);
            let why = deaf.map(|r| format!(": listener {}: {}", r.name, r.message));
            return Some((
                "no_listener",
                format!("no listener is open{}", why.unwrap_or_default()),
            ));
        }
        None
    }
}

/// Answers on `listener` until told to stop.
///
/// # Errors
/// The socket fails.
pub async fn serve(
    listener: TcpListener,
    status: Arc<Status>,
    stop: CancellationToken,
) -> io::Result<()> {
    let serving = axum::serve(listener, router(status)).into_future();
    // Not gracefully: an idle connection of a scraper must not keep the process.
    stop.run_until_cancelled(serving).await.unwrap_or(Ok(()))
}

fn router(status: Arc<Status>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/state", get(state::get))
        .route("/state.css", get(state::style))
        .route("/config", get(config::get))
        .route("/log", get(log::get).put(log::put))
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(from_fn_with_state(Arc::clone(&status), guard::guard))
        .with_state(status)
}

async fn readyz(State(status): State<Arc<Status>>) -> Response {
    let refused = status.connection.borrow().refused.clone();
    match status.unready() {
        None => Json(json!({ "ready": true, "refused": refused })).into_response(),
        Some((reason, message)) => {
            let body =
                json!({ "ready": false, "reason": reason, "message": message, "refused": refused });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

async fn metrics(State(status): State<Arc<Status>>) -> Response {
    status.config_metrics.refresh_age(SystemTime::now());
    ([(header::CONTENT_TYPE, PROMETHEUS)], status.metrics.render()).into_response()
}

/// Whether the answer may be of this kind, by the caller's own word.
fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    headers.get(header::ACCEPT).and_then(|a| a.to_str().ok()).is_some_and(|a| a.contains(kind))
}
