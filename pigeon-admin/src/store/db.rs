//! SQLite and Postgres behind one face: statements and values that both understand, rows of numbers and texts.
//!
//! An enum and no trait, so that everything above is written and compiled once. A connection on which something
//! failed is to be dropped: nobody knows what state it is in.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgPool, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Connection as _, Row as _};

use super::StoreError;

/// How long a database elsewhere may take for one statement, its network included.
const LONGEST: Duration = Duration::from_secs(10);

/// A connection.
pub(super) enum Conn {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// A few connections for reading.
#[derive(Clone)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// What a statement's `$1`, `$2`… stand for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Int(i64),
    MaybeInt(Option<i64>),
    Text(&'a str),
    MaybeText(Option<&'a str>),
}

/// A row of an answer.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// To see one moment.
    Reading,
    /// To change something; a second one waits at its first statement.
    Writing,
}

/// The same query in the words of either driver.
macro_rules! query {
    ($database:ty, $sql:expr, $values:expr) => {
        $values.iter().fold(sqlx::query::<$database>($sql), |query, value| match *value {
            Value::Int(n) => query.bind(n),
            Value::MaybeInt(n) => query.bind(n),
            Value::Text(text) => query.bind(text),
            Value::MaybeText(text) => query.bind(text),
        })
    };
}

impl Conn {
    /// Runs a statement; says how many rows it changed.
    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(conn) => {
                let done = query!(Sqlite, sql, values).execute(conn).await?;
                Ok(done.rows_affected())
            }
            Self::Postgres(conn) => {
                let done = within(query!(Postgres, sql, values).execute(conn)).await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// The rows that a statement answers.
    pub(super) async fn rows(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(conn) => {
                let rows = query!(Sqlite, sql, values).fetch_all(conn).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(conn) => {
                let rows = within(query!(Postgres, sql, values).fetch_all(conn)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// The only row that a statement answers.
    pub(super) async fn row(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Row, StoreError> {
        let row = self.rows(sql, values).await?.pop();
        row.ok_or_else(|| StoreError::Other("a row is missing".into()))
    }

    /// Begins a transaction; without [`Conn::commit`] it has never been.
    pub(super) async fn begin(&mut self, purpose: For) -> Result<(), StoreError> {
        let sql = match (&self, purpose) {
            (Self::Sqlite(_), For::Reading) => "BEGIN",
            // Takes the lock at the start, where the busy timeout applies.
            (Self::Sqlite(_), For::Writing) => "BEGIN IMMEDIATE",
            (Self::Postgres(_), For::Reading) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            (Self::Postgres(_), For::Writing) => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        };
        self.execute(sql, &[]).await.map(drop)
    }

    /// Ends a transaction; what it did is on disk when this returns.
    pub(super) async fn commit(&mut self) -> Result<(), StoreError> {
        self.execute("COMMIT", &[]).await.map(drop)
    }

    /// Ends a transaction as if it had never been.
    pub(super) async fn rollback(&mut self) -> Result<(), StoreError> {
        self.execute("ROLLBACK", &[]).await.map(drop)
    }

    /// Says goodbye to the database.
    pub(super) async fn close(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(conn) => Ok(conn.close().await?),
            Self::Postgres(conn) => within(conn.close()).await,
        }
    }
}

impl Pool {
    /// The rows that a statement answers.
    pub(super) async fn rows(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(pool) => {
                let rows = query!(Sqlite, sql, values).fetch_all(pool).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(pool) => {
                let rows = within(query!(Postgres, sql, values).fetch_all(pool)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            // Not for ever, for a server that is gone.
            Self::Postgres(pool) => drop(tokio::time::timeout(LONGEST, pool.close()).await),
        }
    }
}

/// A server that says nothing is given up: its own limits do not hold where the network does not.
pub(super) async fn within<T>(
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(LONGEST, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreError::Away(format!("no answer within {} s", LONGEST.as_secs()))),
    }
}

impl Row {
    pub(super) fn int(&self, column: usize) -> Result<i64, StoreError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// One that is never negative, as revisions and generations are.
    pub(super) fn number(&self, column: usize) -> Result<u64, StoreError> {
        let n = self.int(column)?;
        u64::try_from(n).map_err(|_| StoreError::Unreadable {
            object: "a revision".into(),
            why: format!("{n} is negative"),
        })
    }

    pub(super) fn maybe_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(super) fn text(&self, column: usize) -> Result<String, StoreError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(super) fn maybe_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }
}

/// Databases have signed integers; no revision comes near the end of them.
pub(super) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
