//! The status port: `/healthz`, `/readyz`, `/metrics` and `/state`, for probes, Prometheus and people.
//!
//! It asks for no token, so it tells no secret, and it listens on loopback unless told otherwise.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use pigeon_proto::model::code;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::identity::Identity;
use crate::config::{Connection, Serving, Source};
use crate::gateway::{EndpointUsage, EngineUsage, Gateway};
use crate::metrics::Metrics;
use crate::metrics::config::ConfigMetrics;
use crate::tls::{Shown, ShownCertificate};

/// Content type of the Prometheus text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

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
    draining: AtomicBool,
}

impl Status {
    /// Tells about these.
    pub fn new(
        identity: &Identity,
        gateway: Arc<Gateway>,
        metrics: Metrics,
        config_metrics: ConfigMetrics,
        serving: watch::Receiver<Serving>,
        connection: watch::Receiver<Connection>,
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
            draining: AtomicBool::new(false),
        }
    }

    /// From now on not ready.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
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
        .route("/state", get(state))
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

async fn state(State(status): State<Arc<Status>>) -> Json<Value> {
    let serving = status.serving.borrow().clone();
    let connection = status.connection.borrow().clone();
    let listen: serde_json::Map<String, Value> =
        serving.listen.iter().map(|(n, a)| (n.to_string(), a.to_string().into())).collect();
    let age = (serving.source != Source::None)
        .then(|| status.config_metrics.refresh_age(SystemTime::now()));
    Json(json!({
        "name": status.name,
        "node_id": status.node_id,
        "incarnation": status.incarnation,
        "version": env!("CARGO_PKG_VERSION"),
        "source": serving.source,
        "config_age_seconds": age,
        "revision": serving.received,
        "effective_revision": serving.effective,
        "rejected": serving.rejected,
        "refused": connection.refused,
        "listen": listen,
        "admin": {
            "connected": connection.connected,
            "last_message_at": connection.last_message.and_then(rfc3339),
            "last_error": connection.last_error,
        },
        "draining": status.is_draining(),
        "calls_open": status.gateway.calls_open(),
        "engines": engines(&status.gateway.usage()),
        "tls": tls(&status.gateway.tls_shown()),
    }))
}

/// What is in use and how it does, by the name of the engine.
fn engines(usage: &[EngineUsage]) -> serde_json::Map<String, Value> {
    let endpoint = |e: &EndpointUsage| {
        json!({
            "address": e.address,
            "state": e.state.as_str(),
            "reason": (!e.reason.is_empty()).then_some(&e.reason),
            "in_use": e.in_use,
            "slots": e.slots,
            "calls": e.calls,
            "failures": e.failures,
        })
    };
    let engine = |e: &EngineUsage| {
        let endpoints: Vec<_> = e.endpoints.iter().map(endpoint).collect();
        let (waiting, calls, failures) = (e.waiting, e.calls, e.failures);
        json!({ "waiting": waiting, "calls": calls, "failures": failures, "endpoints": endpoints })
    };
    usage.iter().map(|e| (e.engine.to_string(), engine(e))).collect()
}

/// The certificates of listeners and engines, and what is wrong with their files.
fn tls(shown: &[(String, Shown)]) -> serde_json::Map<String, Value> {
    let certificate = |c: &ShownCertificate| {
        let until = jiff::Timestamp::from_second(c.not_after).map(|at| at.to_string()).ok();
        json!({ "path": c.path, "subject": c.subject, "names": c.names, "not_after": until })
    };
    let object = |(object, shown): &(String, Shown)| {
        let certificates: Vec<_> = shown.certificates.iter().map(certificate).collect();
        (object.clone(), json!({ "certificates": certificates, "error": shown.error }))
    };
    shown.iter().map(object).collect()
}

fn rfc3339(at: SystemTime) -> Option<String> {
    let at = jiff::Timestamp::try_from(at).ok()?;
    Some(at.round(jiff::Unit::Millisecond).ok()?.to_string())
}
