//! Names of objects, made of whatever others call them.

use std::collections::BTreeSet;

use pigeon_proto::model::Kind;

/// The longest name of an object.
const LONGEST: usize = 63;

/// The names that are taken.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<(Kind, String)>);

impl Names {
    /// A valid name that no other object of this kind has, as near to `wanted` as can be.
    pub(super) fn unique(&mut self, kind: Kind, wanted: &str) -> String {
        let base = word(wanted, LONGEST, kind.as_str());
        let taken = |name: &String| self.0.contains(&(kind, name.clone()));
        let name = first_free(&base, LONGEST, taken);
        self.0.insert((kind, name.clone()));
        name
    }
}

/// `base`, or else `base-2` and so on: the first that is free.
pub(super) fn first_free(base: &str, most: usize, taken: impl Fn(&String) -> bool) -> String {
    let numbered = |n: u32| {
        let end = format!("-{n}");
        let room = most.saturating_sub(end.len()).min(base.len());
        format!("{}{end}", base[..room].trim_end_matches(['-', '.']))
    };
    let free = std::iter::once(base.to_owned()).chain((2..).map(numbered)).find(|n| !taken(n));
    free.unwrap_or_else(|| base.to_owned())
}

/// Lower-case letters, digits and `-` of a text; `otherwise` if none are left.
pub(super) fn word(text: &str, most: usize, otherwise: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let all: String = text.trim().chars().map(letter).collect();
    let begin = all.trim_start_matches('-');
    let word = begin[..begin.len().min(most)].trim_end_matches('-');
    if word.is_empty() { otherwise.to_owned() } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_unique() {
        let mut names = Names::default();
        let long = "x".repeat(80);
        for (wanted, name) in [
            ("ASR", "asr"),
            ("asr", "asr-2"),
            ("a_b c.d", "a-b-c-d"),
            ("追一", "engine"),
            ("--", "engine-2"),
            (&long, &long[..63]),
            (&long, &format!("{}-2", &long[..61])),
        ] {
            let made = names.unique(Kind::Engine, wanted);
            assert_eq!(made, name);
            assert!(made.parse::<pigeon_proto::model::Name>().is_ok(), "{made}");
        }
        assert_eq!(names.unique(Kind::Route, "ASR"), "asr");
    }
}
