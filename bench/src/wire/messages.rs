//! gRPC's messages in a stream of bytes: one byte of flags, four of length, the message.

/// The length of what precedes a message.
pub const PREFIX: usize = 5;
/// Longer ones are taken for garbage.
const LONGEST: usize = 64 * 1024 * 1024;

/// Cuts a stream's bytes into messages. Messages that come whole are not copied.
#[derive(Debug, Default)]
pub struct Messages {
    partial: Vec<u8>,
}

impl Messages {
    /// Takes the next bytes, and gives every message that is whole now, with its prefix, to `each`.
    /// False when what came is no message.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) -> bool {
        while !self.partial.is_empty() && !bytes.is_empty() {
            let wanted = length(&self.partial).unwrap_or(PREFIX);
            let (now, rest) = bytes.split_at(bytes.len().min(wanted - self.partial.len()));
            self.partial.extend_from_slice(now);
            bytes = rest;
            match length(&self.partial) {
                Some(whole) if whole > LONGEST => return false,
                Some(whole) if whole == self.partial.len() => {
                    each(&self.partial);
                    self.partial.clear();
                }
                _ => {}
            }
        }
        while let Some(whole) = length(bytes) {
            if whole > LONGEST {
                return false;
            }
            let Some((message, rest)) = bytes.split_at_checked(whole) else { break };
            each(message);
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
        true
    }

    /// Whether the last message is cut.
    pub fn is_cut(&self) -> bool {
        !self.partial.is_empty()
    }
}

/// The length of the message that `bytes` begin with, prefix included.
fn length(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.first_chunk::<PREFIX>()?;
    Some(PREFIX + u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize)
}

/// Writes the prefix of a message of `length` bytes.
pub fn put_prefix(out: &mut Vec<u8>, length: usize) {
    out.push(0);
    out.extend_from_slice(&(length as u32).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_it_is_cut_the_same_messages_come() {
        let mut bytes = Vec::new();
        let sizes = [0, 1, 4, 5, 6, 300, 0, 70_000];
        for size in sizes {
            put_prefix(&mut bytes, size);
            bytes.extend(std::iter::repeat_n(size as u8, size));
        }
        for cut in [1, 2, 3, 5, 7, 16, 1000, usize::MAX] {
            let mut messages = Messages::default();
            let mut seen = Vec::new();
            for part in bytes.chunks(cut.min(bytes.len())) {
                assert!(messages.feed(part, |m| seen.push(m.len() - PREFIX)));
            }
            assert_eq!(seen, sizes, "cut every {cut}");
            assert!(!messages.is_cut());
        }
    }

    #[test]
    fn an_absurd_length_is_no_message() {
        let mut messages = Messages::default();
        assert!(!messages.feed(&[0, 255, 255, 255, 255, 1], |_| panic!("a message")));
    }
}
