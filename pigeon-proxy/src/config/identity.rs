//! Who this proxy is: a stable id and a start counter, kept in its locked state directory.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use pigeon_proto::model::Name;

use super::durable;

/// Who a proxy is. The state directory stays locked as long as this lives.
#[derive(Debug)]
pub struct Identity {
    /// Stable over restarts, exclusive to one running process.
    pub node_id: String,
    /// Grows by one at each start; on disk before its first use.
    pub incarnation: u64,
    /// `machine-id/boot-id` as far as readable: a copied state directory shows up as a conflict.
    pub machine: String,
    /// The name people see.
    pub name: Name,
    /// Held for its lock; none without a state directory.
    lock: Option<File>,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be made, read or written.
    #[error("cannot use the state directory {}: {source} (at {}); \
             give one that this user can write with --state-dir", .folder.display(), .at.display())]
    Folder {
        /// The state directory.
        folder: PathBuf,
        /// The file in it that failed.
        at: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process runs with it.
    #[error("the state directory {} is in use by another pigeon-proxy; \
             stop that one, or give this one its own --state-dir", .0.display())]
    Locked(PathBuf),
    /// A file in it does not hold what it should.
    #[error("{} holds {content:?}, not {wanted}; remove the file to start afresh \
             (the proxy then counts as a new one)", .at.display())]
    Damaged {
        /// The file.
        at: PathBuf,
        /// The beginning of what it holds.
        content: String,
        /// What it should hold.
        wanted: &'static str,
    },
}

impl Identity {
    /// Locks `folder` (made if absent), and counts this start in it.
    ///
    /// # Errors
    /// The folder cannot be used, is in use, or holds damaged files; each says what to do.
    pub fn open(folder: &Path, name: Option<Name>) -> Result<Self, IdentityError> {
        durable::private_folder(folder).map_err(|source| IdentityError::Folder {
            folder: folder.to_owned(),
            at: folder.to_owned(),
            source,
        })?;
        let lock = lock(folder)?;
        Self::count(folder, name, lock)
    }

    /// The same proxy in a new process: with the lock that the process before holds and handed over.
    ///
    /// # Errors
    /// The lock is that of another folder, or as [`Identity::open`].
    pub fn succeed(
        folder: &Path,
        name: Option<Name>,
        handed: OwnedFd,
    ) -> Result<Self, IdentityError> {
        let (lock, at) = (File::from(handed), folder.join("lock"));
        let id = |m: Metadata| (m.dev(), m.ino());
        let same =
            lock.metadata().map(id).and_then(|ours| Ok(std::fs::metadata(&at).map(id)? == ours));
        match same {
            Ok(true) => Self::count(folder, name, lock),
            Ok(false) => Err(IdentityError::Locked(folder.to_owned())),
            Err(source) => Err(IdentityError::Folder { folder: folder.to_owned(), at, source }),
        }
    }

    /// A copy of the lock, for the process that takes over.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn lock(&self) -> io::Result<Option<OwnedFd>> {
        self.lock.as_ref().map(|lock| lock.try_clone().map(OwnedFd::from)).transpose()
    }

    /// Reads who this is, and counts the start.
    fn count(folder: &Path, name: Option<Name>, lock: File) -> Result<Self, IdentityError> {
        let failed = |at: &Path, source| IdentityError::Folder {
            folder: folder.to_owned(),
            at: at.to_owned(),
            source,
        };
        let id_file = folder.join("node_id");
        let node_id = match read(&id_file).map_err(|e| failed(&id_file, e))? {
            Some(text) => uuid::Uuid::parse_str(&text)
                .map_err(|_| damaged(&id_file, &text, "a UUID"))?
                .to_string(),
            None => {
                let id = uuid::Uuid::new_v4().to_string();
                durable::replace(&id_file, &[id.as_bytes(), b"\n"])
                    .map_err(|e| failed(&id_file, e))?;
                id
            }
        };
        let count_file = folder.join("incarnation");
        let before = match read(&count_file).map_err(|e| failed(&count_file, e))? {
            Some(text) => text.parse().map_err(|_| damaged(&count_file, &text, "a number"))?,
            None => 0_u64,
        };
        let incarnation = before.saturating_add(1);
        durable::replace(&count_file, &[format!("{incarnation}\n").as_bytes()])
            .map_err(|e| failed(&count_file, e))?;
        let name = name.unwrap_or_else(|| default_name(Some(&node_id)));
        Ok(Self { node_id, incarnation, machine: machine(), name, lock: Some(lock) })
    }

    /// For a proxy that has no state directory (and no admin to tell it to): new at each start.
    pub fn passing(name: Option<Name>) -> Self {
        let node_id = uuid::Uuid::new_v4().to_string();
        let name = name.unwrap_or_else(|| default_name(None));
        Self { node_id, incarnation: 1, machine: machine(), name, lock: None }
    }
}

fn lock(folder: &Path) -> Result<File, IdentityError> {
    let at = folder.join("lock");
    let failed =
        |source| IdentityError::Folder { folder: folder.to_owned(), at: at.clone(), source };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&at)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(IdentityError::Locked(folder.to_owned())),
        Err(TryLockError::Error(e)) => Err(failed(e)),
    }
}

/// The trimmed text of a small file; `None` if there is none, or an empty one (a crash before its first use).
fn read(path: &Path) -> io::Result<Option<String>> {
    match durable::read_limited(path, 4096) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).trim().to_owned();
            Ok((!text.is_empty()).then_some(text))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn damaged(at: &Path, content: &str, wanted: &'static str) -> IdentityError {
    IdentityError::Damaged {
        at: at.to_owned(),
        content: content.chars().take(40).collect(),
        wanted,
    }
}

/// `hostname-a1b2c3`: readable, and apart for several proxies on one host.
fn default_name(node_id: Option<&str>) -> Name {
    let suffix = node_id.map(|id| format!("-{}", &id[..id.len().min(6)])).unwrap_or_default();
    let host = host_part(&line("/proc/sys/kernel/hostname").unwrap_or_default());
    let fallback = || format!("proxy{suffix}").parse();
    // Both are made of allowed characters only; the second has none from outside.
    format!("{host}{suffix}").parse().or_else(|_| fallback()).unwrap_or_else(|_| unreachable!())
}

/// What of a host name may stand in a name.
fn host_part(host: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let short = host.split('.').next().unwrap_or_default();
    let part: String = short.chars().map(allowed).take(48).collect();
    match part.trim_matches('-') {
        "" => "proxy".to_owned(),
        part => part.to_owned(),
    }
}

fn machine() -> String {
    let id = line("/etc/machine-id").unwrap_or_default();
    let boot = line("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{id}/{boot}")
}

fn line(path: &str) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(256).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_id_stays_and_the_incarnation_grows() {
        let folder = tempfile::tempdir().expect("folder");
        let state = folder.path().join("a/state");
        let first = Identity::open(&state, None).expect("first");
        let (id, name) = (first.node_id.clone(), first.name.clone());
        assert_eq!(first.incarnation, 1);
        assert!(name.as_str().ends_with(&format!("-{}", &id[..6])), "{name}");
        drop(first);
        let second = Identity::open(&state, Some("edge-1".parse().expect("name"))).expect("second");
        assert_eq!((second.node_id.as_str(), second.incarnation), (id.as_str(), 2));
        assert_eq!(second.name.as_str(), "edge-1");
        let mode = |p: &Path| std::fs::metadata(p).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&state), 0o700);
        for file in ["lock", "node_id", "incarnation"] {
            assert_eq!(mode(&state.join(file)), 0o600, "{file}");
        }
    }

    #[test]
    fn a_second_process_is_refused_and_counts_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let first = Identity::open(folder.path(), None).expect("first");
        let refused = Identity::open(folder.path(), None).expect_err("locked");
        assert!(matches!(refused, IdentityError::Locked(_)), "{refused}");
        drop(first);
        assert_eq!(Identity::open(folder.path(), None).expect("again").incarnation, 2);
    }

    #[test]
    fn damaged_files_are_named() {
        for (file, wanted) in [("node_id", "a UUID"), ("incarnation", "a number")] {
            let folder = tempfile::tempdir().expect("folder");
            std::fs::write(folder.path().join(file), "rubbish").expect("written");
            let e = Identity::open(folder.path(), None).expect_err("damaged").to_string();
            assert!(e.contains(file) && e.contains(wanted) && e.contains("rubbish"), "{e}");
        }
    }

    #[test]
    fn an_unusable_folder_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("written");
        let e = Identity::open(&file.join("state"), None).expect_err("no folder").to_string();
        assert!(e.contains("--state-dir") && e.contains("file/state"), "{e}");
    }

    #[test]
    fn host_names_become_names() {
        for (host, part) in [
            ("Web_1.example.com", "web-1"),
            ("", "proxy"),
            ("---", "proxy"),
            ("ünï", "n"),
            (&"x".repeat(80), &"x".repeat(48)),
        ] {
            assert_eq!(host_part(host), part);
        }
        assert!(!default_name(None).as_str().is_empty());
    }
}
