//! The streams of a connection.

/// A stream of one connection. It names a place and the stream's id, so the key of a stream that is gone finds
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) slot: u32,
    pub(super) id: u32,
}

impl Key {
    /// The stream's id on the wire.
    pub fn id(self) -> u32 {
        self.id
    }
}
