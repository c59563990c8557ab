//! Reading: the whole configuration at the start, and the history for people.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use pigeon_proto::model::{Key, document};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Connection as _, Row as _};

use super::StoreError;
use crate::catalog::{Difference, Revision, RevisionChange, Stored, View};

const META: &str = "SELECT cluster_id, generation, revision FROM meta WHERE one = 1";

const RESOURCES: &str = "SELECT kind, name, uid, create_revision, mod_revision, created_ms, \
     updated_ms, updated_by, labels, spec FROM resource";

const REVISIONS: &str = "SELECT revision, at_ms, actor, source, op, action, c.kind, c.name \
     FROM change AS c JOIN audit AS a USING (revision, seq) \
     WHERE revision IN (SELECT DISTINCT revision FROM change WHERE revision < $1 \
                        ORDER BY revision DESC LIMIT $2) \
     ORDER BY revision DESC, seq";

const BETWEEN: &str = "SELECT kind, name, before, after FROM audit \
     WHERE revision > $1 AND revision <= $2 ORDER BY revision, seq";

/// Everything, as of one moment.
pub(super) async fn view(conn: &mut SqliteConnection) -> Result<View, StoreError> {
    let mut tx = conn.begin().await?;
    let meta = sqlx::query(META).fetch_one(&mut *tx).await?;
    let rows = sqlx::query(RESOURCES).fetch_all(&mut *tx).await?;
    tx.rollback().await?;
    let objects: Result<BTreeMap<Key, Arc<Stored>>, StoreError> =
        rows.iter().map(|row| stored(row).map(|s| (s.object.key.clone(), Arc::new(s)))).collect();
    Ok(View {
        cluster_id: meta.try_get(0)?,
        generation: number(&meta, 1)?,
        revision: number(&meta, 2)?,
        objects: objects?,
    })
}

fn stored(row: &SqliteRow) -> Result<Stored, StoreError> {
    let (kind, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let unreadable = |why: String| StoreError::Unreadable { object: format!("{kind}/{name}"), why };
    let parse =
        |text: String| serde_json::from_str::<Value>(&text).map_err(|e| unreadable(e.to_string()));
    let document = json!({
        "kind": kind,
        "name": name,
        "labels": parse(row.try_get(8)?)?,
        "spec": parse(row.try_get(9)?)?,
    });
    Ok(Stored {
        object: document::object(document, None).map_err(|e| unreadable(e.to_string()))?,
        uid: row.try_get(2)?,
        create_revision: number(row, 3)?,
        mod_revision: number(row, 4)?,
        created_ms: row.try_get(5)?,
        updated_ms: row.try_get(6)?,
        updated_by: row.try_get(7)?,
    })
}

/// Revisions and generations are never negative.
fn number(row: &SqliteRow, column: usize) -> Result<u64, StoreError> {
    let n: i64 = row.try_get(column)?;
    u64::try_from(n).map_err(|_| StoreError::Unreadable {
        object: "a revision".into(),
        why: format!("{n} is negative"),
    })
}

/// See [`super::StoreReader::difference`].
pub(super) async fn difference(
    pool: &SqlitePool,
    from: u64,
    to: u64,
) -> Result<Vec<Difference>, StoreError> {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let mut rows = sqlx::query(BETWEEN).bind(signed(from)).bind(signed(to)).fetch(pool);
    let mut all: BTreeMap<(String, String), [Option<String>; 2]> = BTreeMap::new();
    while let Some(row) = rows.try_next().await? {
        let (key, before) = ((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?);
        // What was before the first change, and what is after the last.
        all.entry(key).or_insert([before, None])[1] = row.try_get(3)?;
    }
    let changed = all.into_iter().filter(|(_, [before, after])| before != after);
    changed.map(|((kind, name), sides)| side_by_side(&kind, &name, sides)).collect()
}

fn side_by_side(
    kind: &str,
    name: &str,
    [before, after]: [Option<String>; 2],
) -> Result<Difference, StoreError> {
    let unreadable = |why: String| StoreError::Unreadable { object: format!("{kind}/{name}"), why };
    let parse = |text: Option<String>| {
        let parsed = text.map(|text| serde_json::from_str::<Value>(&text)).transpose();
        parsed.map_err(|e| unreadable(e.to_string()))
    };
    let key = Key {
        kind: kind.parse().map_err(|e| unreadable(format!("{e}")))?,
        name: name.parse().map_err(|e| unreadable(format!("{e}")))?,
    };
    Ok(Difference { key, before: parse(before)?, after: parse(after)? })
}

/// See [`super::StoreReader::revisions`].
pub(super) async fn revisions(
    pool: &SqlitePool,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<Revision>, StoreError> {
    let before = before.and_then(|b| i64::try_from(b).ok()).unwrap_or(i64::MAX);
    let rows = sqlx::query(REVISIONS).bind(before).bind(limit).fetch_all(pool).await?;
    let mut revisions: Vec<Revision> = Vec::new();
    for row in &rows {
        let revision = number(row, 0)?;
        if revisions.last().is_none_or(|r| r.revision != revision) {
            let (at_ms, actor) = (row.try_get(1)?, row.try_get(2)?);
            let source = row.try_get(3)?;
            revisions.push(Revision { revision, at_ms, actor, source, changes: Vec::new() });
        }
        let change = RevisionChange {
            op: row.try_get(4)?,
            action: row.try_get(5)?,
            kind: row.try_get(6)?,
            name: row.try_get(7)?,
        };
        if let Some(last) = revisions.last_mut() {
            last.changes.push(change);
        }
    }
    Ok(revisions)
}
