//! Where `dev` keeps things, and what of it is left when it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cli::DevArgs;
use crate::context::environment;
use crate::context::file::make_private_folder;
use crate::error::Failure;

/// The directory of the admin; the proxy's is in it.
pub(super) struct Home {
    path: PathBuf,
    /// What goes when this goes.
    end: End,
}

enum End {
    /// Nothing.
    Stays,
    /// The directory, because it was made for a start that has not succeeded.
    Unmade,
    /// The directory, because it was asked for nothing to be kept.
    Ephemeral,
}

impl Home {
    /// Chooses the directory and makes it.
    ///
    /// # Errors
    /// It cannot be made or written; says which flag helps.
    pub(super) fn choose(args: &DevArgs) -> Result<Self, Failure> {
        if args.ephemeral {
            let cannot = |e| {
                let folder = std::env::temp_dir();
                Failure::system(format!("cannot write in {}: {e}", folder.display()))
            };
            let private = fs::Permissions::from_mode(0o700);
            let folder =
                tempfile::Builder::new().prefix("pigeon-dev-").permissions(private).tempdir();
            return Ok(Self { path: folder.map_err(cannot)?.keep(), end: End::Ephemeral });
        }
        let path = match &args.data_dir {
            Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
            None => standard()?,
        };
        let end = if path.exists() { End::Stays } else { End::Unmade };
        let home = Self { path, end };
        home.check().map_err(|e| {
            let path = home.path.display();
            Failure::system(format!("--data-dir {path}: cannot write there: {e}"))
                .next("pigeon-ctl dev --ephemeral    (keeps nothing)")
                .next("pigeon-ctl dev --data-dir DIR")
        })?;
        Ok(home)
    }

    fn check(&self) -> std::io::Result<()> {
        make_private_folder(&self.path)?;
        tempfile::NamedTempFile::new_in(&self.path).map(drop)
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing is kept.
    pub(super) fn is_ephemeral(&self) -> bool {
        matches!(self.end, End::Ephemeral)
    }

    /// The start has succeeded.
    pub(super) fn keep(&mut self) {
        if matches!(self.end, End::Unmade) {
            self.end = End::Stays;
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !matches!(self.end, End::Stays) {
            // What cannot be removed was made unremovable by someone else.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn standard() -> Result<PathBuf, Failure> {
    let base = environment("XDG_DATA_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let base = base.or_else(|| environment("HOME").map(|h| Path::new(&h).join(".local/share")));
    base.map(|b| b.join("pigeon").join("dev")).ok_or_else(|| {
        Failure::usage(
            "there is no home directory to keep things in; give --data-dir or --ephemeral",
        )
    })
}
