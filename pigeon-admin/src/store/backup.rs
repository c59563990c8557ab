//! Copies of a store: taken while it is in use, and put back as a new generation.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::db::{Conn, For, Value, signed};
use super::{Place, PostgresUrl, Store, StoreError, check, postgres, read, sqlite, tables};
use crate::catalog::View;

/// How far a restored store is ahead of whatever its proxies may have seen of the one before.
const AHEAD: u64 = 1_000_000;

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Which cluster's configuration it is.
    pub cluster_id: String,
    /// Grows with every restored backup.
    pub generation: u64,
    /// Of the newest change.
    pub revision: u64,
    /// How many objects there are.
    pub objects: usize,
}

/// What was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the store holds now.
    pub contents: Contents,
    /// Where the database is that was there before; none if there was none.
    pub replaced: Option<PathBuf>,
}

/// Writes a copy of the store `from` to the file `to`, as of one moment; admins may be at work on it meanwhile. The
/// copy is whole and on disk when this returns, or not there. It is an SQLite file, whatever `from` is.
///
/// # Errors
/// `to` exists, `from` cannot be read, or the disk refuses.
pub async fn backup(from: &Place, to: &Path) -> Result<Contents, StoreError> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(StoreError::Exists(to.to_owned()));
    }
    let partial = with_suffix(to, ".partial");
    let copied = match from {
        Place::File(path) => copy(path, &partial).await,
        Place::Postgres(url) => copy_rows(url, &partial).await,
    };
    // Under its name only now, and never over a file that came meanwhile.
    let named = copied.and_then(|contents| {
        fs::hard_link(&partial, to).and_then(|()| sync_folder(to)).map_err(disk)?;
        Ok(contents)
    });
    if let Err(error) = remove_with_log(&partial) {
        tracing::warn!(file = %partial.display(), %error, "could not remove");
    }
    named
}

async fn copy(from: &Path, to: &Path) -> Result<Contents, StoreError> {
    there(from)?;
    // SQLite writes into an empty file of ours, so that nobody else can read it at any time.
    empty(to)?;
    let mut conn = sqlite::reader(from).await?;
    let name = to.to_str().ok_or_else(|| StoreError::Disk("the name is not UTF-8".into()))?;
    conn.execute("VACUUM INTO $1", &[Value::Text(name)]).await?;
    conn.close().await?;
    File::open(to).and_then(|file| file.sync_all()).map_err(disk)?;
    contents(to).await
}

async fn copy_rows(from: &PostgresUrl, to: &Path) -> Result<Contents, StoreError> {
    empty(to)?;
    let mut from = postgres::reader(from).await?;
    let mut to_conn = sqlite::up_to_date(to).await?;
    from.begin(For::Reading).await?;
    to_conn.begin(For::Writing).await?;
    tables::copy(&mut from, &mut to_conn).await?;
    to_conn.commit().await?;
    from.rollback().await?;
    from.close().await?;
    close(to_conn).await?;
    contents(to).await
}

fn empty(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    let made = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    made.map(drop).map_err(disk)
}

/// Puts the backup `from` in the place of the store `to`, which nobody may be using. The generation and the
/// revision become higher than any that proxies may have seen, so that each of them takes what is there now.
/// What was there before is kept: beside a file, and as a backup in `folder` if it was elsewhere.
///
/// # Errors
/// `from` is not a whole backup that this version can read: then nothing has changed. Or the disk refuses.
pub async fn restore(from: &Path, to: &Place, folder: &Path) -> Result<Restored, StoreError> {
    there(from)?;
    let new = folder.join("pigeon.db.restoring");
    remove_with_log(&new)?;
    let swapped = match to {
        Place::File(path) => swap_file(from, &new, path).await,
        Place::Postgres(url) => swap_rows(from, &new, url).await,
    };
    remove_with_log(&new)?;
    swapped
}

async fn swap_file(from: &Path, new: &Path, to: &Path) -> Result<Restored, StoreError> {
    let contents = prepare(from, new, last_known(to).await).await?;
    let replaced = put_aside(to).map_err(disk)?;
    fs::rename(new, to).and_then(|()| sync_folder(to)).map_err(disk)?;
    Ok(Restored { contents, replaced })
}

async fn swap_rows(from: &Path, new: &Path, to: &PostgresUrl) -> Result<Restored, StoreError> {
    let mut conn = postgres::alone(to).await?;
    let used = conn.row("SELECT count(*) FROM meta", &[]).await?.int(0)? > 0;
    let before = if used { Some(contents_of(&read::view(&mut conn).await?)) } else { None };
    let contents = prepare(from, new, before.clone()).await?;
    let mut replaced = None;
    if before.is_some() {
        let aside = unused(&new.with_file_name(format!("postgres.replaced-{}.db", now())));
        backup_rows(to, &aside).await?;
        replaced = Some(aside);
    }
    let mut prepared = sqlite::reader(new).await?;
    conn.begin(For::Writing).await?;
    tables::copy(&mut prepared, &mut conn).await?;
    conn.commit().await?;
    prepared.close().await?;
    conn.close().await?;
    Ok(Restored { contents, replaced })
}

async fn backup_rows(from: &PostgresUrl, to: &Path) -> Result<(), StoreError> {
    copy_rows(from, to).await?;
    sync_folder(to).map_err(disk)
}

/// Makes `new`: the backup, in this version's tables, as a later generation than it and what was there `before`.
async fn prepare(
    from: &Path,
    new: &Path,
    before: Option<Contents>,
) -> Result<Contents, StoreError> {
    let mut source = File::open(from).map_err(disk)?;
    let mut options = OpenOptions::new();
    let mut copy = options.write(true).create_new(true).mode(0o600).open(new).map_err(disk)?;
    io::copy(&mut source, &mut copy).map_err(disk)?;
    copy.sync_all().map_err(disk)?;
    let backup = contents(new).await?;
    // Brings older tables to this version.
    Store::open(new).await?.close().await;
    let faults = check::check(&new.into()).await?;
    if let Some(fault) = faults.first() {
        return Err(StoreError::NotSound(fault.to_string()));
    }
    let (generation, revision) = before.map_or((0, 0), |c| (c.generation, c.revision));
    let generation = backup.generation.max(generation) + 1;
    let revision = backup.revision.max(revision) + AHEAD;
    let mut conn = sqlite::writer(new).await?;
    let values = [Value::Int(signed(generation)), Value::Int(signed(revision))];
    conn.execute("UPDATE meta SET generation = $1, revision = $2", &values).await?;
    close(conn).await?;
    Ok(Contents { generation, revision, ..contents(new).await? })
}

/// What the store that is replaced says of itself, if it still can.
async fn last_known(path: &Path) -> Option<Contents> {
    if !path.exists() {
        return None;
    }
    match contents(path).await {
        Ok(contents) => Some(contents),
        Err(error) => {
            tracing::warn!(
                file = %path.display(), %error,
                "cannot read the generation of the database that is replaced; proxies that have seen more than \
                 the backup's next generation refuse this admin: then restore once more"
            );
            None
        }
    }
}

/// Keeps the database that is there under another name, with its log, and leaves its own name in place until
/// the new one takes it: at no moment a start would find nothing and begin anew.
fn put_aside(path: &Path) -> io::Result<Option<PathBuf>> {
    if !path.exists() {
        return Ok(None);
    }
    let aside = unused(&with_suffix(path, &format!(".replaced-{}", now())));
    fs::hard_link(path, &aside)?;
    // The new database must never meet the log of the old.
    for suffix in ["-wal", "-shm"] {
        match fs::rename(with_suffix(path, suffix), with_suffix(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    sync_folder(path)?;
    Ok(Some(aside))
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// This name, or one like it that nothing has.
fn unused(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    while path.exists() {
        path = with_suffix(&path, "-again");
    }
    path
}

/// What the store in the file `path` holds. Changes nothing.
pub(super) async fn contents(path: &Path) -> Result<Contents, StoreError> {
    let mut conn = sqlite::reader(path).await?;
    let known = "SELECT count(*) FROM sqlite_schema WHERE name IN ('meta', 'resource')";
    if conn.row(known, &[]).await?.int(0)? != 2 {
        return Err(StoreError::NotOurs(path.to_owned()));
    }
    let view = read::view(&mut conn).await?;
    conn.close().await?;
    Ok(contents_of(&view))
}

fn contents_of(view: &View) -> Contents {
    Contents {
        cluster_id: view.cluster_id.clone(),
        generation: view.generation,
        revision: view.revision,
        objects: view.objects.len(),
    }
}

/// Closes a connection with everything in the one file.
async fn close(mut conn: Conn) -> Result<(), StoreError> {
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)", &[]).await?;
    conn.close().await
}

fn remove_with_log(path: &Path) -> Result<(), StoreError> {
    for path in [path.to_owned(), with_suffix(path, "-wal"), with_suffix(path, "-shm")] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(disk(error)),
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn there(path: &Path) -> Result<(), StoreError> {
    if path.exists() { Ok(()) } else { Err(StoreError::Missing(path.to_owned())) }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn disk(error: io::Error) -> StoreError {
    StoreError::Disk(error.to_string())
}
