//! The configuration file: contexts, and which one is selected.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Environment;
use crate::error::Failure;

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// The selected context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// All contexts by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// A server, and where its token is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Its address.
    pub server: String,
    /// The file that holds its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The file with those who may have signed its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The file with the certificate to show to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// The key of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl ConfigFile {
    /// The context of this name.
    ///
    /// # Errors
    /// There is none; names those that are there.
    pub fn context(&self, name: &str) -> Result<(&String, &Context), Failure> {
        self.contexts.get_key_value(name).ok_or_else(|| {
            let names: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            let there = match &names[..] {
                [] => "there are none; pigeon-ctl login makes one".to_owned(),
                names => format!("there are: {}", names.join(", ")),
            };
            Failure::not_found(format!("there is no context \"{name}\"; {there}"))
                .next("pigeon-ctl context list")
        })
    }
}

/// Where the file is.
///
/// # Errors
/// There is no home directory to put it in.
pub fn path(env: Environment<'_>) -> Result<PathBuf, Failure> {
    if let Some(path) = env("PIGEON_CONFIG") {
        return Ok(path.into());
    }
    let base = env("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let base = base.or_else(|| env("HOME").map(|home| Path::new(&home).join(".config")));
    base.map(|b| b.join("pigeon").join("config.yaml")).ok_or_else(|| {
        Failure::usage("there is no home directory; set PIGEON_CONFIG to a file for contexts")
    })
}

/// Reads the file; one that is not there is empty.
///
/// # Errors
/// It cannot be read or understood.
pub fn load(path: &Path) -> Result<ConfigFile, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(ConfigFile::default()),
        Err(e) => return Err(Failure::usage(format!("cannot read {}: {e}", path.display()))),
    };
    if text.trim().is_empty() {
        return Ok(ConfigFile::default());
    }
    serde_saphyr::from_str(&text).map_err(|e| {
        let path = path.display();
        Failure::usage(format!("the configuration file {path} cannot be understood: {e}"))
            .next(format!("mend it, or remove it and log in again: rm {path}"))
    })
}

/// Writes the file, readable by its owner alone.
///
/// # Errors
/// The system does not let it.
pub fn save(path: &Path, file: &ConfigFile) -> Result<(), Failure> {
    let text = serde_saphyr::to_string(file)
        .map_err(|e| Failure::bug(format!("the configuration cannot be written as YAML: {e}")))?;
    write_private(path, text.as_bytes())
}

/// Replaces a file as a whole, readable by its owner alone: who reads sees the old or the new one.
///
/// # Errors
/// The system does not let it.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), Failure> {
    // A link to the file stays a link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let write = || -> io::Result<()> {
        make_private_folder(folder)?;
        // Such files are made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|e| Failure::system(format!("cannot write {}: {e}", path.display())))
}

/// Makes a folder, and those above it, for its owner alone; leaves one that exists as it is.
///
/// # Errors
/// The system does not let it.
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The file beside the configuration file in which `login` keeps a token it was given.
pub fn token_path(config: &Path, context: &str) -> PathBuf {
    config.with_file_name(format!("{context}.token"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_private() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("deep/er/config.yaml");
        assert_eq!(load(&path).expect("absent"), ConfigFile::default());
        let context = Context {
            server: "http://[::1]:9800".into(),
            token_file: Some("/a b/'c': #d".into()),
            ca: Some("/ca.pem".into()),
            ..Context::default()
        };
        let file = ConfigFile {
            current: Some("yes".into()),
            contexts: BTreeMap::from([("yes".to_owned(), context)]),
        };
        save(&path, &file).expect("save");
        save(&path, &file).expect("save again");
        assert_eq!(load(&path).expect("load"), file);
        let mode = fs::metadata(&path).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let left: Vec<_> = fs::read_dir(path.parent().expect("folder")).expect("list").collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("config.yaml");
        fs::write(&path, "current: [").expect("write");
        let failure = load(&path).expect_err("malformed");
        assert_eq!(failure.exit, crate::error::Exit::Usage);
        assert!(failure.problem.detail.contains("config.yaml"), "{failure}");
    }

    #[test]
    fn the_place_follows_the_environment() {
        let at = |vars: &[(&str, &str)]| {
            let find = |n: &str| vars.iter().find(|(k, _)| *k == n).map(|(_, v)| (*v).to_owned());
            path(&find).map(|p| p.display().to_string()).map_err(|_| ())
        };
        assert_eq!(at(&[("HOME", "/h")]), Ok("/h/.config/pigeon/config.yaml".into()));
        let xdg = [("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")];
        assert_eq!(at(&xdg), Ok("/x/pigeon/config.yaml".into()));
        assert_eq!(at(&[("PIGEON_CONFIG", "/c"), ("HOME", "/h")]), Ok("/c".into()));
        assert_eq!(at(&[]), Err(()));
    }
}
