//! `lint`

use clap::Args;
use pigeon_proto::model::{Key, code};

use super::{FileArgs, values};

/// `lint`
#[derive(Clone, Debug, Args)]
pub struct LintArgs {
    /// What to read.
    #[command(flatten)]
    pub files: FileArgs,
    /// Leave out what has this code, or only where it is about one object; may be repeated
    #[arg(long, value_name = "CODE[=KIND/NAME]", value_parser = suppression)]
    pub suppress: Vec<Suppression>,
}

/// `CODE`, or `CODE=KIND/NAME`: findings that are to be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// Their code.
    pub code: String,
    /// The one object they are about; none means all.
    pub object: Option<Key>,
}

/// Reads a [`Suppression`].
fn suppression(text: &str) -> Result<Suppression, String> {
    let (code, object) = match text.split_once('=') {
        Some((code, object)) => (code, Some(values::key(object)?)),
        None => (text, None),
    };
    // What requests and proxies are told is never found in files.
    let findable = code::explanations().map(|e| e.code).filter(|c| !c.starts_with("PGN-A"));
    let findable: Vec<&str> = findable.filter(|c| !c.starts_with("PGN-P")).collect();
    if !findable.contains(&code) {
        let all = findable.join(", ");
        return Err(format!("nothing is found with the code \"{code}\"; the codes are {all}"));
    }
    Ok(Suppression { code: code.to_owned(), object })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suppression_is_a_code_and_maybe_an_object() {
        let one = suppression("PGN-R101=routes/a").expect("understood");
        assert_eq!(one.object.map(|key| key.to_string()).as_deref(), Some("route/a"));
        assert_eq!(suppression("PGN-V105").map(|s| s.object), Ok(None));
        for wrong in ["", "PGN-R999", "PGN-A404", "PGN-P301", "pgn-r101", "=route/a"] {
            let said = suppression(wrong).map(|s| s.code).expect_err(wrong);
            assert!(said.contains("PGN-R101, PGN-R102"), "{said}");
        }
        for wrong in ["PGN-R101=", "PGN-R101=a", "PGN-R101=rout/a", "PGN-R101=route/A b"] {
            assert!(suppression(wrong).is_err(), "{wrong}");
        }
    }
}
