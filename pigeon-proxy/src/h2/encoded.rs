//! Lists sent before are not encoded again: a block that left the encoder's table as it was stays right until that
//! changes.

use super::fields::Fields;
use super::hpack::Encoder;

/// The last encodings of a connection, each under the number its caller knows the list by.
#[derive(Debug)]
pub struct Encoded {
    most: usize,
    next: usize,
    /// Apart from the rest, for a quick look through them.
    lists: Vec<u64>,
    encodings: Vec<Encoding>,
}

#[derive(Debug)]
struct Encoding {
    generation: u32,
    bytes: Box<[u8]>,
}

impl Encoded {
    /// Remembers at most so many.
    pub fn new(most: usize) -> Self {
        Self { most, next: 0, lists: Vec::new(), encodings: Vec::new() }
    }

    /// Appends the block of `fields`, which are the list `id`: the same fields every time, or 0 for a list that is not
    /// to be remembered.
    pub fn write(&mut self, id: u64, fields: &Fields, encoder: &mut Encoder, out: &mut Vec<u8>) {
        let generation = encoder.generation();
        let place = self.lists.iter().position(|list| *list == id);
        if let Some(known) = place.map(|place| &self.encodings[place])
            && known.generation == generation
        {
            out.extend_from_slice(&known.bytes);
            return;
        }
        let start = out.len();
        for (name, value, indexing) in fields.iter() {
            encoder.field(name, value, indexing, out);
        }
        // What changed the table would change it again.
        if id != 0 && encoder.generation() == generation {
            self.keep(place, id, Encoding { generation, bytes: out[start..].into() });
        }
    }

    fn keep(&mut self, place: Option<usize>, id: u64, encoding: Encoding) {
        if place.is_none() && self.lists.len() < self.most {
            self.lists.push(id);
            self.encodings.push(encoding);
            return;
        }
        let place = place.unwrap_or_else(|| {
            self.next = (self.next + 1) % self.most;
            self.next
        });
        self.lists[place] = id;
        self.encodings[place] = encoding;
    }
}
