//! Why the store could not do something, in words that say what to do.

use std::path::PathBuf;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space left.
    #[error("the disk of the data directory is full; free some space")]
    Full,
    /// The file or file system does not take writes.
    #[error("the database is read-only; check the permissions of the data directory and its disk")]
    ReadOnly,
    /// Another program holds the database for more than five seconds.
    #[error("another program holds pigeon.db; end it")]
    Busy,
    /// The file is damaged or something else.
    #[error("pigeon.db is damaged or not a database; restore it from a backup")]
    Damaged,
    /// The disk or file system refused or failed.
    #[error("the disk refused: {0}; check the data directory's permissions and its disk")]
    Disk(String),
    /// Something else than this admin has written to it.
    #[error("pigeon.db was changed by another program; read again, then repeat the write")]
    ChangedElsewhere,
    /// Made by a newer version.
    #[error(
        "pigeon.db was written by a newer pigeon-admin (migration {0}); \
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
    #[error("{object} in pigeon.db cannot be read: {why}")]
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
        let sqlx::Error::Database(db) = &e else { return Self::Other(e.to_string()) };
        let extended: i32 = db.code().and_then(|c| c.parse().ok()).unwrap_or(0);
        // The low byte is the primary code (https://www.sqlite.org/rescode.html).
        match extended & 0xff {
            5 | 6 => Self::Busy,
            8 => Self::ReadOnly,
            10 | 14 => Self::Disk(db.message().to_owned()),
            11 | 26 => Self::Damaged,
            13 => Self::Full,
            _ => Self::Other(db.message().to_owned()),
        }
    }
}
