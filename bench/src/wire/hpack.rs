//! HPACK (RFC 7541), as load and engine need it: a decoder that remembers whole blocks.

use std::collections::VecDeque;

use super::huffman;
use super::static_table::STATIC;

/// The table size of both sides unless SETTINGS say otherwise.
pub const TABLE: usize = 4096;
/// Blocks remembered per connection.
const REMEMBERED: usize = 8;

/// A decoder, and what the caller made (`T`) of blocks that it saw before. A block that came before under
/// the same table and did not change it means the same again, so the usual call costs one comparison.
pub struct Decoder<T> {
    table: Table,
    remembered: Vec<(Vec<u8>, T)>,
}

#[derive(Default)]
struct Table {
    fields: VecDeque<(Vec<u8>, Vec<u8>)>,
    size: usize,
    max: usize,
    changed: bool,
}

impl<T: Copy> Default for Decoder<T> {
    fn default() -> Self {
        Self { table: Table { max: TABLE, ..Table::default() }, remembered: Vec::new() }
    }
}

impl<T: Copy> Decoder<T> {
    /// What a block means: `start`, told of every field by `field`. None when the block is malformed.
    pub fn read(
        &mut self,
        block: &[u8],
        start: T,
        mut field: impl FnMut(&mut T, &[u8], &[u8]),
    ) -> Option<T> {
        if let Some((_, known)) = self.remembered.iter().find(|(bytes, _)| bytes == block) {
            return Some(*known);
        }
        let mut meaning = start;
        self.table.changed = false;
        let mut rest = block;
        while !rest.is_empty() {
            self.table.one(&mut rest, |name, value| field(&mut meaning, name, value))?;
        }
        if self.table.changed {
            self.remembered.clear();
        } else {
            if self.remembered.len() == REMEMBERED {
                self.remembered.remove(0);
            }
            self.remembered.push((block.to_vec(), meaning));
        }
        Some(meaning)
    }
}

impl Table {
    /// Takes one representation off the front (RFC 7541 section 6).
    fn one(&mut self, rest: &mut &[u8], mut field: impl FnMut(&[u8], &[u8])) -> Option<()> {
        let first = *rest.first()?;
        if first & 0x80 != 0 {
            let (name, value) = self.get(integer(rest, 7)?)?;
            field(name, value);
        } else if first & 0xe0 == 0x20 {
            self.max = integer(rest, 5)?;
            self.changed = true;
            self.evict(0);
            (self.max <= TABLE).then_some(())?;
        } else {
            let index = first & 0x40 != 0;
            let name = match integer(rest, if index { 6 } else { 4 })? {
                0 => text(rest)?,
                n => self.get(n)?.0.to_vec(),
            };
            let value = text(rest)?;
            field(&name, &value);
            if index {
                self.add(name, value);
            }
        }
        Some(())
    }

    fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let index = index.checked_sub(1)?;
        match STATIC.get(index) {
            Some((name, value)) => Some((name.as_bytes(), value.as_bytes())),
            None => self.fields.get(index - STATIC.len()).map(|(n, v)| (&n[..], &v[..])),
        }
    }

    fn add(&mut self, name: Vec<u8>, value: Vec<u8>) {
        let size = name.len() + value.len() + 32;
        self.changed = true;
        self.evict(size);
        if size <= self.max {
            self.size += size;
            self.fields.push_front((name, value));
        }
    }

    fn evict(&mut self, more: usize) {
        while self.size + more > self.max {
            let Some((name, value)) = self.fields.pop_back() else { return };
            self.size -= name.len() + value.len() + 32;
        }
    }
}

/// An integer with a prefix of so many bits (RFC 7541 section 5.1).
fn integer(rest: &mut &[u8], bits: u32) -> Option<usize> {
    let mask = (1usize << bits) - 1;
    let (first, mut bytes) = rest.split_first()?;
    let mut value = usize::from(*first) & mask;
    if value == mask {
        for shift in [0, 7, 14, 21] {
            let (byte, more) = bytes.split_first()?;
            bytes = more;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *rest = bytes;
                return Some(value);
            }
        }
        return None;
    }
    *rest = bytes;
    Some(value)
}

/// A string (RFC 7541 section 5.2).
fn text(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let coded = rest.first()? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    if !coded {
        return Some(bytes.to_vec());
    }
    let mut out = Vec::with_capacity(length * 2);
    huffman::decode(bytes, &mut out).then_some(out)
}

/// Writes an integer with a prefix of so many bits; `flags` are the bits before it.
pub fn put_integer(out: &mut Vec<u8>, flags: u8, bits: u32, value: usize) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        out.push(flags | value as u8);
        return;
    }
    out.push(flags | mask as u8);
    let mut rest = value - mask;
    while rest >= 128 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Writes a string, not Huffman-coded.
pub fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// Writes a field without touching the table.
pub fn put_plain(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    put_text(out, name.as_bytes());
    put_text(out, value.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(decoder: &mut Decoder<()>, block: &[u8]) -> Option<String> {
        let mut seen = String::new();
        decoder.remembered.clear();
        decoder.read(block, (), |(), name, value| {
            let text = String::from_utf8_lossy;
            seen += &format!("{}={} ", text(name), text(value));
        })?;
        Some(seen)
    }

    /// RFC 7541 C.4: three requests of one connection, with Huffman coding.
    #[test]
    fn the_requests_of_the_rfc() {
        let mut decoder = Decoder::default();
        let first = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        let second = b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf";
        let third = b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
        let common = ":method=GET :scheme=http :path=/ :authority=www.example.com ";
        assert_eq!(read(&mut decoder, first).as_deref(), Some(common));
        let wanted = format!("{common}cache-control=no-cache ");
        assert_eq!(read(&mut decoder, second), Some(wanted));
        let wanted = ":method=GET :scheme=https :path=/index.html :authority=www.example.com custom-key=custom-value ";
        assert_eq!(read(&mut decoder, third).as_deref(), Some(wanted));
        assert_eq!(decoder.table.size, 164);
    }

    #[test]
    fn a_remembered_block_is_forgotten_when_the_table_changes() {
        let mut decoder = Decoder::<usize>::default();
        let mut length = |block: &[u8]| {
            decoder.read(block, 0, |sum, name, value| *sum += name.len() + value.len())
        };
        let add = |name: &str| {
            let mut block = vec![0x40];
            put_text(&mut block, name.as_bytes());
            put_text(&mut block, b"");
            block
        };
        assert_eq!(length(&add("four")), Some(4));
        assert_eq!(length(&[0xbe]), Some(4));
        assert_eq!(length(&[0xbe]), Some(4));
        assert_eq!(length(&add("eleven-long")), Some(11));
        assert_eq!(length(&[0xbe]), Some(11));
        assert_eq!(length(&[0xbf]), Some(4));
        assert_eq!(length(&[0xc0]), None);
    }

    #[test]
    fn integers_come_back() {
        for bits in [4, 5, 6, 7] {
            for value in [0, 1, 14, 15, 30, 31, 127, 128, 1337, 70_000, 1_000_000] {
                let mut out = Vec::new();
                put_integer(&mut out, 0, bits, value);
                let mut rest = &out[..];
                assert_eq!(integer(&mut rest, bits), Some(value));
                assert!(rest.is_empty());
            }
        }
    }
}
