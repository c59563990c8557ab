//! Where in foreign configuration something stands: the file or object, and the key in it.

use std::fmt;

use pigeon_proto::model::FieldError;

/// A key of a file or object: displayed as `PoolConfig.yaml pool.engine[0].POOL_MODEL`.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The file, or the object.
    pub(super) source: String,
    /// The way to the key in it; empty is all of it.
    pub(super) key: String,
}

impl Place {
    /// All of a file or object.
    pub(super) fn of(source: impl Into<String>) -> Self {
        Self { source: source.into(), key: String::new() }
    }

    /// What is below `key`.
    pub(super) fn key(&self, key: &str) -> Self {
        let dot = if self.key.is_empty() { "" } else { "." };
        Self { source: self.source.clone(), key: format!("{}{dot}{key}", self.key) }
    }

    /// An item of a list.
    pub(super) fn item(&self, index: usize) -> Self {
        Self { source: self.source.clone(), key: format!("{}[{index}]", self.key) }
    }

    /// An error there, its pointer in the form of all others (RFC 6901).
    pub(super) fn error(&self, code: &str, message: impl Into<String>) -> FieldError {
        let slashes = self.key.replace(['.', '['], "/").replace(']', "");
        let pointer = if slashes.is_empty() { slashes } else { format!("/{slashes}") };
        FieldError::new(pointer, code, message).of(&self.source)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.key.is_empty() { "" } else { " " };
        write!(f, "{}{space}{}", self.source, self.key)
    }
}
