//! SQLite: one file, and the settings it is used with.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection as _, Row as _};

use super::StoreError;
use super::db::{Conn, Pool};
use super::open::migration;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");

/// The first without the bug that can damage a database in WAL mode.
const OLDEST: [u32; 3] = [3, 51, 3];

/// How long to wait for another program that holds the database.
const BUSY: Duration = Duration::from_secs(5);

/// SQLite gives its `-wal` and `-shm` the mode of the database, so that is set before it sees the file.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    let mut options = std::fs::OpenOptions::new();
    let made = options.append(true).create(true).mode(0o600).open(path);
    made.map(drop).map_err(|e| StoreError::Disk(e.to_string()))
}

/// A connection for looking only.
pub(super) async fn reader(path: &Path) -> Result<Conn, StoreError> {
    let options = options(path).read_only(true);
    Ok(Conn::Sqlite(SqliteConnection::connect_with(&options).await?))
}

/// A connection for writing.
pub(super) async fn writer(path: &Path) -> Result<Conn, StoreError> {
    connect(path).await.map(Conn::Sqlite)
}

/// The same to a database whose tables are brought to this version first.
pub(super) async fn up_to_date(path: &Path) -> Result<Conn, StoreError> {
    let mut conn = connect(path).await?;
    check_version(&mut conn).await?;
    MIGRATIONS.run(&mut conn).await.map_err(migration)?;
    Ok(Conn::Sqlite(conn))
}

pub(super) fn readers(path: &Path) -> Pool {
    let pool = SqlitePoolOptions::new().max_connections(4).acquire_timeout(BUSY);
    Pool::Sqlite(pool.connect_lazy_with(options(path).read_only(true)))
}

async fn connect(path: &Path) -> Result<SqliteConnection, StoreError> {
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
    parts.as_slice() < OLDEST.as_slice()
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
