//! Both directions together, and each against RFC 7541.

mod musts;
mod properties;
mod rfc;

use super::table::Table;
use super::{Decoder, Encoder, Fields, Indexing};

/// A field by itself.
type Field = (Vec<u8>, Vec<u8>, Indexing);

/// More than any test has.
const NO_LIMIT: usize = 1 << 20;

fn list(fields: &[Field]) -> Fields {
    let mut list = Fields::new();
    for (name, value, indexing) in fields {
        list.push(name, value, *indexing);
    }
    list
}

fn encode(encoder: &mut Encoder, fields: &Fields) -> Vec<u8> {
    let mut block = Vec::new();
    encoder.begin(&mut block);
    for (name, value, indexing) in fields.iter() {
        encoder.field(name, value, indexing, &mut block);
    }
    block
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Fields {
    let mut fields = Fields::new();
    decoder.decode(block, &mut fields, NO_LIMIT).unwrap();
    fields
}

/// Names and values only.
fn pairs(fields: &Fields) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields.iter().map(|(name, value, _)| (name.to_vec(), value.to_vec())).collect()
}

/// What a table holds, newest first.
fn contents(table: &Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let field = |place| {
        let (text, name_len) = table.get(place).unwrap();
        (text[..name_len].to_vec(), text[name_len..].to_vec())
    };
    (0..table.len()).map(field).collect()
}

/// Names and values as a table counts them.
fn size(fields: &[(Vec<u8>, Vec<u8>)]) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
}
