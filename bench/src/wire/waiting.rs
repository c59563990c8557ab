//! Bytes of a body that wait for room. Taking from the front moves nothing: with messages of megabytes, sent a
//! window at a time, that would be most of the work.

/// A queue of bytes.
#[derive(Debug, Default)]
pub struct Waiting {
    bytes: Vec<u8>,
    at: usize,
}

impl Waiting {
    /// What waits.
    pub fn left(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Whether nothing does.
    pub fn is_empty(&self) -> bool {
        self.left().is_empty()
    }

    /// These wait, too.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The first `count` do no longer.
    pub fn take(&mut self, count: usize) {
        self.at += count;
        // Each byte is moved once at most.
        if self.at > self.bytes.len() / 2 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_first_goes_first() {
        let mut waiting = Waiting::default();
        for part in ["abc", "", "defgh", "i"] {
            waiting.push(part.as_bytes());
        }
        let mut seen = Vec::new();
        for count in [0, 1, 4, 3, 1] {
            seen.extend_from_slice(&waiting.left()[..count]);
            waiting.take(count);
        }
        assert_eq!(seen, b"abcdefghi");
        assert!(waiting.is_empty());
    }
}
