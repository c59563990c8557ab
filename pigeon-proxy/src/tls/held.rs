//! What an object's files held when they were last good, what is wrong with them now, and reading them again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::files::{Print, Reader};

/// A certificate that is shown to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownCertificate {
    /// Its file.
    pub path: String,
    /// Its subject, as RFC 4514 writes it.
    pub subject: String,
    /// What it is for.
    pub names: Vec<String>,
    /// When it expires, in seconds since 1970.
    pub not_after: i64,
}

/// The files of one object, as people see them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The certificates that serve.
    pub certificates: Vec<ShownCertificate>,
    /// Why the files that are there now are not used, if so: the ones before serve on.
    pub error: Option<String>,
}

/// The files of one object.
#[derive(Debug)]
pub struct Held {
    /// `kind/name`
    object: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    print: Option<Print>,
    shown: Shown,
}

impl Held {
    /// Nothing was read yet.
    pub(super) fn new(object: String) -> Self {
        Self { object, state: Mutex::default() }
    }

    /// Whose they are, as `kind/name`.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// As people see them.
    pub fn shown(&self) -> Shown {
        self.lock().shown.clone()
    }

    /// Notes what was read; false if it is what was read before. What is new is logged, once.
    pub(super) fn note(&self, reader: Reader, read: Result<(), &str>) -> bool {
        let print = reader.print();
        let mut state = self.lock();
        let first = state.print.is_none();
        if state.print.replace(print) == Some(print) {
            return false;
        }
        let object = &self.object;
        match read {
            Ok(()) => {
                for warning in &reader.warnings {
                    tracing::warn!(%object, "{warning}");
                }
                if !first {
                    tracing::info!(%object, "the TLS files were read again, new connections use them");
                }
                state.shown = Shown { certificates: reader.shown, error: None };
            }
            Err(error) => {
                let on = if state.shown.certificates.is_empty() {
                    ""
                } else {
                    ", the old ones serve on"
                };
                tracing::error!(%object, "the TLS files cannot be used{on}: {error}");
                state.shown.error = Some(error.to_owned());
            }
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
