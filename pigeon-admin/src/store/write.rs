//! Writing: one transaction that makes one revision, its changes and its audit rows.

use pigeon_proto::model::{Key, Name};

use super::db::Value::{Int, MaybeText, Text};
use super::db::{Conn, For, signed};
use super::{StoreError, postgres};
use crate::catalog::{Actor, Changed, Stored};

/// Counting first serialises writers: whoever commits second sees the revision of the first.
const COUNT: &str = "UPDATE meta SET revision = revision + 1 WHERE one = 1 RETURNING revision";

const INSERT: &str = "INSERT INTO resource (kind, name, uid, create_revision, mod_revision, \
     created_ms, updated_ms, updated_by, labels, spec, owner) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

const UPDATE: &str = "UPDATE resource SET mod_revision = $3, updated_ms = $4, updated_by = $5, \
     labels = $6, spec = $7, owner = $9 WHERE kind = $1 AND name = $2 AND mod_revision = $8";

const DELETE: &str = "DELETE FROM resource WHERE kind = $1 AND name = $2 AND mod_revision = $3";

const CHANGE: &str = "INSERT INTO change (revision, seq, kind, name, op, spec) \
     VALUES ($1, $2, $3, $4, $5, $6)";

const AUDIT: &str = "INSERT INTO audit (revision, seq, at_ms, actor, source, action, kind, name, \
     before, after, request_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// One revision to be stored.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The revision it makes: one more than the newest.
    pub revision: u64,
    /// When, Unix time in milliseconds.
    pub at_ms: i64,
    /// Who.
    pub actor: &'a Actor,
    /// What really changes, in order; each object once.
    pub changes: &'a [Changed],
}

/// Begins a transaction beside which nobody else writes.
pub(super) async fn begin(conn: &mut Conn) -> Result<(), StoreError> {
    conn.begin(For::Writing).await?;
    match conn {
        // Has begun with the lock.
        Conn::Sqlite(_) => Ok(()),
        Conn::Postgres(_) => conn.rows("SELECT one FROM meta FOR UPDATE", &[]).await.map(drop),
    }
}

/// Stores `batch` and ends the transaction; on disk when this returns.
pub(super) async fn commit(conn: &mut Conn, batch: &Batch<'_>) -> Result<(), StoreError> {
    apply(conn, batch).await?;
    if let Conn::Postgres(_) = conn {
        postgres::tell(conn, &batch.revision.to_string()).await?;
    }
    conn.commit().await
}

/// The statements of [`commit`], within a transaction.
pub(super) async fn apply(conn: &mut Conn, batch: &Batch<'_>) -> Result<(), StoreError> {
    let revision = conn.row(COUNT, &[]).await?.number(0)?;
    if revision != batch.revision {
        return Err(StoreError::ChangedElsewhere);
    }
    for (seq, change) in (0_i64..).zip(batch.changes) {
        resource(conn, change).await?;
        log(conn, batch, seq, change).await?;
    }
    Ok(())
}

async fn resource(conn: &mut Conn, change: &Changed) -> Result<(), StoreError> {
    let (kind, name) = words(&change.key);
    let (kind, name) = (Text(kind), Text(name));
    let revision = |s: &Stored| Int(signed(s.mod_revision));
    let changed = match (&change.before, &change.after) {
        (None, Some(a)) => {
            let (create, labels, spec) = (signed(a.create_revision), labels(a), spec(a));
            let values = [
                kind,
                name,
                Text(&a.uid),
                Int(create),
                revision(a),
                Int(a.created_ms),
                Int(a.updated_ms),
                Text(&a.updated_by),
                Text(&labels),
                Text(&spec),
                MaybeText(a.owner.as_ref().map(Name::as_str)),
            ];
            conn.execute(INSERT, &values).await?
        }
        (Some(b), Some(a)) => {
            let (labels, spec) = (labels(a), spec(a));
            let values = [
                kind,
                name,
                revision(a),
                Int(a.updated_ms),
                Text(&a.updated_by),
                Text(&labels),
                Text(&spec),
                revision(b),
                MaybeText(a.owner.as_ref().map(Name::as_str)),
            ];
            conn.execute(UPDATE, &values).await?
        }
        (Some(b), None) => conn.execute(DELETE, &[kind, name, revision(b)]).await?,
        (None, None) => return Ok(()),
    };
    match changed {
        1 => Ok(()),
        // The row is not what the catalog holds.
        _ => Err(StoreError::ChangedElsewhere),
    }
}

async fn log(
    conn: &mut Conn,
    batch: &Batch<'_>,
    seq: i64,
    change: &Changed,
) -> Result<(), StoreError> {
    let (kind, name) = words(&change.key);
    let (op, action) = match (&change.before, &change.after) {
        (_, None) => ("del", "delete"),
        (None, Some(_)) => ("put", "create"),
        (Some(_), Some(_)) => ("put", "update"),
    };
    let (revision, seq) = (Int(signed(batch.revision)), Int(seq));
    let spec = change.after.as_deref().map(spec);
    let values = [revision, seq, Text(kind), Text(name), Text(op), MaybeText(spec.as_deref())];
    conn.execute(CHANGE, &values).await?;
    let document = |s: &Stored| s.object.to_json().to_string();
    let before = change.before.as_deref().map(document);
    let after = change.after.as_deref().map(document);
    let values = [
        revision,
        seq,
        Int(batch.at_ms),
        Text(&batch.actor.name),
        Text(&batch.actor.source),
        Text(action),
        Text(kind),
        Text(name),
        MaybeText(before.as_deref()),
        MaybeText(after.as_deref()),
        Text(&batch.actor.request_id),
    ];
    conn.execute(AUDIT, &values).await.map(drop)
}

fn words(key: &Key) -> (&'static str, &str) {
    (key.kind.as_str(), key.name.as_str())
}

fn labels(stored: &Stored) -> String {
    serde_json::json!(stored.object.labels).to_string()
}

fn spec(stored: &Stored) -> String {
    stored.object.spec.to_json().to_string()
}
