//! Fields to header blocks (RFC 7541 section 6).

use super::index::{By, Index, hash, join, same};
use super::table::Table;
use super::{DEFAULT_TABLE_SIZE, FIELD_OVERHEAD, Indexing, integer, static_table};

/// The sending end of one direction of a connection: its dynamic table and how to search it.
///
/// Allocates when the first field is kept. It never codes strings in Huffman code.
#[derive(Debug)]
pub struct Encoder {
    pub(super) table: Table,
    pub(super) index: Index,
    /// The smallest size since the last block, if the size was changed since.
    pending: Option<usize>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// With a table of 4096 bytes, as it is before the peer's SETTINGS come (RFC 9113 section
    /// 6.5.2).
    pub fn new() -> Self {
        Self { table: Table::new(DEFAULT_TABLE_SIZE), index: Index::default(), pending: None }
    }

    /// Takes the peer's SETTINGS_HEADER_TABLE_SIZE in bytes. No more than 4096 is used. The next
    /// block says so to the peer.
    pub fn set_max_table_size(&mut self, peer: u32) {
        let size = peer.min(DEFAULT_TABLE_SIZE) as usize;
        if size != self.table.max_size() {
            self.table.resize(size);
            self.index.truncate(self.table.len());
            self.pending = Some(self.pending.map_or(size, |smallest| smallest.min(size)));
        }
    }

    /// A number that changes with each change of the dynamic table. While a size update waits for
    /// the next block it is none that a block was made under.
    pub fn generation(&self) -> u32 {
        self.table.generation()
    }

    /// Starts a block: size updates that are due, the smallest and the one that stays (RFC 7541
    /// section 4.2).
    #[inline]
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(smallest) = self.pending.take() {
            self.table.bump_generation();
            let size = self.table.max_size();
            if smallest < size {
                integer::write(out, 0x20, 5, smallest);
            }
            integer::write(out, 0x20, 5, size);
        }
    }

    /// Appends a field to the block that [`Encoder::begin`] started.
    ///
    /// What is in a table goes as an index, unless it is [`Indexing::Never`], which stays a literal
    /// for ever. Other fields are added to the table if `indexing` says that the one who made the
    /// field had them in his.
    pub fn field(&mut self, name: &[u8], value: &[u8], indexing: Indexing, out: &mut Vec<u8>) {
        debug_assert!(self.pending.is_none(), "a field before its block was begun");
        let name_hash = hash(name);
        if indexing == Indexing::Never {
            return literal(out, 0x10, 4, self.name_index(name_hash, name), name, value);
        }
        let field_hash = join(name_hash, hash(value));
        if let Some(index) = self.field_index(field_hash, name, value) {
            return integer::write(out, 0x80, 7, index);
        }
        let name_index = self.name_index(name_hash, name);
        if indexing == Indexing::Plain || !self.is_worth_keeping(name, value) {
            return literal(out, 0x00, 4, name_index, name, value);
        }
        literal(out, 0x40, 6, name_index, name, value);
        self.table.insert(name, value);
        self.index.insert([name_hash, field_hash]);
        self.index.truncate(self.table.len());
    }

    /// The index of a field that is in the static or the dynamic table.
    #[inline]
    fn field_index(&self, hash: u64, name: &[u8], value: &[u8]) -> Option<usize> {
        if let Some(index) = static_table::find(hash, name, value) {
            return Some(index);
        }
        let is_it = |place| {
            self.table.get(place).is_some_and(|(field, name_len)| {
                same(&field[..name_len], name) && same(&field[name_len..], value)
            })
        };
        self.index.find(By::Field, hash, is_it).map(|place| static_table::LEN + 1 + place)
    }

    /// The index of a field of that name, in the static table if there is one; 0 for none.
    fn name_index(&self, hash: u64, name: &[u8]) -> usize {
        if let Some(index) = static_table::find_name(hash, name) {
            return index;
        }
        let is_it = |place| {
            self.table.get(place).is_some_and(|(field, name_len)| same(&field[..name_len], name))
        };
        self.index.find(By::Name, hash, is_it).map_or(0, |place| static_table::LEN + 1 + place)
    }

    /// Whether a field takes at most half of the table: a larger one costs more in what it evicts.
    fn is_worth_keeping(&self, name: &[u8], value: &[u8]) -> bool {
        name.len() + value.len() + FIELD_OVERHEAD <= self.table.max_size() / 2
    }
}

/// Writes a literal; the name only if `name_index` is 0.
fn literal(
    out: &mut Vec<u8>,
    pattern: u8,
    bits: u32,
    name_index: usize,
    name: &[u8],
    value: &[u8],
) {
    integer::write(out, pattern, bits, name_index);
    if name_index == 0 {
        integer::write_string(out, name);
    }
    integer::write_string(out, value);
}
