//! The REST API as its own reference describes it, tried by schemathesis: thousands of calls, sound and unsound,
//! none of which the admin fails at or answers otherwise than it says.

use std::process::{Command, Stdio};

use pigeon_e2e::{Admin, Ctl, Engine, tools};
use tempfile::TempDir;

/// As a Python module, wherever its program is.
const MODULE: &str = "schemathesis.cli";

#[test]
fn the_api_keeps_to_its_reference_whatever_it_is_sent() {
    let test = "the_api_keeps_to_its_reference_whatever_it_is_sent";
    let has = |python: &std::path::PathBuf| {
        let mut ran = Command::new(python);
        let ran = ran.args(["-c", "import schemathesis.cli"]).stderr(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    };
    let Some(python) = tools::python().filter(has) else {
        return tools::skip(test, "Python with schemathesis", tools::PYTHON_INSTALL);
    };
    let dir = TempDir::with_prefix("pigeon-e2e-").unwrap();
    let mut admin = Admin::start(&dir.path().join("data"));
    let (engine, ctl) = (Engine::start("demo-1", &[]), Ctl::new(&admin, dir.path()));
    ctl.ok(&["engine", "add", "demo", "--static", &engine.address().to_string()]);
    ctl.ok(&["route", "add", "hello", "--path", "/hello", "--engine", "demo"]);
    let bearer = format!("Authorization: Bearer {}", admin.token());
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                  response_headers_conformance,response_schema_conformance,unsupported_method";
    let mut command = Command::new(python);
    command.args(["-m", MODULE, "run", &format!("{}/openapi.json", admin.url())]);
    command.args(["--header", &bearer, "--checks", checks, "--no-color"]);
    // The stream never ends, and a session would end others.
    command.args(["--exclude-path", "/v1/stream", "--exclude-path", "/v1/sessions"]);
    // One worker: with more, Python 3.11 may fail at its own syntax trees.
    command.args(["--max-examples", "5", "--generation-deterministic", "--workers", "1"]);
    command.args(["--phases", "coverage,fuzzing", "--request-timeout", "10"]);
    command.current_dir(dir.path());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let tested = said.lines().find_map(|line| line.trim().strip_prefix("Tested: ")?.parse().ok());
    assert!(tested.is_some_and(|tested: u32| tested > 40), "{said}");
    assert!(admin.process.exited().is_none(), "the admin has ended");
    assert!(!admin.process.stderr().contains("a request met a bug"), "{}", admin.process.stderr());
}
