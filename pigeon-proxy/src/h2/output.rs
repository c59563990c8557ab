//! Bytes that wait to be written to the peer, in one reused buffer.

/// Queued output. The connection appends, the caller writes and says how much was taken.
#[derive(Debug, Default)]
pub struct Output {
    pub(super) buffer: Vec<u8>,
    head: usize,
    /// At most as many bytes of replies (frames that the peer provoked) as are unsent; see [`Output::replied`].
    replies: usize,
}

impl Output {
    /// What is not yet written, oldest first.
    pub fn unsent(&self) -> &[u8] {
        self.buffer.get(self.head..).unwrap_or_default()
    }

    /// How many bytes are not yet written.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.head
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first `count` unsent bytes were written.
    pub fn consume(&mut self, count: usize) {
        self.head += count.min(self.len());
        self.replies = self.replies.saturating_sub(count);
        if self.is_empty() {
            self.buffer.clear();
            self.head = 0;
        } else if self.head >= self.buffer.len() / 2 {
            self.buffer.drain(..self.head);
            self.head = 0;
        }
    }

    /// Puts `buffer` in the place of the one in use and returns that, empty. Unsent bytes move along. With
    /// `Vec::new()` an idle connection holds no buffer; with a pooled one it starts without an allocation.
    pub fn swap_buffer(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        buffer.clear();
        buffer.extend_from_slice(self.unsent());
        self.head = 0;
        let mut used = std::mem::replace(&mut self.buffer, buffer);
        used.clear();
        used
    }

    /// Counts `count` appended bytes as a reply and returns how many bytes of replies wait. Written bytes are
    /// taken from the count whatever they were, so it is never too high; and whatever makes the output longer
    /// than the caller allows its own data (`room`) is in the count, so a limit of it bounds the memory.
    pub(super) fn replied(&mut self, count: usize) -> usize {
        self.replies += count;
        self.replies
    }
}
