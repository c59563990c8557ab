//! Postgres: one database for several admins, and the settings it is used with.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::{Connection as _, Row as _};

use super::StoreError;
use super::db::{Conn, Pool, Value, within};
use super::open::migration;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres");

/// The oldest that is still looked after as this is written.
const OLDEST: i32 = 140_000;

/// Where admins tell each other that there is a new revision. Only a hint: everybody looks by themselves too.
const CHANNEL: &str = "pigeon";

/// How often that is.
const LOOK: Duration = Duration::from_secs(1);

/// The advisory lock that every admin shares, and whoever puts a backup back has alone: "pigeon".
const LOCK: Value<'_> = Value::Int(0x7069_6765_6f6e);

/// Where a database is: `postgres://USER@HOST:PORT/NAME`, with libpq's environment (`PGPASSFILE`, `PGSSLMODE`…)
/// for what it does not say.
#[derive(Clone)]
pub struct PostgresUrl(Box<PgConnectOptions>);

impl PostgresUrl {
    /// Whether the password is in the URL itself.
    #[must_use]
    pub fn has_password(url: &str) -> bool {
        let authority = url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = authority.split(['/', '?']).next().unwrap_or_default();
        let in_front = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
        in_front || url.split(['?', '&']).any(|part| part.starts_with("password="))
    }
}

impl FromStr for PostgresUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        const WRITE: &str = "write it as postgres://USER@HOST:PORT/NAME";
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(format!("not the URL of a Postgres database; {WRITE}"));
        }
        // sqlx takes these for what they say of it, and lets everything else pass.
        let options: PgConnectOptions = url.parse().map_err(|e| format!("{e}; {WRITE}"))?;
        Ok(Self(Box::new(
            options
                .application_name("pigeon-admin")
                // Of the server, beside ours that also cover the network.
                .options([
                    // What it would say of migrations that are made is no news.
                    ("client_min_messages", "warning"),
                    ("statement_timeout", "10s"),
                    ("lock_timeout", "5s"),
                    ("idle_in_transaction_session_timeout", "10s"),
                ]),
        )))
    }
}

impl fmt::Display for PostgresUrl {
    /// Without its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, host, port) = (self.0.get_username(), self.0.get_host(), self.0.get_port());
        write!(f, "postgres://{user}@{host}:{port}/{}", self.0.get_database().unwrap_or(user))
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A connection for looking only.
pub(super) async fn reader(url: &PostgresUrl) -> Result<Conn, StoreError> {
    connect(url).await.map(Conn::Postgres)
}

/// A connection for writing, with the lock of those who serve from the database.
pub(super) async fn writer(url: &PostgresUrl) -> Result<Conn, StoreError> {
    let mut conn = Conn::Postgres(connect(url).await?);
    // Waits, for a while, for whoever has it alone. The server lets go of it with the connection.
    conn.rows("SELECT pg_advisory_lock_shared($1)::text", &[LOCK]).await?;
    Ok(conn)
}

/// The same to a database whose tables are brought to this version first.
pub(super) async fn up_to_date(url: &PostgresUrl) -> Result<Conn, StoreError> {
    let mut conn = connect(url).await?;
    check_version(&mut conn).await?;
    MIGRATIONS.run(&mut conn).await.map_err(migration)?;
    conn.close().await?;
    writer(url).await
}

/// A connection that has the database, with its tables, for itself.
pub(super) async fn alone(url: &PostgresUrl) -> Result<Conn, StoreError> {
    let mut conn = connect(url).await?;
    check_version(&mut conn).await?;
    MIGRATIONS.run(&mut conn).await.map_err(migration)?;
    let mut conn = Conn::Postgres(conn);
    let row = conn.row("SELECT pg_try_advisory_lock($1)::text", &[LOCK]).await?;
    if row.text(0)? != "true" {
        return Err(StoreError::InUse(url.to_string()));
    }
    Ok(conn)
}

pub(super) fn readers(url: &PostgresUrl) -> Pool {
    let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(5));
    Pool::Postgres(pool.connect_lazy_with(PgConnectOptions::clone(&url.0)))
}

async fn connect(url: &PostgresUrl) -> Result<PgConnection, StoreError> {
    within(PgConnection::connect_with(&url.0)).await
}

async fn check_version(conn: &mut PgConnection) -> Result<(), StoreError> {
    let query = sqlx::query("SELECT current_setting('server_version_num')::int4");
    let version: i32 = within(query.fetch_one(conn)).await?.try_get(0)?;
    if version < OLDEST { Err(StoreError::OldPostgres(version / 10_000)) } else { Ok(()) }
}

/// Tells every admin, once the transaction is committed.
pub(super) async fn tell(conn: &mut Conn, revision: &str) -> Result<(), StoreError> {
    let values = [Value::Text(CHANNEL), Value::Text(revision)];
    conn.rows("SELECT pg_notify($1, $2)::text", &values).await.map(drop)
}

/// Hears of what others write.
pub struct Follower {
    pool: Pool,
    listener: Option<PgListener>,
}

impl Follower {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, listener: None }
    }

    /// Waits until somebody has said that there is a new revision, or it is time to look whether there is: notices
    /// get lost with their connection.
    pub async fn next(&mut self) {
        let _ = tokio::time::timeout(LOOK, self.told()).await;
    }

    async fn told(&mut self) {
        let Pool::Postgres(pool) = &self.pool else { return std::future::pending().await };
        if self.listener.is_none() {
            let begun = async {
                let mut listener = PgListener::connect_with(pool).await?;
                listener.listen(CHANNEL).await.map(|()| listener)
            };
            match begun.await {
                Ok(listener) => self.listener = Some(listener),
                Err(error) => {
                    tracing::debug!(%error, "cannot listen for changes of other admins");
                    return std::future::pending().await;
                }
            }
        }
        let Some(listener) = &mut self.listener else { return };
        if let Err(error) = listener.recv().await {
            tracing::debug!(%error, "no longer told of changes of other admins");
            self.listener = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_never_shown_with_their_password() {
        let url: PostgresUrl =
            "postgres://ann:secret@db.example:6432/pigeon".parse().expect("a URL");
        assert_eq!(url.to_string(), "postgres://ann@db.example:6432/pigeon");
        assert!(!format!("{url:?}").contains("secret"));
        for wrong in ["", "pigeon.db", "mysql://h/d", "postgres:h"] {
            assert!(wrong.parse::<PostgresUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn passwords_are_noticed() {
        for with in ["postgres://a:b@h/d", "postgres://a:@h", "postgres://h/d?x=y&password=b"] {
            assert!(PostgresUrl::has_password(with), "{with}");
        }
        for without in
            ["postgres://a@h:5432/d", "postgres://h/d:e@f", "postgres:///d?host=/run", ""]
        {
            assert!(!PostgresUrl::has_password(without), "{without}");
        }
    }
}
