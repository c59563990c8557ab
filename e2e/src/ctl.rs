//! `pigeon-ctl`, run as people run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Admin, programs};

/// How one command ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
    /// From its start to its end.
    pub took: Duration,
}

impl Ran {
    /// stdout as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The CLI with a server, a token and no context file.
#[derive(Clone, Debug)]
pub struct Ctl {
    server: String,
    token_file: PathBuf,
    config: PathBuf,
}

impl Ctl {
    /// Talks to `admin`; `dir` is for a context file that does not exist yet.
    pub fn new(admin: &Admin, dir: &Path) -> Self {
        Self {
            server: admin.url(),
            token_file: admin.token_file(),
            config: dir.join("contexts.yaml"),
        }
    }

    /// The same, with another token file.
    pub fn with_token_file(&self, token_file: &Path) -> Self {
        Self { token_file: token_file.to_owned(), ..self.clone() }
    }

    /// The same, with another server.
    pub fn with_server(&self, server: &str) -> Self {
        Self { server: server.to_owned(), ..self.clone() }
    }

    /// The command, not yet run: nothing of the surroundings reaches it but the path.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs::path("pigeon-ctl"));
        for name in ["PIGEON_CONTEXT", "PIGEON_TOKEN", "PIGEON_OUTPUT", "PIGEON_NO_INPUT"] {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("PIGEON_SERVER", &self.server)
            .env("PIGEON_TOKEN_FILE", &self.token_file)
            .env("PIGEON_CONFIG", &self.config)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let start = Instant::now();
        let output = self.command(arguments).output().expect("pigeon-ctl starts");
        Ran {
            took: start.elapsed(),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed, and returns its stdout.
    ///
    /// # Panics
    /// If the exit code is not 0.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "pigeon-ctl {}: {ran:?}", arguments.join(" "));
        ran.stdout
    }
}
