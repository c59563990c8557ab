//! Opening the store: settings, version check, migrations, and what the first start puts in.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pigeon_proto::model::{Key, Kind, Listener, Name, Object, Spec};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection as _, Row as _};

use super::write::{self, Batch};
use super::{Store, StoreError};
use crate::catalog::{Actor, Changed, Stored};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");

/// The first without the bug that can damage a database in WAL mode.
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// How long to wait for another program that holds the database.
const BUSY: Duration = Duration::from_secs(5);

impl Store {
    /// Opens `path`, made if missing, and brings its tables to this version.
    ///
    /// # Errors
    /// It cannot be opened or written, is damaged, or was made by a newer version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        create(path).map_err(|e| StoreError::Disk(e.to_string()))?;
        let mut conn = writer(path).await?;
        check_version(&mut conn).await?;
        MIGRATIONS.run(&mut conn).await.map_err(migration)?;
        seed(&mut conn).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(BUSY)
            .connect_lazy_with(options(path).read_only(true));
        Ok(Self { path: path.to_owned(), writer: Some(conn), readers })
    }
}

/// SQLite gives its `-wal` and `-shm` the mode of the database, so that is set before it sees the file.
fn create(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(path).map(|_| ())
}

/// A connection for looking only.
pub(super) async fn reader(path: &Path) -> Result<SqliteConnection, StoreError> {
    Ok(SqliteConnection::connect_with(&options(path).read_only(true)).await?)
}

/// A connection for writing.
pub(super) async fn writer(path: &Path) -> Result<SqliteConnection, StoreError> {
    let options = options(path)
        .journal_mode(SqliteJournalMode::Wal)
        // With WAL anything less may lose the last commits when the power goes.
        .synchronous(SqliteSynchronous::Full)
        .pragma("journal_size_limit", "67108864");
    Ok(SqliteConnection::connect_with(&options).await?)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        // Views and triggers that somebody slipped in must not run functions with side effects.
        .pragma("trusted_schema", "OFF")
}

async fn check_version(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT sqlite_version()").fetch_one(conn).await?;
    let version: String = row.try_get(0)?;
    if is_old(&version) { Err(StoreError::OldSqlite(version)) } else { Ok(()) }
}

fn is_old(version: &str) -> bool {
    let parts: Vec<u32> = version.split('.').map(|p| p.parse().unwrap_or(0)).collect();
    parts.as_slice() < OLDEST_SQLITE.as_slice()
}

fn migration(e: MigrateError) -> StoreError {
    match e {
        MigrateError::VersionMissing(n) => StoreError::TooNew(n),
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => e.into(),
        other => StoreError::Other(other.to_string()),
    }
}

/// At the very first start: an identity, and a listener so that there is something to call.
async fn seed(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    let known = sqlx::query("SELECT 1 FROM meta").fetch_optional(&mut *tx).await?;
    if known.is_some() {
        return Ok(tx.rollback().await?);
    }
    sqlx::query("INSERT INTO meta (one, cluster_id, generation, revision) VALUES (1, $1, 1, 0)")
        .bind(uuid::Uuid::new_v4().to_string())
        .execute(&mut *tx)
        .await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let at_ms = i64::try_from(now).unwrap_or(i64::MAX);
    let actor = Actor { name: "system".into(), ..Actor::default() };
    let changes = [standard_listener(at_ms)?];
    write::apply(&mut tx, &Batch { revision: 1, at_ms, actor: &actor, changes: &changes }).await?;
    Ok(tx.commit().await?)
}

fn standard_listener(at_ms: i64) -> Result<Changed, StoreError> {
    let name: Name = "default".parse().map_err(|e| StoreError::Other(format!("{e}")))?;
    let key = Key { kind: Kind::Listener, name };
    let spec = Spec::Listener(Listener::standard());
    let stored = Stored {
        object: Object { key: key.clone(), labels: Default::default(), spec },
        uid: uuid::Uuid::now_v7().to_string(),
        create_revision: 1,
        mod_revision: 1,
        created_ms: at_ms,
        updated_ms: at_ms,
        updated_by: "system".into(),
    };
    Ok(Changed { key, before: None, after: Some(Arc::new(stored)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_with_the_wal_bug_is_refused() {
        for old in ["3.7.0", "3.51.2", "3.51", "3.8.11", "2.99.99", "", "x"] {
            assert!(is_old(old), "{old}");
        }
        for good in ["3.51.3", "3.51.10", "3.52.0", "4.0.0", "3.51.3.1"] {
            assert!(!is_old(good), "{good}");
        }
    }
}
