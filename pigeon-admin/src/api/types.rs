//! The JSON of the answers that several files share, and how it is made from the catalog and the proxies.

mod object;
mod proxy;
mod status;

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

pub use object::{
    EngineBody, EngineObject, EnginePage, EnginePatch, ListenerBody, ListenerObject, ListenerPage,
    ListenerPatch, Representation, RouteBody, RouteObject, RoutePage, RoutePatch, TenantBody,
    TenantObject, TenantPage, TenantPatch,
};
pub use proxy::{Applied, Proxy};
pub use status::EndpointStatus;

use crate::catalog::{AuditEvent, Revision, RevisionChange};

/// One page of a list.
#[derive(Serialize)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// The token of the next page; `None` on the last.
    pub next_page_token: Option<String>,
    /// The revision of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// One revision: who changed what and when.
#[derive(Serialize, ToSchema)]
#[schema(as = Revision)]
pub struct RevisionEntry {
    /// Its number.
    revision: u64,
    /// When. RFC 3339, UTC.
    at: String,
    /// Who.
    actor: String,
    /// From which IP address.
    source: String,
    /// Every object it changed.
    changes: Vec<RevisionChangeEntry>,
}

/// One object that a revision changed.
#[derive(Serialize, ToSchema)]
#[schema(as = RevisionChange)]
pub struct RevisionChangeEntry {
    /// `put` or `del`: what proxies were told.
    op: String,
    /// `create`, `update` or `delete`.
    action: String,
    /// The kind of the object.
    kind: String,
    /// Its name.
    name: String,
}

impl From<Revision> for RevisionEntry {
    fn from(r: Revision) -> Self {
        let change = |RevisionChange { op, action, kind, name }| RevisionChangeEntry {
            op,
            action,
            kind,
            name,
        };
        Self {
            revision: r.revision,
            at: time(r.at_ms),
            actor: r.actor,
            source: r.source,
            changes: r.changes.into_iter().map(change).collect(),
        }
    }
}

/// One object that somebody changed, and how.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEvent)]
pub struct AuditEntry {
    /// Grows with every event.
    id: u64,
    /// The revision that it is part of; null for what is no part of the configuration, such as tokens.
    #[schema(required = true)]
    revision: Option<u64>,
    /// When. RFC 3339, UTC.
    at: String,
    /// Who.
    actor: String,
    /// From which IP address.
    source: String,
    /// `create`, `update` or `delete`.
    action: String,
    /// The kind of the object.
    kind: String,
    /// Its name.
    name: String,
    /// Of the request: it stands in the log and in the answer, too.
    request_id: String,
    /// Its document before; null if it did not exist.
    #[schema(required = true, value_type = Option<Object>)]
    before: Option<serde_json::Value>,
    /// Its document after; null if it was removed.
    #[schema(required = true, value_type = Option<Object>)]
    after: Option<serde_json::Value>,
}

impl From<AuditEvent> for AuditEntry {
    fn from(event: AuditEvent) -> Self {
        let AuditEvent { id, revision, actor, source, action, kind, name, request_id, .. } = event;
        let (at, before, after) = (time(event.at_ms), event.before, event.after);
        Self { id, revision, at, actor, source, action, kind, name, request_id, before, after }
    }
}

/// Now, Unix time in milliseconds.
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A moment, given as Unix time in milliseconds, in RFC 3339, UTC.
pub fn time(ms: i64) -> String {
    // Only times many thousand years away are no timestamps.
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
