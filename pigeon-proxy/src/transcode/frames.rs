//! gRPC's length-prefixed messages: a request made of one, and the messages of an answer as they come.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// Flags and length before a message.
const PREFIX: usize = 5;

/// Why an answer is not read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody offered to read a compressed one.
    Compressed,
    /// A message is longer than allowed.
    TooLong,
}

/// A message with its prefix. None if it is too long to have one.
#[must_use]
pub fn frame(message: &[u8]) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(length);
    framed.put_slice(message);
    Some(framed.freeze())
}

/// The messages of an answer, which comes in parts of any length.
#[derive(Debug)]
pub struct Frames {
    rest: BytesMut,
    longest: usize,
}

impl Frames {
    /// Of messages that have `longest` bytes at most.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Self { rest: BytesMut::new(), longest }
    }

    /// More has come.
    pub fn feed(&mut self, part: &[u8]) {
        self.rest.extend_from_slice(part);
    }

    /// The next message, if it is there as a whole.
    pub fn message(&mut self) -> Result<Option<Bytes>, Fault> {
        let Some([flags, length @ ..]) = self.rest.first_chunk::<PREFIX>() else { return Ok(None) };
        if *flags != 0 {
            return Err(Fault::Compressed);
        }
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Fault::TooLong)?;
        if length > self.longest {
            return Err(Fault::TooLong);
        }
        if self.rest.len() < PREFIX + length {
            return Ok(None);
        }
        self.rest.advance(PREFIX);
        Ok(Some(self.rest.split_to(length).freeze()))
    }

    /// Whether the answer ended between two messages.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..5),
            cut in 1usize..7,
        ) {
            let framed: Vec<u8> = messages.iter().filter_map(|m| frame(m)).flatten().collect();
            let mut frames = Frames::new(8);
            let mut read = Vec::new();
            for part in framed.chunks(cut) {
                frames.feed(part);
                while let Some(message) = frames.message().expect("well-formed") {
                    read.push(message.to_vec());
                }
            }
            prop_assert!(frames.is_whole());
            prop_assert_eq!(read, messages);
        }
    }

    #[test]
    fn what_nobody_can_read_is_refused_by_its_prefix() {
        let next = |bytes: &[u8]| {
            let mut frames = Frames::new(8);
            frames.feed(bytes);
            frames.message()
        };
        assert_eq!(next(&[0, 0, 0, 0, 9]), Err(Fault::TooLong));
        assert_eq!(next(&[0, 255, 255, 255, 255]), Err(Fault::TooLong));
        assert_eq!(next(&[1, 0, 0, 0, 0]), Err(Fault::Compressed));
        assert_eq!(next(&[0, 0, 0, 0]), Ok(None));
        assert_eq!(next(&[0, 0, 0, 0, 0]), Ok(Some(Bytes::new())));
    }
}
