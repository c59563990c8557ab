//! The store: the only place with SQL. SQLite in one file, one connection that writes, a few that read.
//!
//! It keeps what it is told in one transaction per revision and knows no rules about objects; those are the
//! catalog's. Settings and their reasons are in `open.rs`.

mod backup;
mod check;
mod error;
mod open;
mod read;
mod write;

use std::path::PathBuf;

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Connection as _, Executor as _};

pub use backup::{Contents, Restored, backup, restore};
pub use check::{Fault, check};
pub use error::{StoreError, StoreHealth};
pub use write::Batch;

use crate::catalog::{Difference, Revision, View};

/// The one writer of a store.
pub struct Store {
    path: PathBuf,
    /// `None` after a failure: what state such a connection is in is not worth knowing.
    writer: Option<SqliteConnection>,
    readers: SqlitePool,
}

/// Reads from a store beside its writer; clones share a few connections.
#[derive(Clone)]
pub struct StoreReader(SqlitePool);

impl Store {
    /// A handle for reading.
    pub fn reader(&self) -> StoreReader {
        StoreReader(self.readers.clone())
    }

    /// Everything in the store.
    ///
    /// # Errors
    /// It cannot be read, or holds what this version cannot read.
    pub async fn load(&mut self) -> Result<View, StoreError> {
        let conn = self.connected().await?;
        let loaded = read::view(conn).await;
        self.drop_on_failure(loaded)
    }

    /// Makes one revision of `batch`, on disk when this returns.
    ///
    /// # Errors
    /// Nothing was changed, except where the failure hit the commit itself: then [`Store::load`] tells.
    pub async fn commit(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let conn = self.connected().await?;
        let committed = write::commit(conn, batch).await;
        self.drop_on_failure(committed)
    }

    /// Writes, without changing anything, to see whether writing works.
    ///
    /// # Errors
    /// It does not.
    pub async fn probe(&mut self) -> Result<(), StoreError> {
        let conn = self.connected().await?;
        let probed = conn.execute("UPDATE meta SET revision = revision").await;
        self.drop_on_failure(probed.map(|_| ()).map_err(StoreError::from))
    }

    /// Empties the write-ahead log into the database and closes it.
    pub async fn close(mut self) {
        self.readers.close().await;
        let Some(mut conn) = self.writer.take() else { return };
        // Not needed for safety: the next start would read the log. It leaves one whole file behind.
        if let Err(e) = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").await {
            tracing::warn!(error = %e, "could not empty the write-ahead log");
        }
        if let Err(e) = conn.close().await {
            tracing::warn!(error = %e, "could not close the store");
        }
    }

    async fn connected(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        if self.writer.is_none() {
            self.writer = Some(open::writer(&self.path).await?);
        }
        self.writer.as_mut().ok_or(StoreError::Stopped)
    }

    fn drop_on_failure<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.is_err() {
            self.writer = None;
        }
        result
    }
}

impl StoreReader {
    /// Newest first: at most `limit` revisions, all before `before` if it is given.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn revisions(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Revision>, StoreError> {
        read::revisions(&self.0, before, limit).await
    }

    /// The objects that are not the same at revision `to` as at revision `from`, in the order of their keys.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn difference(&self, from: u64, to: u64) -> Result<Vec<Difference>, StoreError> {
        read::difference(&self.0, from, to).await
    }
}
