//! Scripts in other languages that check one thing after another and say for each how it went, one JSON
//! line each: `{"check": "unary", "ok": true, "detail": ""}`.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::tools;

/// Runs a script of `e2e/python` and fails with every check that failed. `expected` is the least number
/// of checks, so that a script that stops early is noticed. Without Python's grpcio: skipped.
///
/// # Panics
/// If a check failed, or the script itself.
pub fn run(test: &str, script: &str, arguments: &[&str], expected: usize) {
    let Some(python) = tools::python() else {
        return tools::skip(test, "Python with grpcio", tools::PYTHON_INSTALL);
    };
    let mut command = Command::new(python);
    command.arg(tools::script(script)).args(arguments);
    run_command(test, command, expected);
}

/// As [`run`], with a command that speaks the same lines.
///
/// # Panics
/// If a check failed, or the command itself.
pub fn run_command(test: &str, mut command: Command, expected: usize) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let checks: Vec<Value> =
        stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let failed: Vec<&Value> = checks.iter().filter(|check| check["ok"] != true).collect();
    for check in &failed {
        eprintln!("{}: {}", check["check"], check["detail"].as_str().unwrap_or(""));
    }
    assert!(failed.is_empty(), "{test}: {} of {} checks failed", failed.len(), checks.len());
    assert!(output.status.success(), "{test}: {}\n{stdout}\n{stderr}", output.status);
    assert!(checks.len() >= expected, "{test}: {} checks of {expected}\n{stderr}", checks.len());
}
