//! What a transport knows of gRPC's messages: where they begin and how long they are
//! (gRPC over HTTP/2, "Length-Prefixed-Message"), and how long a call may take.

pub(crate) mod timeout;

/// A flag and four bytes of length come before each message.
const PREFIX: u8 = 5;

/// Follows one direction of a call as its bytes pass, however they are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageScanner {
    /// Bytes of the current message still to come; while the prefix comes, the length read so far.
    left: u32,
    /// How much of the prefix has been read.
    prefix: u8,
}

/// A message is longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Its length in bytes, prefix not counted.
    pub length: u32,
}

impl MessageScanner {
    /// Looks at the next bytes; how many messages have begun in them (counted where their length is known).
    /// Whoever needs only that gives no `max`.
    ///
    /// # Errors
    /// A message is announced that is longer than `max`; the scanner is of no use afterwards.
    pub fn feed(&mut self, mut bytes: &[u8], max: Option<u32>) -> Result<u32, TooLong> {
        let mut begun = 0;
        while !bytes.is_empty() {
            if self.prefix == PREFIX {
                bytes = self.skip(bytes);
                continue;
            }
            let (first, rest) = (bytes[0], &bytes[1..]);
            bytes = rest;
            if self.prefix > 0 {
                self.left = self.left << 8 | u32::from(first);
            }
            self.prefix += 1;
            if self.prefix == PREFIX {
                begun += 1;
                if max.is_some_and(|max| self.left > max) {
                    return Err(TooLong { length: self.left });
                }
                // A message without bytes is over.
                self.skip(&[]);
            }
        }
        Ok(begun)
    }

    /// Whether the bytes so far end with the end of a message.
    pub fn between_messages(&self) -> bool {
        self.prefix == 0
    }

    /// Passes over the current message.
    fn skip<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        // Not more than `left`, which is of this type.
        self.left -= u32::try_from(here).unwrap_or(self.left);
        if self.left == 0 {
            self.prefix = 0;
        }
        &bytes[here..]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(lengths: &[u16]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &length in lengths {
            bytes.push(u8::from(length % 2 == 1));
            bytes.extend(u32::from(length).to_be_bytes());
            // What looks like a prefix inside of a message is none.
            bytes.resize(bytes.len() + usize::from(length), 0xff);
        }
        bytes
    }

    #[test]
    fn a_scanner_is_small() {
        assert!(size_of::<MessageScanner>() <= 8);
    }

    proptest! {
        #[test]
        fn finds_every_message_however_the_bytes_are_cut(
            lengths in prop::collection::vec(0..700_u16, 0..20),
            cuts in prop::collection::vec(1..400_usize, 1..20),
            max in prop::option::of(0..700_u32),
        ) {
            let bytes = framed(&lengths);
            let wanted = lengths.iter().position(|l| max.is_some_and(|max| u32::from(*l) > max));
            let (mut scanner, mut begun, mut rest) = (MessageScanner::default(), 0, &bytes[..]);
            let mut too_long = None;
            for cut in cuts.iter().cycle() {
                if rest.is_empty() || too_long.is_some() {
                    break;
                }
                let (part, after) = rest.split_at((*cut).min(rest.len()));
                rest = after;
                match scanner.feed(part, max) {
                    Ok(n) => begun += n,
                    Err(e) => too_long = Some(e.length),
                }
            }
            prop_assert_eq!(too_long, wanted.map(|i| u32::from(lengths[i])));
            if wanted.is_none() {
                prop_assert_eq!(begun as usize, lengths.len());
                prop_assert!(scanner.between_messages());
            }
        }
    }

    #[test]
    fn the_largest_length_is_refused_before_its_bytes_come() {
        let mut scanner = MessageScanner::default();
        let prefix = [0, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(scanner.feed(&prefix[..4], Some(5)), Ok(0));
        assert_eq!(scanner.feed(&prefix[4..], Some(5)), Err(TooLong { length: u32::MAX }));
        assert_eq!(MessageScanner::default().feed(&prefix, None), Ok(1));
    }
}
