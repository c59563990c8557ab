//! Homes of stores for tests: a folder, and for Postgres a database of its own on a server that this process starts.

#[path = "../../../e2e/src/postgres.rs"]
mod postgres;

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use pigeon_admin::store::PostgresUrl;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tempfile::TempDir;

use self::postgres::INSTALL;
pub use self::postgres::Postgres;

/// What a test runs on.
#[derive(Clone, Copy, Debug)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// Each test once on SQLite and once on Postgres: what a store does is the same.
macro_rules! on_both_databases {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $test() {
                super::$test(crate::database::Database::Sqlite).await;
            })+
        }
        mod postgres {
            $(#[tokio::test] async fn $test() {
                super::$test(crate::database::Database::Postgres).await;
            })+
        }
    };
}
pub(crate) use on_both_databases;

/// Where a store is at home.
pub struct Home {
    dir: TempDir,
    url: Option<String>,
}

impl Home {
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn url(&self) -> Option<PostgresUrl> {
        self.url.as_ref().map(|url| url.parse().expect("a URL"))
    }

    /// The folder of another admin on the same database.
    pub fn beside(&self) -> Self {
        Self { dir: tempfile::tempdir().expect("dir"), url: self.url.clone() }
    }

    /// Somebody at the database with their own tool.
    pub async fn by_hand(&self) -> PgConnection {
        let options: PgConnectOptions =
            self.url.as_deref().expect("Postgres").parse().expect("a URL");
        PgConnection::connect_with(&options).await.expect("connect")
    }
}

/// A new home. None if the machine has no Postgres, which is said.
pub async fn home(on: Database) -> Option<Home> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let dir = tempfile::tempdir().expect("dir");
    let url = match on {
        Database::Sqlite => None,
        Database::Postgres => {
            let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let made = tokio::task::spawn_blocking(move || Some(shared()?.database(&name)));
            Some(made.await.expect("a database")?)
        }
    };
    Some(Home { dir, url })
}

/// A server of a test's own, and a database on it. None if the machine has no Postgres, which is said.
pub async fn server() -> Option<(Postgres, String)> {
    let begun = tokio::task::spawn_blocking(|| {
        let server = started()?;
        let url = server.database("own");
        Some((server, url))
    });
    begun.await.expect("a server")
}

/// The server that the tests share.
fn shared() -> Option<&'static Postgres> {
    static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
    SERVER.get_or_init(started).as_ref()
}

fn started() -> Option<Postgres> {
    let server = Postgres::start();
    if server.is_none() {
        let required = std::env::var_os("PIGEON_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "Postgres is missing ({INSTALL}), and PIGEON_REQUIRE_ALL=1");
        eprintln!("SKIPPED: Postgres is missing; {INSTALL}");
    }
    server
}
