//! What can go wrong, how it is shown, and with which code the program then exits.

mod show;

use std::process::ExitCode;

use pigeon_proto::model::{Errors, FieldError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use show::clean;
pub use show::print;

/// How the program exits; `pigeon-ctl help exit-codes` says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; or the answer is yes.
    Done = 0,
    /// It worked, and the answer is no.
    No = 1,
    /// The command line, the configuration file or a file name is wrong.
    Usage = 2,
    /// The server cannot be reached or cannot serve.
    Unreachable = 3,
    /// Not authenticated, or not permitted.
    Denied = 4,
    /// Not found.
    NotFound = 5,
    /// It exists, is in use, or has changed meanwhile.
    Conflict = 6,
    /// Rejected by validation.
    Invalid = 7,
    /// Timed out waiting.
    TimedOut = 8,
    /// A bug.
    Bug = 70,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// The exit code for an HTTP status that is an error.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 | 403 | 421 | 429 => Self::Denied,
            404 | 410 => Self::NotFound,
            409 | 412 => Self::Conflict,
            400 | 413 | 415 | 422 => Self::Invalid,
            408 | 504 => Self::TimedOut,
            500.. => Self::Unreachable,
            // What is left is a request that a matching version would not have sent.
            _ => Self::Bug,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A problem document (RFC 9457): the server's, or one of this program in the same form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// What sort of problem, as a URN.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The sort in words.
    #[serde(default)]
    pub title: String,
    /// HTTP status, where a server said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What happened this time.
    #[serde(default)]
    pub detail: String,
    /// Stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Every wrong field.
    #[serde(default)]
    pub errors: Vec<FieldError>,
    /// Commands that help.
    #[serde(default)]
    pub next: Vec<String>,
    /// Whatever else a server says.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Why a command did not do its work.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", problem.detail)]
pub struct Failure {
    /// How to exit.
    pub exit: Exit,
    /// What to say.
    pub problem: Box<Problem>,
}

impl Failure {
    fn local(exit: Exit, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        let problem = Problem {
            kind: format!("urn:pigeon:problem:{kind}"),
            title: title.into(),
            detail: detail.into(),
            ..Problem::default()
        };
        Self { exit, problem: Box::new(problem) }
    }

    /// The command line, a file name or the configuration file is wrong.
    pub fn usage(detail: impl Into<String>) -> Self {
        Self::local(Exit::Usage, "usage", "The command cannot be run like this", detail)
    }

    /// The server cannot be reached, or what answers is not a Pigeon admin.
    pub fn unreachable(detail: impl Into<String>) -> Self {
        Self::local(Exit::Unreachable, "unreachable", "The server cannot be reached", detail)
    }

    /// There is no usable token.
    pub fn no_token(detail: impl Into<String>) -> Self {
        Self::local(Exit::Denied, "no-token", "There is no usable token", detail)
    }

    /// Something named is not there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::local(Exit::NotFound, "not-found", "Not found", detail)
    }

    /// The server took too long.
    pub fn timed_out(detail: impl Into<String>) -> Self {
        Self::local(Exit::TimedOut, "timed-out", "Timed out", detail)
    }

    /// Ctrl-C.
    pub fn interrupted(detail: impl Into<String>) -> Self {
        Self::local(Exit::Interrupted, "interrupted", "Interrupted", detail)
    }

    /// Someone was asked, and did not say yes.
    pub fn declined(detail: impl Into<String>) -> Self {
        Self::local(Exit::No, "declined", "Not confirmed", detail)
    }

    /// This machine does not let the program do something: write a file, start a thread.
    pub fn system(detail: impl Into<String>) -> Self {
        Self::local(Exit::No, "system", "This machine does not allow it", detail)
    }

    /// What must not happen.
    pub fn bug(detail: impl Into<String>) -> Self {
        Self::local(Exit::Bug, "bug", "A bug in pigeon-ctl; please report it", detail)
    }

    /// Objects in files that are not valid.
    pub fn invalid(errors: Errors) -> Self {
        let title = "The configuration is not valid";
        let detail = errors.0.first().map(ToString::to_string).unwrap_or_default();
        let mut failure = Self::local(Exit::Invalid, "invalid", title, detail);
        failure.problem.code = errors.0.first().map(|e| e.code.clone());
        failure.problem.errors = errors.0;
        failure
    }

    /// What a server said.
    pub fn of_server(status: u16, problem: Problem) -> Self {
        Self { exit: Exit::of_status(status), problem: Box::new(problem) }
    }

    /// Adds a command that helps.
    pub fn next(mut self, command: impl Into<String>) -> Self {
        self.problem.next.push(command.into());
        self
    }
}
