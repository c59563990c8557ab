//! The data directory: made if missing, locked while in use, and the tokens in it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::token::{self, Secret};

/// A data directory that this process holds.
pub struct DataDir {
    path: PathBuf,
    /// Held as long as it is open; the kernel lets go of it also after kill -9.
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Something else has the name.
    #[error("--data-dir {}: is not a directory; name another one", .0.display())]
    NotADirectory(PathBuf),
    /// It cannot be made, read or written.
    #[error("--data-dir {}: cannot {what}: {why}; check its permissions or name another one", .path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        why: io::Error,
    },
    /// Another admin runs on it.
    #[error(
        "--data-dir {}: another pigeon-admin{} runs on it; stop that one or name another directory",
        .path.display(), .pid.as_ref().map(|p| format!(" (pid {p})")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Its process id, where known.
        pid: Option<String>,
    },
    /// A token file without a usable token.
    #[error(
        "{}: holds no usable token (one line, 32 to 256 visible characters); delete it and start again \
         to have a new one made",
        .0.display()
    )]
    BadToken(PathBuf),
    /// No randomness for a new token.
    #[error("the system has no randomness for a new token: {0}; try again")]
    NoRandomness(getrandom::Error),
}

impl DataDir {
    /// Makes the directory if it is missing (mode 0700) and locks it.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |what| move |why| unusable(path, what, why);
        match fs::metadata(path) {
            Ok(m) if !m.is_dir() => return Err(DataDirError::NotADirectory(path.to_owned())),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                return Err(DataDirError::NotADirectory(path.to_owned()));
            }
            Err(_) => {
                let mut builder = DirBuilder::new();
                builder.recursive(true).mode(0o700).create(path).map_err(unusable("make it"))?;
            }
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(path.join("lock")).map_err(unusable("write in it"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirError::InUse { path: path.to_owned(), pid: holder(&mut lock) });
            }
            Err(TryLockError::Error(e)) => return Err(unusable("lock it")(e)),
        }
        sign(&mut lock).map_err(unusable("write in it"))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where the database is.
    pub fn database(&self) -> PathBuf {
        Self::database_in(&self.path)
    }

    /// Where the database of a data directory is that somebody else may hold.
    pub fn database_in(path: &Path) -> PathBuf {
        path.join("pigeon.db")
    }

    /// Where the token of that name is.
    pub fn token_file(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.token"))
    }

    /// Reads the token of that name, made first if its file is missing.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn token(&self, name: &str) -> Result<Secret, DataDirError> {
        let file = self.token_file(name);
        let unusable = |what| move |why| unusable(&self.path, what, why);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let token = token::generate().map_err(DataDirError::NoRandomness)?;
                self.create(&file, &token).map_err(unusable("write a token"))?;
                token
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                return Err(DataDirError::BadToken(file));
            }
            Err(e) => return Err(unusable("read a token")(e)),
        };
        warn_if_readable(&file);
        let token = text.trim();
        if token::is_usable(token) {
            Ok(Secret::of(token))
        } else {
            Err(DataDirError::BadToken(file))
        }
    }

    /// Whole and on disk under its name, or not there at all.
    fn create(&self, file: &Path, token: &str) -> io::Result<()> {
        let new = file.with_extension("token.new");
        match fs::remove_file(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        out.write_all(token.as_bytes())?;
        out.write_all(b"\n")?;
        out.sync_all()?;
        fs::rename(&new, file)?;
        File::open(&self.path)?.sync_all()
    }
}

fn unusable(path: &Path, what: &'static str, why: io::Error) -> DataDirError {
    DataDirError::Unusable { path: path.to_owned(), what, why }
}

/// Leaves the process id for the message of a second instance.
fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn holder(lock: &mut File) -> Option<String> {
    let mut text = String::new();
    lock.take(32).read_to_string(&mut text).ok()?;
    let pid = text.trim();
    pid.parse::<u32>().ok().map(|_| pid.to_owned())
}

fn warn_if_readable(file: &Path) {
    let mode = fs::metadata(file).map(|m| m.permissions().mode() & 0o777).unwrap_or(0);
    if mode & 0o077 != 0 {
        tracing::warn!(
            file = %file.display(), mode = format!("{mode:o}"),
            "others can read this token; chmod 600 it, and delete it and restart if it may be known"
        );
    }
}
