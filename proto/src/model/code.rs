//! The stable codes that errors carry, in REST, CLI, logs and docs/errors.md; and what that page says of each.

use std::fmt;

/// The text is not JSON or YAML at all.
pub const MALFORMED: &str = "PGN-V100";
/// A field that does not exist.
pub const UNKNOWN_FIELD: &str = "PGN-V101";
/// A value of the wrong type.
pub const WRONG_TYPE: &str = "PGN-V102";
/// A required field is absent.
pub const MISSING_FIELD: &str = "PGN-V103";
/// A word that is not one of the allowed ones.
pub const UNKNOWN_VALUE: &str = "PGN-V104";
/// A value of the right type that cannot be used: does not parse, or is out of range.
pub const BAD_VALUE: &str = "PGN-V105";
/// Fields that exclude or need each other.
pub const CONFLICTING_FIELDS: &str = "PGN-V106";
/// The same object twice in one request or file.
pub const DUPLICATE_OBJECT: &str = "PGN-V107";
/// A route names an engine that does not exist.
pub const UNKNOWN_ENGINE: &str = "PGN-R101";
/// A route names a listener that does not exist.
pub const UNKNOWN_LISTENER: &str = "PGN-R102";
/// Two routes match the same calls with the same priority.
pub const ROUTE_OVERLAP: &str = "PGN-R104";
/// Two listeners on one address.
pub const ADDRESS_TAKEN: &str = "PGN-L101";
/// One address twice among the endpoints of an engine.
pub const DUPLICATE_ENDPOINT: &str = "PGN-E101";
/// Pool settings that contradict each other.
pub const POOL: &str = "PGN-E102";
/// An engine that routes still use cannot be removed.
pub const ENGINE_IN_USE: &str = "PGN-E103";
/// A route is for a tenant that does not exist.
pub const UNKNOWN_TENANT: &str = "PGN-R110";
/// A route asks for tokens where no issuer of any is believed.
pub const NO_ISSUER: &str = "PGN-R111";
/// Two tenants with the same key, certificate or subject.
pub const SHARED_CREDENTIAL: &str = "PGN-T101";
/// A proxy cannot listen on an address.
pub const CANNOT_LISTEN: &str = "PGN-P301";
/// A proxy got an object that it cannot read or use.
pub const CANNOT_USE: &str = "PGN-P302";

/// Every code, those of the other programs included: what it means and what to do.
const PAGE: &str = include_str!("../../../docs/errors.md");

/// A row of docs/errors.md; displayed as a small page of its own, in Markdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The code.
    pub code: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub advice: &'static str,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, meaning, advice } = self;
        write!(f, "# {code}\n\n{meaning}\n\n{advice}\n")
    }
}

/// All of them, in the order of the page.
pub fn explanations() -> impl Iterator<Item = Explanation> {
    PAGE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.strip_suffix(" |")?.splitn(3, " | ");
        let code = cells.next()?.strip_suffix('`')?;
        Some(Explanation { code, meaning: cells.next()?, advice: cells.next()? })
    })
}

/// The explanation of one code.
pub fn explain(code: &str) -> Option<Explanation> {
    explanations().find(|explanation| explanation.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_page_is_an_explanation() {
        let rows = PAGE.lines().filter(|line| line.starts_with("| `PGN-")).count();
        assert!(rows > 30, "{rows} rows");
        assert_eq!(explanations().count(), rows);
        for Explanation { code, meaning, advice } in explanations() {
            assert!(code.starts_with("PGN-") && code.len() == 8, "{code}");
            assert!(meaning.ends_with('.') && advice.ends_with('.'), "{code}");
        }
    }

    #[test]
    fn a_code_is_explained_as_a_page() {
        let page = explain(UNKNOWN_ENGINE).map(|e| e.to_string()).unwrap_or_default();
        assert!(page.starts_with("# PGN-R101\n\nA route names an engine"), "{page}");
        assert_eq!(page.lines().count(), 5, "{page}");
        assert_eq!((explain("PGN-X999"), explain(""), explain("code")), (None, None, None));
    }
}
