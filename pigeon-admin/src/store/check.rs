//! Whether a store is sound: the file, its tables, every object, and the rules between them.

use std::fmt;
use std::sync::Arc;

use pigeon_proto::model::{FieldError, Snapshot, Versioned, validate};

use super::backup::there;
use super::db::Conn;
use super::{Place, StoreError, read};
use crate::catalog::{Stored, View};

/// Something that is wrong with a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One word for programs: `damaged`, `unreadable`, `rules` or `revision`.
    pub code: &'static str,
    /// What is wrong, for people.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// Revisions that cannot be: changes or objects later than the newest revision.
const LATER: &str = "SELECT 'a change', coalesce(max(revision), 0) FROM change \
     UNION ALL SELECT 'an object', coalesce(max(mod_revision), 0) FROM resource \
     UNION ALL SELECT 'an audit row', coalesce(max(revision), 0) FROM audit";

/// Everything that is wrong with the store at `place`; changes nothing, and may run beside an admin.
///
/// # Errors
/// It cannot be opened at all.
pub async fn check(place: &Place) -> Result<Vec<Fault>, StoreError> {
    if let Place::File(path) = place {
        there(path)?;
    }
    let mut conn = place.reader().await?;
    let mut faults = Vec::new();
    if let Conn::Sqlite(_) = &conn {
        integrity(&mut conn, &mut faults).await?;
    }
    match read::view(&mut conn).await {
        Ok(view) => {
            let errors = validate(&snapshot(&view)).err().unwrap_or_default();
            let broken = |error: &FieldError| Fault { code: "rules", message: error.to_string() };
            faults.extend(errors.0.iter().map(broken));
            revisions(&mut conn, view.revision, &mut faults).await?;
        }
        Err(error) => faults.push(Fault { code: "unreadable", message: error.to_string() }),
    }
    conn.close().await?;
    Ok(faults)
}

fn snapshot(view: &View) -> Snapshot {
    let versioned = |stored: &Stored| Versioned {
        mod_revision: stored.mod_revision,
        spec: Arc::new(stored.object.spec.clone()),
    };
    let objects = view.objects.iter().map(|(key, stored)| (key.clone(), versioned(stored)));
    Snapshot { revision: view.revision, objects: objects.collect() }
}

async fn integrity(conn: &mut Conn, faults: &mut Vec<Fault>) -> Result<(), StoreError> {
    for row in conn.rows("PRAGMA integrity_check(20)", &[]).await? {
        let message = row.text(0)?;
        if message != "ok" {
            faults.push(Fault { code: "damaged", message });
        }
    }
    Ok(())
}

async fn revisions(
    conn: &mut Conn,
    newest: u64,
    faults: &mut Vec<Fault>,
) -> Result<(), StoreError> {
    for row in conn.rows(LATER, &[]).await? {
        let (what, revision) = (row.text(0)?, row.number(1)?);
        if revision > newest {
            let message = format!("{what} is of revision {revision}, the newest is {newest}");
            faults.push(Fault { code: "revision", message });
        }
    }
    Ok(())
}
