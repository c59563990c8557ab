//! Writing: one transaction that makes one revision, its changes and its audit rows.

use pigeon_proto::model::Key;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use super::StoreError;
use crate::catalog::{Actor, Changed, Stored};

/// Counting first serialises writers: whoever commits second sees the revision of the first.
const COUNT: &str = "UPDATE meta SET revision = revision + 1 WHERE one = 1 RETURNING revision";

const INSERT: &str = "INSERT INTO resource (kind, name, uid, create_revision, mod_revision, \
     created_ms, updated_ms, updated_by, labels, spec) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

const UPDATE: &str = "UPDATE resource SET mod_revision = $3, updated_ms = $4, updated_by = $5, \
     labels = $6, spec = $7 WHERE kind = $1 AND name = $2 AND mod_revision = $8";

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

/// Stores `batch`; on disk when this returns.
pub(super) async fn commit(
    conn: &mut SqliteConnection,
    batch: &Batch<'_>,
) -> Result<(), StoreError> {
    // IMMEDIATE takes the write lock at the start, where the busy timeout applies.
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    apply(&mut tx, batch).await?;
    Ok(tx.commit().await?)
}

/// The statements of [`commit`], within a transaction.
pub(super) async fn apply(
    conn: &mut SqliteConnection,
    batch: &Batch<'_>,
) -> Result<(), StoreError> {
    let revision: i64 = sqlx::query(COUNT).fetch_one(&mut *conn).await?.try_get(0)?;
    if revision != signed(batch.revision) {
        return Err(StoreError::ChangedElsewhere);
    }
    for (seq, change) in (0_i64..).zip(batch.changes) {
        resource(conn, change).await?;
        log(conn, batch, seq, change).await?;
    }
    Ok(())
}

async fn resource(conn: &mut SqliteConnection, change: &Changed) -> Result<(), StoreError> {
    let (kind, name) = words(&change.key);
    let query = match (&change.before, &change.after) {
        (None, Some(a)) => sqlx::query(INSERT)
            .bind(kind)
            .bind(name)
            .bind(&a.uid)
            .bind(signed(a.create_revision))
            .bind(signed(a.mod_revision))
            .bind(a.created_ms)
            .bind(a.updated_ms)
            .bind(&a.updated_by)
            .bind(labels(a))
            .bind(spec(a)),
        (Some(b), Some(a)) => sqlx::query(UPDATE)
            .bind(kind)
            .bind(name)
            .bind(signed(a.mod_revision))
            .bind(a.updated_ms)
            .bind(&a.updated_by)
            .bind(labels(a))
            .bind(spec(a))
            .bind(signed(b.mod_revision)),
        (Some(b), None) => sqlx::query(DELETE).bind(kind).bind(name).bind(signed(b.mod_revision)),
        (None, None) => return Ok(()),
    };
    match query.execute(conn).await?.rows_affected() {
        1 => Ok(()),
        // The row is not what the catalog holds.
        _ => Err(StoreError::ChangedElsewhere),
    }
}

async fn log(
    conn: &mut SqliteConnection,
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
    sqlx::query(CHANGE)
        .bind(signed(batch.revision))
        .bind(seq)
        .bind(kind)
        .bind(name)
        .bind(op)
        .bind(change.after.as_deref().map(spec))
        .execute(&mut *conn)
        .await?;
    let document = |s: &Stored| s.object.to_json().to_string();
    sqlx::query(AUDIT)
        .bind(signed(batch.revision))
        .bind(seq)
        .bind(batch.at_ms)
        .bind(&batch.actor.name)
        .bind(&batch.actor.source)
        .bind(action)
        .bind(kind)
        .bind(name)
        .bind(change.before.as_deref().map(document))
        .bind(change.after.as_deref().map(document))
        .bind(&batch.actor.request_id)
        .execute(&mut *conn)
        .await?;
    Ok(())
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

/// SQLite's integers are signed; no revision comes near the end of them.
fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}
