//! How far a reader of the configuration has come, as the ids of events say it, and whether it can go on from there.

use std::fmt;
use std::str::FromStr;

use crate::api::error::clip;

/// How many revisions are caught up with at most; who is further behind does better to list again.
pub const MOST_BEHIND: u64 = 10_000;

/// A revision, and the generation of the store that it is of: `1-42`.
///
/// A store that was put back from a backup is a later generation: its revisions are not those that a reader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Of the store; none where somebody wrote a revision alone.
    pub generation: Option<u64>,
    /// Everything up to this one is known.
    pub revision: u64,
}

impl Place {
    /// The revision to go on from.
    ///
    /// # Errors
    /// Why a store of this `generation` at revision `current` cannot go on from there.
    pub fn resume(self, generation: u64, current: u64) -> Result<u64, String> {
        let Self { generation: of, revision } = self;
        match current.checked_sub(revision) {
            _ if of.is_some_and(|of| of != generation) => Err(format!(
                "{self} is of another store, or of this one before a backup was put back"
            )),
            None => Err(format!("revision {revision} does not exist yet; the newest is {current}")),
            Some(behind) if behind > MOST_BEHIND => Err(format!(
                "revision {revision} is {behind} revisions ago; at most {MOST_BEHIND} are caught up with"
            )),
            Some(_) => Ok(revision),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            Some(generation) => write!(f, "{generation}-{}", self.revision),
            None => write!(f, "{}", self.revision),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (generation, revision) = match text.split_once('-') {
                Some((generation, revision)) => (Some(generation.parse().ok()?), revision),
                None => (None, text),
            };
            Some(Self { generation, revision: revision.parse().ok()? })
        };
        parse().ok_or_else(|| {
            let text = clip(text);
            format!(
                "is \"{text}\"; write a revision, such as 42, or the id of an event, such as 1-42"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for text in ["0", "42", "1-42"] {
            assert_eq!(text.parse::<Place>().expect(text).to_string(), text);
        }
        for bad in ["", "-", "1-", "-1", "1-2-3", "r42", "x"] {
            let why = bad.parse::<Place>().expect_err(bad);
            assert!(why.contains("such as 1-42"), "{why}");
        }
    }

    #[test]
    fn what_cannot_be_resumed_is_said() {
        let resume = |text: &str| text.parse::<Place>().expect(text).resume(2, 20_000);
        for (text, revision) in [("10000", 10_000), ("2-20000", 20_000), ("2-19999", 19_999)] {
            assert_eq!(resume(text), Ok(revision), "{text}");
        }
        for (text, why) in [
            ("9999", "10001 revisions ago"),
            ("20001", "does not exist yet; the newest is 20000"),
            ("1-20000", "of another store"),
            ("3-20001", "of another store"),
        ] {
            let said = resume(text).expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
