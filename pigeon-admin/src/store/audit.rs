//! Who changed what, for people.

use serde_json::Value as Json;

use super::StoreError;
use super::db::{Pool, Row, Value, signed};
use crate::catalog::{AuditEvent, AuditFilter};

/// The events that pass a filter; what is NULL excludes none.
macro_rules! events {
    ($order:literal) => {
        concat!(
            "SELECT id, revision, at_ms, actor, source, action, kind, name, request_id, before, after \
             FROM audit WHERE id < $1 AND id > $2 AND at_ms >= $3 \
             AND ($4 IS NULL OR actor = $4) AND ($5 IS NULL OR kind = $5) \
             AND ($6 IS NULL OR name = $6) AND ($7 IS NULL OR action = $7) ORDER BY id ",
            $order,
            " LIMIT $8"
        )
    };
}
const NEWEST: &str = events!("DESC");
const FOLLOWING: &str = events!("ASC");

/// See [`super::StoreReader::audit`].
pub(super) async fn events(
    pool: &Pool,
    filter: &AuditFilter,
    limit: u32,
) -> Result<Vec<AuditEvent>, StoreError> {
    let values = [
        Value::Int(filter.before.map_or(i64::MAX, signed)),
        Value::Int(filter.after.map_or(0, signed)),
        Value::Int(filter.since_ms.unwrap_or(i64::MIN)),
        Value::MaybeText(filter.actor.as_deref()),
        Value::MaybeText(filter.kind.as_deref()),
        Value::MaybeText(filter.name.as_deref()),
        Value::MaybeText(filter.action.as_deref()),
        Value::Int(limit.into()),
    ];
    let sql = if filter.after.is_some() { FOLLOWING } else { NEWEST };
    pool.rows(sql, &values).await?.iter().map(event).collect()
}

fn event(row: &Row) -> Result<AuditEvent, StoreError> {
    let (kind, name) = (row.text(6)?, row.text(7)?);
    let document = |text: Option<String>| {
        let parsed = text.map(|text| serde_json::from_str::<Json>(&text)).transpose();
        let object = || format!("{kind}/{name}");
        parsed.map_err(|e| StoreError::Unreadable { object: object(), why: e.to_string() })
    };
    let (before, after) = (document(row.maybe_text(9)?)?, document(row.maybe_text(10)?)?);
    Ok(AuditEvent {
        id: row.number(0)?,
        revision: row.maybe_int(1)?.and_then(|revision| u64::try_from(revision).ok()),
        at_ms: row.int(2)?,
        actor: row.text(3)?,
        source: row.text(4)?,
        action: row.text(5)?,
        request_id: row.text(8)?,
        kind,
        name,
        before,
        after,
    })
}
