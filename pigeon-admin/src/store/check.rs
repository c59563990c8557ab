//! Whether a store is sound: the file, its tables, every object, and the rules between them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use pigeon_proto::model::{FieldError, Snapshot, Versioned, validate};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use super::backup::there;
use super::{StoreError, open, read};
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
const LATER: &str = "SELECT 'a change', max(revision) FROM change \
     UNION ALL SELECT 'an object', max(mod_revision) FROM resource \
     UNION ALL SELECT 'an audit row', max(revision) FROM audit";

/// Everything that is wrong with the store at `path`; changes nothing, and may run beside an admin.
///
/// # Errors
/// It cannot be opened at all.
pub async fn check(path: &Path) -> Result<Vec<Fault>, StoreError> {
    there(path)?;
    let mut conn = open::reader(path).await?;
    let mut faults = Vec::new();
    integrity(&mut conn, &mut faults).await?;
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

async fn integrity(conn: &mut SqliteConnection, faults: &mut Vec<Fault>) -> Result<(), StoreError> {
    for row in sqlx::query("PRAGMA integrity_check(20)").fetch_all(&mut *conn).await? {
        let message: String = row.try_get(0)?;
        if message != "ok" {
            faults.push(Fault { code: "damaged", message });
        }
    }
    Ok(())
}

async fn revisions(
    conn: &mut SqliteConnection,
    newest: u64,
    faults: &mut Vec<Fault>,
) -> Result<(), StoreError> {
    for row in sqlx::query(LATER).fetch_all(&mut *conn).await? {
        let (what, revision): (String, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
        let revision = revision.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        if revision > newest {
            let message = format!("{what} is of revision {revision}, the newest is {newest}");
            faults.push(Fault { code: "revision", message });
        }
    }
    Ok(())
}
