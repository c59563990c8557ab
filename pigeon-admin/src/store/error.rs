//! Why the store could not do something, in words that say what to do.

use std::path::PathBuf;

use sqlx::postgres::PgDatabaseError;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space left.
    #[error("the disk of the database is full; free some space")]
    Full,
    /// The file or file system does not take writes.
    #[error(
        "the database is read-only; check the permissions of its file and its disk, or which server of a \
         cluster it is"
    )]
    ReadOnly,
    /// Another program holds the database for more than five seconds.
    #[error("another program holds the database; end it")]
    Busy,
    /// The file is damaged or something else.
    #[error("pigeon.db is damaged or not a database; restore it from a backup")]
    Damaged,
    /// The disk or file system refused or failed.
    #[error("the disk refused: {0}; check the data directory's permissions and its disk")]
    Disk(String),
    /// Something else than this admin has written to it.
    #[error("the database was changed by another program; read again, then repeat the write")]
    ChangedElsewhere,
    /// A server that does not answer, or does not let anybody in.
    #[error("the database server cannot be reached: {0}; it is tried again")]
    Away(String),
    /// Admins serve from it.
    #[error("{0} is in use by an admin; stop them all first")]
    InUse(String),
    /// A version that nobody looks after any more.
    #[error("Postgres {0} is too old; use 14 or newer")]
    OldPostgres(i32),
    /// Made by a newer version.
    #[error(
        "the database was written by a newer pigeon-admin (migration {0}); \
         start that version, or restore a backup from before the upgrade"
    )]
    TooNew(i64),
    /// The SQLite inside this program can damage databases.
    #[error(
        "SQLite {0} is too old: below 3.51.3 it can damage a database in WAL mode; \
         build pigeon-admin with the bundled SQLite"
    )]
    OldSqlite(String),
    /// An object in the store that this version cannot read.
    #[error("{object} in the database cannot be read: {why}")]
    Unreadable {
        /// `kind/name`, or the table.
        object: String,
        /// What is wrong with it.
        why: String,
    },
    /// A backup never overwrites anything.
    #[error("{} exists already; name another file", .0.display())]
    Exists(PathBuf),
    /// There is nothing.
    #[error("there is no {}; check the path", .0.display())]
    Missing(PathBuf),
    /// A database, or not even that, but not of an admin.
    #[error("{} is not a database of pigeon-admin; name a file that `pigeon-admin backup` wrote", .0.display())]
    NotOurs(PathBuf),
    /// A backup that must not be put back.
    #[error("the backup is not sound: {0}; use an older one")]
    NotSound(String),
    /// The admin is stopping.
    #[error("the admin is stopping; repeat the write when it is back")]
    Stopped,
    /// Anything else the database said.
    #[error("the database refused: {0}")]
    Other(String),
}

/// Whether writes can be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreHealth {
    /// They can.
    Ok,
    /// The last one could not.
    CannotWrite {
        /// Why.
        reason: String,
    },
}

impl StoreHealth {
    /// Whether writes can be stored.
    pub fn is_ok(&self) -> bool {
        *self == Self::Ok
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(e: sqlx::Error) -> Self {
        use sqlx::Error::{Database, Io, PoolTimedOut, Tls};
        let db = match &e {
            Database(db) => db,
            Io(_) | Tls(_) | PoolTimedOut => return Self::Away(e.to_string()),
            _ => return Self::Other(e.to_string()),
        };
        let code = db.code().unwrap_or_default();
        match db.try_downcast_ref::<PgDatabaseError>() {
            Some(_) => Self::of_postgres(&code, db.message()),
            None => Self::of_sqlite(code.parse().unwrap_or(0), db.message()),
        }
    }
}

impl StoreError {
    /// By its extended result code, whose low byte is the primary one (<https://www.sqlite.org/rescode.html>).
    fn of_sqlite(code: i32, message: &str) -> Self {
        match code & 0xff {
            5 | 6 => Self::Busy,
            8 => Self::ReadOnly,
            10 | 14 => Self::Disk(message.to_owned()),
            11 | 26 => Self::Damaged,
            13 => Self::Full,
            _ => Self::Other(message.to_owned()),
        }
    }

    /// By its SQLSTATE (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
    fn of_postgres(code: &str, message: &str) -> Self {
        match code {
            "53100" => Self::Full,
            "25006" => Self::ReadOnly,
            "55P03" | "40001" | "40P01" => Self::Busy,
            "57P01" | "57P02" | "57P03" | "57014" | "53300" => Self::Away(message.to_owned()),
            _ if code.starts_with("08") || code.starts_with("28") => Self::Away(message.to_owned()),
            _ => Self::Other(message.to_owned()),
        }
    }
}
