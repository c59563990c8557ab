//! HPACK, the compression of header blocks (RFC 7541), for both directions.
//!
//! A [`Decoder`] and an [`Encoder`] each hold one direction's dynamic table of one connection. Both
//! count the changes of their table (`generation`), so that a caller may reuse what it knows of a
//! block: the same bytes under the same generation mean the same fields, as long as decoding them
//! does not change the table. Strings may come Huffman-coded and are never sent so: on a path
//! between two neighbours the bytes saved cost more than they bring.

mod decoder;
mod encoder;
mod huffman;
mod index;
mod integer;
mod static_table;
mod table;
#[cfg(test)]
mod tests;

pub use super::fields::{Fields, Indexing};
pub use decoder::{DecodeError, Decoder};
pub use encoder::Encoder;

/// What a field counts for beside its name and value, in tables (RFC 7541 section 4.1) and lists.
pub(super) const FIELD_OVERHEAD: usize = 32;

/// The size of both tables until SETTINGS say otherwise (RFC 9113 section 6.5.2), bytes.
pub(super) const DEFAULT_TABLE_SIZE: u32 = 4096;
