//! Header blocks to fields (RFC 7541 section 6).

use super::table::Table;
use super::{DEFAULT_TABLE_SIZE, FIELD_OVERHEAD, Fields, Indexing, huffman, integer, static_table};

/// Size updates that may begin a block: the smallest size in between, and the one that stays
/// (RFC 7541 section 4.2).
const MOST_SIZE_UPDATES: usize = 2;

/// A block longer than this is refused unread, bytes; far above what any connection lets in.
const MOST_BLOCK: usize = 1 << 28;

/// Why a block gave no list of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The block breaks RFC 7541, and says how. The table is of no use from here on: a
    /// COMPRESSION_ERROR of the connection (RFC 9113 section 4.3).
    Malformed(&'static str),
    /// The list is larger than allowed. The table is in step, so this ends one stream only.
    TooLarge,
}

/// The receiving end of one direction of a connection: its dynamic table.
///
/// Allocates when the first field comes that is to be kept.
#[derive(Debug)]
pub struct Decoder {
    pub(super) table: Table,
    max_table_size: u32,
}

impl Decoder {
    /// `max_table_size` is our SETTINGS_HEADER_TABLE_SIZE in bytes. The table begins with 4096, as
    /// RFC 9113 section 6.5.2 has it, or less if that is all we allow; the peer enlarges it.
    pub fn new(max_table_size: u32) -> Self {
        Self { table: Table::new(max_table_size.min(DEFAULT_TABLE_SIZE)), max_table_size }
    }

    /// A number that changes with each change of the dynamic table.
    pub fn generation(&self) -> u32 {
        self.table.generation()
    }

    /// Appends the fields of a whole block.
    ///
    /// The block's fields may take `max_list_size` as [`Fields::list_size`] counts. From the first
    /// field on that goes beyond, fields only change the table, and the result is
    /// [`DecodeError::TooLarge`].
    pub fn decode(
        &mut self,
        block: &[u8],
        fields: &mut Fields,
        max_list_size: usize,
    ) -> Result<(), DecodeError> {
        if block.len() > MOST_BLOCK {
            return Err(DecodeError::Malformed("the block is longer than any header can be"));
        }
        let most = fields.list_size().saturating_add(max_list_size).min(MOST_BLOCK);
        let decoded = self.decode_list(block, fields, most);
        fields.drop_open();
        decoded
    }

    fn decode_list(
        &mut self,
        mut input: &[u8],
        fields: &mut Fields,
        most: usize,
    ) -> Result<(), DecodeError> {
        self.size_updates(&mut input)?;
        while !input.is_empty() {
            let (name_end, indexing) = self.field(&mut input, fields.text())?;
            if fields.list_size() + FIELD_OVERHEAD > most {
                fields.drop_open();
                return self.skip_rest(input, fields);
            }
            fields.close(name_end, indexing);
        }
        Ok(())
    }

    /// Goes through the rest of a block for what it does to the table.
    fn skip_rest(&mut self, mut input: &[u8], fields: &mut Fields) -> Result<(), DecodeError> {
        while let Some(first) = input.first() {
            if first & 0x80 != 0 {
                let index = integer::read(&mut input, 7)?;
                self.look_up(index)?;
            } else {
                self.field(&mut input, fields.text())?;
                fields.drop_open();
            }
        }
        Err(DecodeError::TooLarge)
    }

    fn size_updates(&mut self, input: &mut &[u8]) -> Result<(), DecodeError> {
        let mut updates = 0;
        while let Some(0x20..=0x3f) = input.first() {
            updates += 1;
            if updates > MOST_SIZE_UPDATES {
                return Err(DecodeError::Malformed("more than two size updates begin the block"));
            }
            let size = integer::read(input, 5)?;
            if size > self.max_table_size {
                return Err(DecodeError::Malformed("a size update is above our limit"));
            }
            self.table.resize(size as usize);
        }
        Ok(())
    }

    /// Appends one field to `text`; returns where its value begins, and its representation.
    #[inline]
    fn field(
        &mut self,
        input: &mut &[u8],
        text: &mut Vec<u8>,
    ) -> Result<(usize, Indexing), DecodeError> {
        match input.first() {
            Some(0x80..) => {
                let index = integer::read(input, 7)?;
                let (field, name_len) = self.look_up(index)?;
                let name_end = text.len() + name_len;
                text.extend_from_slice(field);
                Ok((name_end, Indexing::Indexed))
            }
            Some(0x40..) => {
                let start = text.len();
                let name_end = self.literal(input, text, 6)?;
                let (name, value) = text[start..].split_at(name_end - start);
                self.table.insert(name, value);
                Ok((name_end, Indexing::Incremental))
            }
            Some(0x20..) => {
                Err(DecodeError::Malformed("a size update is not at the start of the block"))
            }
            Some(0x10..) => Ok((self.literal(input, text, 4)?, Indexing::Never)),
            _ => Ok((self.literal(input, text, 4)?, Indexing::Plain)),
        }
    }

    /// Appends a literal's name and value to `text`; returns where the value begins.
    fn literal(
        &self,
        input: &mut &[u8],
        text: &mut Vec<u8>,
        bits: u32,
    ) -> Result<usize, DecodeError> {
        let index = integer::read(input, bits)?;
        if index == 0 {
            string(input, text)?;
        } else {
            let (field, name_len) = self.look_up(index)?;
            text.extend_from_slice(&field[..name_len]);
        }
        let name_end = text.len();
        string(input, text)?;
        Ok(name_end)
    }

    /// Name and value of the field of an index as one text, and where in it the value begins.
    #[inline]
    fn look_up(&self, index: u32) -> Result<(&[u8], usize), DecodeError> {
        let index = index as usize;
        let found = match index.checked_sub(static_table::LEN + 1) {
            Some(place) => self.table.get(place),
            None => static_table::get(index),
        };
        found.ok_or(DecodeError::Malformed("an index is 0 or past the end of the table"))
    }
}

/// Appends a string to `text` (RFC 7541 section 5.2).
#[inline]
fn string(input: &mut &[u8], text: &mut Vec<u8>) -> Result<(), DecodeError> {
    let coded = matches!(input.first(), Some(0x80..));
    let length = integer::read(input, 7)? as usize;
    let (string, rest) = input
        .split_at_checked(length)
        .ok_or(DecodeError::Malformed("a string goes past the end of the block"))?;
    *input = rest;
    if coded {
        huffman::decode(string, text)
    } else {
        text.extend_from_slice(string);
        Ok(())
    }
}
