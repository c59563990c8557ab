//! Programs that the tests use where the machine has them: curl, Python with grpcio, node with grpc-js,
//! the tools of `e2e/go`, Chromium.
//!
//! A test that lacks one says so loudly and passes; with `PIGEON_REQUIRE_ALL=1`, as `./test` sets it,
//! it fails.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::programs;

/// Writes a line to the real stderr, which the test runner does not hold back.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Notes that a test does nothing for want of a tool.
///
/// # Panics
/// With `PIGEON_REQUIRE_ALL=1`.
pub fn skip(test: &str, missing: &str, install: &str) {
    let required = std::env::var_os("PIGEON_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "{test}: {missing} is missing ({install}), and PIGEON_REQUIRE_ALL=1");
    say(&format!("SKIPPED: {test}: {missing} is missing; {install}"));
}

/// Where a program is on the path.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// A Python that has grpcio and its tools: `PIGEON_PYTHON`, the one that `./test` installs, or the
/// machine's own.
pub fn python() -> Option<PathBuf> {
    let given = std::env::var_os("PIGEON_PYTHON").map(PathBuf::from);
    let ours = programs::repository().join("target/venv/bin/python");
    given.into_iter().chain([ours, PathBuf::from("python3")]).find(|python| {
        let check = ["-c", "import grpc, grpc_status.rpc_status, grpc_tools.protoc"];
        let mut ran = Command::new(python);
        let ran = ran.args(check).stdout(Stdio::null()).stderr(Stdio::null());
        ran.status().is_ok_and(|status| status.success())
    })
}

/// A tool of `e2e/go`, built by `./test` into `target/go`, or one on the path.
pub fn go(name: &str) -> Option<PathBuf> {
    let ours = programs::repository().join("target/go").join(name);
    if ours.is_file() { Some(ours) } else { find(name) }
}

/// How to get what [`go`] looks for.
pub const GO_INSTALL: &str = "run ./test, which builds the tools of e2e/go";

/// node, if the packages of `e2e/node` are installed.
pub fn node() -> Option<PathBuf> {
    let packages = programs::repository().join("e2e/node/node_modules/@grpc/grpc-js");
    if packages.is_dir() { find("node") } else { None }
}

/// How to get what [`node`] looks for.
pub const NODE_INSTALL: &str = "run ./test, or install node and run npm ci in e2e/node";

/// How to get what [`python`] looks for.
pub const PYTHON_INSTALL: &str =
    "run ./test, or pip install -r e2e/python/requirements.txt and set PIGEON_PYTHON";

/// A script of `e2e/python`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

/// A script of `e2e/node`.
pub fn node_script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("node").join(name)
}

/// Runs a program to its end: exit code, stdout, stderr.
///
/// # Panics
/// If it cannot be started.
pub fn run(program: &Path, arguments: &[OsString]) -> (i32, String, String) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// The profile of the programs under test, for figures that depend on it.
pub fn profile_name() -> String {
    let dir = programs::profile_dir();
    dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
