//! Opening a store: where it is, its tables, and what the first start puts in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use pigeon_proto::model::{Key, Kind, Listener, Name, Object, Spec};
use sqlx::migrate::MigrateError;

use super::db::{Conn, Pool, Value};
use super::postgres::PostgresUrl;
use super::write::{self, Batch};
use super::{Store, StoreError, postgres, sqlite};
use crate::catalog::{Actor, Changed, Stored};

/// Where a store is.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a file, of one admin.
    File(PathBuf),
    /// On a server, for several.
    Postgres(PostgresUrl),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl Place {
    /// A connection for looking only.
    pub(super) async fn reader(&self) -> Result<Conn, StoreError> {
        match self {
            Self::File(path) => sqlite::reader(path).await,
            Self::Postgres(url) => postgres::reader(url).await,
        }
    }

    /// A connection for writing.
    pub(super) async fn writer(&self) -> Result<Conn, StoreError> {
        match self {
            Self::File(path) => sqlite::writer(path).await,
            Self::Postgres(url) => postgres::writer(url).await,
        }
    }

    fn readers(&self) -> Pool {
        match self {
            Self::File(path) => sqlite::readers(path),
            Self::Postgres(url) => postgres::readers(url),
        }
    }
}

impl Store {
    /// Opens the store at `place`, its file made if missing, and brings its tables to this version.
    ///
    /// # Errors
    /// It cannot be opened or written, is damaged, or was made by a newer version.
    pub async fn open(place: impl Into<Place>) -> Result<Self, StoreError> {
        let place = place.into();
        let mut conn = match &place {
            Place::File(path) => {
                sqlite::create(path)?;
                sqlite::up_to_date(path).await?
            }
            Place::Postgres(url) => postgres::up_to_date(url).await?,
        };
        seed(&mut conn).await?;
        let readers = place.readers();
        Ok(Self { place, writer: Some(conn), locked: false, readers })
    }
}

pub(super) fn migration(e: MigrateError) -> StoreError {
    match e {
        MigrateError::VersionMissing(n) => StoreError::TooNew(n),
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => e.into(),
        other => StoreError::Other(other.to_string()),
    }
}

const IDENTITY: &str = "INSERT INTO meta (one, cluster_id, generation, revision) \
     VALUES (1, $1, 1, 0) ON CONFLICT DO NOTHING";

/// At the very first start: an identity, and a listener so that there is something to call. Of several admins that
/// start at the same time one does it.
async fn seed(conn: &mut Conn) -> Result<(), StoreError> {
    write::begin(conn).await?;
    let cluster = uuid::Uuid::new_v4().to_string();
    if conn.execute(IDENTITY, &[Value::Text(&cluster)]).await? == 0 {
        return conn.rollback().await;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let at_ms = i64::try_from(now).unwrap_or(i64::MAX);
    let actor = Actor::almighty("system");
    let changes = [standard_listener(at_ms)?];
    write::apply(conn, &Batch { revision: 1, at_ms, actor: &actor, changes: &changes }).await?;
    conn.commit().await
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
        owner: None,
    };
    Ok(Changed { key, before: None, after: Some(Arc::new(stored)) })
}
