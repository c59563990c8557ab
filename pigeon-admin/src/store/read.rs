//! Reading: the configuration at the start and after others have written, and the history for people.

use std::collections::BTreeMap;
use std::sync::Arc;

use pigeon_proto::model::{Key, document};
use serde_json::{Value as Json, json};

use super::StoreError;
use super::db::{Conn, For, Pool, Row, Value, signed};
use crate::catalog::{Difference, Revision, RevisionChange, Stored, View};

const META: &str = "SELECT cluster_id, generation, revision FROM meta WHERE one = 1";

/// Everything is newer than revision 0.
const RESOURCES: &str = "SELECT kind, name, uid, create_revision, mod_revision, created_ms, \
     updated_ms, updated_by, labels, spec, owner FROM resource WHERE mod_revision > $1";

const REMOVED: &str = "SELECT kind, name FROM change WHERE revision > $1 AND op = 'del'";

const REVISIONS: &str = "SELECT revision, at_ms, actor, source, op, action, c.kind, c.name \
     FROM change AS c JOIN audit AS a USING (revision, seq) \
     WHERE revision IN (SELECT DISTINCT revision FROM change WHERE revision < $1 \
                        ORDER BY revision DESC LIMIT $2) \
     ORDER BY revision DESC, seq";

/// Of each object what was before its first change, and what is after its last.
const BETWEEN: &str = "SELECT kind, name, before, after FROM \
     (SELECT kind, name, before, after, revision, seq, \
        row_number() OVER (PARTITION BY kind, name ORDER BY revision, seq) AS nth, \
        row_number() OVER (PARTITION BY kind, name ORDER BY revision DESC, seq DESC) AS nth_last \
      FROM audit WHERE revision > $1 AND revision <= $2) AS changed \
     WHERE nth = 1 OR nth_last = 1 ORDER BY revision, seq";

const MADE: &str = "SELECT 1 FROM audit WHERE revision = $1 AND request_id = $2";

/// Everything, as of one moment.
pub(super) async fn view(conn: &mut Conn) -> Result<View, StoreError> {
    conn.begin(For::Reading).await?;
    let meta = conn.row(META, &[]).await?;
    let rows = conn.rows(RESOURCES, &[Value::Int(0)]).await?;
    conn.rollback().await?;
    of_meta(&meta, objects(&rows)?)
}

/// What `had` has become since, within a transaction.
pub(super) async fn since(conn: &mut Conn, had: &View) -> Result<View, StoreError> {
    let from = [Value::Int(signed(had.revision))];
    let meta = conn.row(META, &[]).await?;
    let removed = conn.rows(REMOVED, &from).await?;
    let rows = conn.rows(RESOURCES, &from).await?;
    let mut all = had.objects.clone();
    for row in &removed {
        all.remove(&key(&row.text(0)?, &row.text(1)?)?);
    }
    // Also those that were removed and made anew.
    all.extend(objects(&rows)?);
    of_meta(&meta, all)
}

/// The generation and the newest revision.
pub(super) async fn newest(conn: &mut Conn) -> Result<(u64, u64), StoreError> {
    let meta = conn.row(META, &[]).await?;
    Ok((meta.number(1)?, meta.number(2)?))
}

/// Whether this revision was made by this request.
pub(super) async fn was_made(
    conn: &mut Conn,
    revision: u64,
    request_id: &str,
) -> Result<bool, StoreError> {
    let values = [Value::Int(signed(revision)), Value::Text(request_id)];
    Ok(!conn.rows(MADE, &values).await?.is_empty())
}

type Objects = BTreeMap<Key, Arc<Stored>>;

fn of_meta(meta: &Row, objects: Objects) -> Result<View, StoreError> {
    let (generation, revision) = (meta.number(1)?, meta.number(2)?);
    Ok(View { cluster_id: meta.text(0)?, generation, revision, objects })
}

fn objects(rows: &[Row]) -> Result<Objects, StoreError> {
    rows.iter().map(|row| stored(row).map(|s| (s.object.key.clone(), Arc::new(s)))).collect()
}

fn stored(row: &Row) -> Result<Stored, StoreError> {
    let (kind, name) = (row.text(0)?, row.text(1)?);
    let unreadable = |why: String| StoreError::Unreadable { object: format!("{kind}/{name}"), why };
    let owner = row.maybe_text(10)?.map(|name| name.parse()).transpose();
    let parse =
        |text: String| serde_json::from_str::<Json>(&text).map_err(|e| unreadable(e.to_string()));
    let document = json!({
        "kind": kind,
        "name": name,
        "labels": parse(row.text(8)?)?,
        "spec": parse(row.text(9)?)?,
    });
    Ok(Stored {
        object: document::object(document, None).map_err(|e| unreadable(e.to_string()))?,
        uid: row.text(2)?,
        create_revision: row.number(3)?,
        mod_revision: row.number(4)?,
        created_ms: row.int(5)?,
        updated_ms: row.int(6)?,
        updated_by: row.text(7)?,
        owner: owner.map_err(|e| unreadable(format!("{e}")))?,
    })
}

fn key(kind: &str, name: &str) -> Result<Key, StoreError> {
    let unreadable = |why: String| StoreError::Unreadable { object: format!("{kind}/{name}"), why };
    Ok(Key {
        kind: kind.parse().map_err(|e| unreadable(format!("{e}")))?,
        name: name.parse().map_err(|e| unreadable(format!("{e}")))?,
    })
}

/// See [`super::StoreReader::difference`].
pub(super) async fn difference(
    pool: &Pool,
    from: u64,
    to: u64,
) -> Result<Vec<Difference>, StoreError> {
    let values = [Value::Int(signed(from)), Value::Int(signed(to))];
    let mut all: BTreeMap<(String, String), [Option<String>; 2]> = BTreeMap::new();
    for row in pool.rows(BETWEEN, &values).await? {
        let (key, before) = ((row.text(0)?, row.text(1)?), row.maybe_text(2)?);
        all.entry(key).or_insert([before, None])[1] = row.maybe_text(3)?;
    }
    let changed = all.into_iter().filter(|(_, [before, after])| before != after);
    changed.map(|((kind, name), sides)| side_by_side(&kind, &name, sides)).collect()
}

fn side_by_side(
    kind: &str,
    name: &str,
    [before, after]: [Option<String>; 2],
) -> Result<Difference, StoreError> {
    let parse = |text: Option<String>| {
        let parsed = text.map(|text| serde_json::from_str::<Json>(&text)).transpose();
        let object = || format!("{kind}/{name}");
        parsed.map_err(|e| StoreError::Unreadable { object: object(), why: e.to_string() })
    };
    Ok(Difference { key: key(kind, name)?, before: parse(before)?, after: parse(after)? })
}

/// See [`super::StoreReader::revisions`].
pub(super) async fn revisions(
    pool: &Pool,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<Revision>, StoreError> {
    let before = before.map_or(i64::MAX, signed);
    let rows = pool.rows(REVISIONS, &[Value::Int(before), Value::Int(limit.into())]).await?;
    let mut revisions: Vec<Revision> = Vec::new();
    for row in &rows {
        let revision = row.number(0)?;
        if revisions.last().is_none_or(|r| r.revision != revision) {
            let (at_ms, actor, source) = (row.int(1)?, row.text(2)?, row.text(3)?);
            revisions.push(Revision { revision, at_ms, actor, source, changes: Vec::new() });
        }
        let (op, action) = (row.text(4)?, row.text(5)?);
        let change = RevisionChange { op, action, kind: row.text(6)?, name: row.text(7)? };
        if let Some(last) = revisions.last_mut() {
            last.changes.push(change);
        }
    }
    Ok(revisions)
}
