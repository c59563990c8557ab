//! The streams of a connection: a slab of small records, found by key in one step and by id through a hash map.

mod ids;

use super::flow::{SendWindow, StreamWindow};
use ids::Ids;

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

/// What happened on a stream, as bits of [`Stream::seen`].
pub mod seen {
    /// We sent HEADERS.
    pub const HEAD_SENT: u8 = 0x01;
    /// The peer sent HEADERS.
    pub const HEAD_RECEIVED: u8 = 0x02;
    /// The peer sent DATA.
    pub const DATA_RECEIVED: u8 = 0x04;
    /// We sent END_STREAM.
    pub const SEND_ENDED: u8 = 0x08;
    /// The peer sent END_STREAM.
    pub const RECEIVE_ENDED: u8 = 0x10;
    /// `send_data` was short of this stream's window.
    pub const SHORT: u8 = 0x20;
    /// Both sides have ended.
    pub const ENDED: u8 = SEND_ENDED | RECEIVE_ENDED;
}

/// No content-length was promised.
pub const ANY_LENGTH: u64 = u64::MAX;

/// One open stream.
#[derive(Clone, Debug)]
pub struct Stream {
    /// 0: the place is free, and `tag` is the next free place.
    id: u32,
    /// The caller's number.
    pub tag: u32,
    /// What we may send.
    pub send: SendWindow,
    /// Bits of [`seen`].
    pub seen: u8,
    /// What the peer may send.
    pub receive: StreamWindow,
    /// Bytes of the body that content-length promised and that have yet to come, or [`ANY_LENGTH`].
    pub length: u64,
}

impl Stream {
    /// Its id on the wire.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether any of the bits of [`seen`] is set.
    #[inline]
    pub fn has(&self, bits: u8) -> bool {
        self.seen & bits != 0
    }

    /// Whether we may send DATA: between our head and our end.
    #[inline]
    pub fn sends(&self) -> bool {
        self.seen & (seen::HEAD_SENT | seen::SEND_ENDED) == seen::HEAD_SENT
    }

    /// Whether both sides have ended.
    #[inline]
    pub fn is_ended(&self) -> bool {
        self.seen & seen::ENDED == seen::ENDED
    }

    /// `count` bytes of the body came. False: content-length promised another number.
    #[inline]
    #[must_use]
    pub fn count_body(&mut self, count: usize, end: bool) -> bool {
        if self.length == ANY_LENGTH {
            return true;
        }
        match self.length.checked_sub(count as u64) {
            Some(left) => {
                self.length = left;
                !end || left == 0
            }
            None => false,
        }
    }
}

const NO_SLOT: u32 = u32::MAX;
/// Places that are kept when the last stream leaves.
const KEPT_SLOTS: usize = 64;

/// The open streams. Without a stream since the start, or after [`Streams::trim`], it holds no memory.
#[derive(Debug)]
pub struct Streams {
    slots: Vec<Stream>,
    ids: Ids,
    free: u32,
}

impl Default for Streams {
    fn default() -> Self {
        Self { slots: Vec::new(), ids: Ids::default(), free: NO_SLOT }
    }
}

impl Streams {
    /// How many are open.
    #[inline]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stream of an id.
    #[inline]
    pub fn find(&self, id: u32) -> Option<Key> {
        self.ids.get(id).map(|slot| Key { slot, id })
    }

    /// The stream of a key.
    #[inline]
    pub fn get(&self, key: Key) -> Option<&Stream> {
        self.slots.get(key.slot as usize).filter(|stream| stream.id == key.id)
    }

    /// The stream of a key.
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Stream> {
        self.slots.get_mut(key.slot as usize).filter(|stream| stream.id == key.id)
    }

    /// Adds a stream of an id that is not in use and not 0.
    pub fn insert(&mut self, id: u32, tag: u32, send: SendWindow, receive: StreamWindow) -> Key {
        let stream = Stream { id, tag, send, seen: 0, receive, length: ANY_LENGTH };
        let slot = match self.slots.get_mut(self.free as usize) {
            Some(place) => {
                let slot = std::mem::replace(&mut self.free, place.tag);
                *place = stream;
                slot
            }
            None => {
                self.slots.push(stream);
                (self.slots.len() - 1) as u32
            }
        };
        self.ids.insert(id, slot);
        Key { slot, id }
    }

    /// Removes a stream and returns its tag.
    pub fn remove(&mut self, key: Key) -> Option<u32> {
        let free = self.free;
        let stream = self.get_mut(key)?;
        stream.id = 0;
        let tag = std::mem::replace(&mut stream.tag, free);
        self.free = key.slot;
        self.ids.remove(key.id);
        if self.is_empty() && self.slots.len() > KEPT_SLOTS {
            self.trim();
        }
        Some(tag)
    }

    /// The open streams, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Stream)> {
        let used = self.slots.iter().enumerate().filter(|(_, stream)| stream.id != 0);
        used.map(|(slot, stream)| (Key { slot: slot as u32, id: stream.id }, stream))
    }

    /// The open streams, in no order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slots.iter_mut().filter(|stream| stream.id != 0)
    }

    /// Gives all memory back if no stream is open.
    pub fn trim(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}
