//! Pigeon's programs, built once per test run in the profile of the tests and found beside them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where a program of the workspace is; the first call builds all of them.
///
/// With `PIGEON_E2E_BIN_DIR` nothing is built and the programs are taken from there.
///
/// # Panics
/// If they do not compile.
pub fn path(name: &str) -> PathBuf {
    // The error is kept as well: one failed build is enough to know.
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(find) {
        Ok(dir) => dir.join(name),
        Err(errors) => panic!("the programs do not compile:\n{errors}"),
    }
}

/// The top of the repository.
///
/// # Panics
/// Never: the crate is one folder below it.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e is a folder of the repository")
}

/// The target directory's profile folder, such as `target/debug`.
///
/// # Panics
/// If the tests were moved out of it.
pub fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().expect("the test knows where it is");
    let dir = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
    dir.to_owned()
}

fn find() -> Result<PathBuf, String> {
    if let Some(given) = std::env::var_os("PIGEON_E2E_BIN_DIR") {
        return Ok(given.into());
    }
    let dir = profile_dir();
    let profile = match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .current_dir(repository())
        .args(["build", "--workspace", "--bins", "--quiet", "--profile", profile])
        .arg("--target-dir")
        .arg(dir.parent().expect("the profile folder is in the target directory"))
        .output()
        .expect("cargo runs");
    if output.status.success() {
        return Ok(dir);
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}
