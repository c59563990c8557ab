//! Base64 as it comes: cut anywhere, and made of several parts that may each end in padding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What was sent is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Decodes a text that comes in parts.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of a group of four.
    group: Vec<u8>,
}

impl Decoder {
    /// The bytes of all groups that are complete.
    pub(super) fn feed(&mut self, text: &[u8]) -> Result<Vec<u8>, Malformed> {
        self.group.extend_from_slice(text);
        let whole = self.group.len() / 4 * 4;
        let mut bytes = Vec::with_capacity(whole / 4 * 3);
        let mut rest = &self.group[..whole];
        while !rest.is_empty() {
            // Up to the end of a part: the group with padding.
            let end = rest.iter().position(|b| *b == b'=').map_or(rest.len(), |at| at / 4 * 4 + 4);
            let (part, others) = rest.split_at(end);
            STANDARD.decode_vec(part, &mut bytes).map_err(|_| Malformed)?;
            rest = others;
        }
        self.group.drain(..whole);
        Ok(bytes)
    }

    /// Nothing more comes.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.group.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// One part of a text: every one can be read when it comes, because it ends in padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(parts: &[&[u8]]) -> Result<Vec<u8>, Malformed> {
        let mut decoder = Decoder::default();
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend(decoder.feed(part)?);
        }
        decoder.end().map(|()| bytes)
    }

    #[test]
    fn parts_with_padding_follow_each_other() {
        assert_eq!(decoded(&[b"YQ==Yg==Y2Rl"]), Ok(b"abcde".to_vec()));
        assert_eq!(decoded(&[b"Y", b"Q=", b"=Y", b"g==", b""]), Ok(b"ab".to_vec()));
        assert_eq!(decoded(&[]), Ok(vec![]));
    }

    #[test]
    fn what_is_not_base64_is_found() {
        for text in ["YQ=", "Y", "YQ=a", "=aaa", "Y\nQ=", "YQ-_", "Y===", "YR=="] {
            assert_eq!(decoded(&[text.as_bytes()]), Err(Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            cuts in prop::collection::vec(0..400_usize, 0..8),
        ) {
            let text: String = parts.iter().map(|part| encode(part)).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let cut: Vec<&[u8]> = cuts.windows(2).map(|at| &text.as_bytes()[at[0]..at[1]]).collect();
            prop_assert_eq!(decoded(&cut), Ok(parts.concat()));
        }

        #[test]
        fn nothing_makes_it_panic(parts in prop::collection::vec("[A-Za-z=+/\n]{0,9}", 0..5)) {
            let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
            drop(decoded(&parts));
        }
    }
}
