//! The store: the only place with SQL. SQLite in one file, or Postgres for several admins; one connection that
//! writes, a few that read.
//!
//! It keeps what it is told in one transaction per revision and knows no rules about objects; those are the
//! catalog's. Settings and their reasons are in `sqlite.rs` and `postgres.rs`; all else is one code for both, over
//! `db.rs`.

mod audit;
mod backup;
mod check;
mod db;
mod error;
mod open;
mod postgres;
mod read;
mod sqlite;
mod tables;
mod token;
mod write;

pub use backup::{Contents, Restored, backup, restore};
pub use check::{Fault, check};
pub use error::{StoreError, StoreHealth};
pub use open::Place;
pub use postgres::{Follower, PostgresUrl};
pub use token::TokenChange;
pub use write::Batch;

use self::db::{Conn, For, Pool};
use crate::access::Tokens;
use crate::catalog::{Actor, AuditEvent, AuditFilter, Difference, Revision, View};

/// The one writer of a store.
pub struct Store {
    place: Place,
    /// `None` after a failure: what state such a connection is in is not worth knowing.
    writer: Option<Conn>,
    /// Its transaction has begun.
    locked: bool,
    readers: Pool,
}

/// Reads from a store beside its writer; clones share a few connections.
#[derive(Clone)]
pub struct StoreReader(Pool);

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

    /// What `had` has become since; only what is new is read.
    ///
    /// # Errors
    /// It cannot be read, or holds what this version cannot read.
    pub async fn since(&mut self, had: &View) -> Result<View, StoreError> {
        let conn = self.connected().await?;
        let loaded = async {
            conn.begin(For::Reading).await?;
            let view = read::since(conn, had).await?;
            conn.rollback().await.map(|()| view)
        };
        let loaded = loaded.await;
        self.drop_on_failure(loaded)
    }

    /// The same, and nobody else writes until [`Store::commit`] or [`Store::unlock`].
    ///
    /// # Errors
    /// It cannot be read; then it is not locked either.
    pub async fn lock(&mut self, had: &View) -> Result<View, StoreError> {
        let conn = self.connected().await?;
        let locked = async {
            write::begin(conn).await?;
            read::since(conn, had).await
        };
        let locked = locked.await;
        self.locked = locked.is_ok();
        self.drop_on_failure(locked)
    }

    /// Ends what [`Store::lock`] began.
    pub async fn unlock(&mut self) {
        if std::mem::take(&mut self.locked)
            && let Some(conn) = &mut self.writer
            && let Err(error) = conn.rollback().await
        {
            tracing::warn!(%error, "could not end a transaction");
            self.writer = None;
        }
    }

    /// The generation and the newest revision.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn newest(&mut self) -> Result<(u64, u64), StoreError> {
        let conn = self.connected().await?;
        let newest = read::newest(conn).await;
        self.drop_on_failure(newest)
    }

    /// Whether this revision was made by this request: after a commit of which nobody knows how it went.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn was_made(&mut self, revision: u64, request_id: &str) -> Result<bool, StoreError> {
        let conn = self.connected().await?;
        let made = read::was_made(conn, revision, request_id).await;
        self.drop_on_failure(made)
    }

    /// Hears of what other admins write; none if there cannot be others.
    pub fn follower(&self) -> Option<Follower> {
        let shared = matches!(self.place, Place::Postgres(_));
        shared.then(|| Follower::new(self.readers.clone()))
    }

    /// Makes one revision of `batch`, on disk when this returns.
    ///
    /// # Errors
    /// Nothing was changed, except where the failure hit the commit itself: then [`Store::load`] tells.
    pub async fn commit(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let locked = std::mem::take(&mut self.locked);
        let conn = self.connected().await?;
        let committed = async {
            if !locked {
                write::begin(conn).await?;
            }
            write::commit(conn, batch).await
        };
        let committed = committed.await;
        self.drop_on_failure(committed)
    }

    /// All tokens.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn tokens(&mut self) -> Result<Tokens, StoreError> {
        let conn = self.connected().await?;
        let all = token::all(conn).await;
        self.drop_on_failure(all)
    }

    /// Makes or revokes a token, on disk when this returns.
    ///
    /// # Errors
    /// Nothing was changed, except where the failure hit the commit itself: then [`Store::tokens`] tells.
    pub async fn change_token(
        &mut self,
        change: TokenChange<'_>,
        at_ms: i64,
        actor: &Actor,
    ) -> Result<(), StoreError> {
        let conn = self.connected().await?;
        let changed = token::change(conn, change, at_ms, actor).await;
        self.drop_on_failure(changed)
    }

    /// Notes when tokens were used last: id and Unix time in milliseconds.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn note_uses(&mut self, uses: &[(String, i64)]) -> Result<(), StoreError> {
        let conn = self.connected().await?;
        let noted = token::used(conn, uses).await;
        self.drop_on_failure(noted)
    }

    /// Writes, without changing anything, to see whether writing works.
    ///
    /// # Errors
    /// It does not.
    pub async fn probe(&mut self) -> Result<(), StoreError> {
        let conn = self.connected().await?;
        let probed = conn.execute("UPDATE meta SET revision = revision", &[]).await;
        self.drop_on_failure(probed.map(drop))
    }

    /// Empties the write-ahead log into the database and closes it.
    pub async fn close(mut self) {
        self.readers.close().await;
        let Some(mut conn) = self.writer.take() else { return };
        // Not needed for safety: the next start would read the log. It leaves one whole file behind.
        if let Conn::Sqlite(_) = &conn
            && let Err(e) = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)", &[]).await
        {
            tracing::warn!(error = %e, "could not empty the write-ahead log");
        }
        if let Err(e) = conn.close().await {
            tracing::warn!(error = %e, "could not close the store");
        }
    }

    async fn connected(&mut self) -> Result<&mut Conn, StoreError> {
        if self.writer.is_none() {
            self.writer = Some(self.place.writer().await?);
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
    /// Whether others may write to the store.
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Pool::Postgres(_))
    }

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

    /// At most `limit` events that pass `filter`: newest first, or, after an event, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        limit: u32,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        audit::events(&self.0, filter, limit).await
    }
}
