//! The token this proxy shows to the admin; it lives in a file, never in arguments, logs or errors.

use std::io;
use std::path::{Path, PathBuf};

use tonic::metadata::{Ascii, MetadataValue};

use super::durable;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token file {}: {source}; give the file that the admin wrote \
             (proxy.token in its data directory) with --token-file", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds nothing.
    #[error("the token file {} is empty; copy proxy.token from the admin's data directory", .0.display())]
    Empty(PathBuf),
    /// The file holds something else.
    #[error("the token file {} does not hold a token (one line of visible ASCII characters); \
             copy proxy.token from the admin's data directory", .0.display())]
    Malformed(PathBuf),
}

/// Reads the token as the value of an `authorization` entry.
///
/// # Errors
/// Each names the file and what to do, and never its content.
pub fn read(path: &Path) -> Result<MetadataValue<Ascii>, TokenError> {
    let bytes = durable::read_limited(path, 4096)
        .map_err(|source| TokenError::Unreadable { path: path.to_owned(), source })?;
    let malformed = || TokenError::Malformed(path.to_owned());
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?.trim();
    if text.is_empty() {
        return Err(TokenError::Empty(path.to_owned()));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(malformed());
    }
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {text}").parse().map_err(|_| malformed())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_visible_line_is_a_token() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("proxy.token");
        let with = |content: &[u8]| {
            std::fs::write(&path, content).expect("written");
            read(&path)
        };
        let token = with(b"  pgp_abc123\n").expect("token");
        assert_eq!(token.to_str().expect("ascii"), "Bearer pgp_abc123");
        assert!(token.is_sensitive());
        assert!(matches!(with(b" \n"), Err(TokenError::Empty(_))));
        let secret = with(b"top secret").expect_err("two words").to_string();
        assert!(!secret.contains("top") && secret.contains("proxy.token"), "{secret}");
        assert!(matches!(with(b"\xff\xfe"), Err(TokenError::Malformed(_))));
        assert!(matches!(with(&[b'x'; 5000]), Err(TokenError::Unreadable { .. })));
        assert!(matches!(read(folder.path()), Err(TokenError::Unreadable { .. })));
    }
}
