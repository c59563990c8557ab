//! The header block of requests, as grpc-go writes it: every field goes into the table with the first
//! request, and is one byte from then on. (Not Huffman-coded: it is the first request only.)

use std::collections::VecDeque;

use super::hpack::{TABLE, put_integer, put_text};
use super::static_table::STATIC;

/// A field of every request of a connection.
#[derive(Clone, Debug)]
struct Field {
    name: String,
    value: String,
    /// The static table's index of name and value, or else of the name.
    whole: Option<usize>,
    named: Option<usize>,
    /// The number of the dynamic table's entry that holds it, counted from the first ever made.
    entry: Option<u64>,
}

/// Writes the header blocks of one connection's requests.
#[derive(Clone, Debug)]
pub struct RequestBlock {
    fields: Vec<Field>,
    /// The block that goes without change, once everything is in the table.
    constant: Vec<u8>,
    /// Whether each request has a `grpc-timeout` of its own, which goes into the table too and so moves
    /// every other field, as with grpc-go.
    timeout: bool,
    sizes: VecDeque<usize>,
    size: usize,
    max: usize,
    added: u64,
    /// To be written before the first block: the peer wants a smaller table.
    shrink: bool,
}

impl RequestBlock {
    /// For requests with these fields.
    pub fn new<'f>(fields: impl Iterator<Item = (&'f str, &'f str)>, timeout: bool) -> Self {
        let field = |(name, value): (&str, &str)| Field {
            name: name.to_owned(),
            value: value.to_owned(),
            whole: STATIC.iter().position(|(n, v)| *n == name && *v == value && !v.is_empty()),
            named: STATIC.iter().position(|(n, _)| *n == name),
            entry: None,
        };
        Self {
            fields: fields.map(field).collect(),
            constant: Vec::new(),
            timeout,
            sizes: VecDeque::new(),
            size: 0,
            max: TABLE,
            added: 0,
            shrink: false,
        }
    }

    /// Obeys the peer's SETTINGS_HEADER_TABLE_SIZE; before the first request.
    pub fn limit(&mut self, peer: usize) {
        if peer < self.max {
            self.max = peer;
            self.shrink = true;
        }
    }

    /// Appends the block of the next request. `number` makes its timeout, if it has one.
    pub fn put(&mut self, out: &mut Vec<u8>, number: u64) {
        if !self.constant.is_empty() {
            out.extend_from_slice(&self.constant);
            return;
        }
        if std::mem::take(&mut self.shrink) {
            put_integer(out, 0x20, 5, self.max);
        }
        let (added, start) = (self.added, out.len());
        let mut fields = std::mem::take(&mut self.fields);
        for field in &mut fields {
            self.field(field, out);
        }
        self.fields = fields;
        if self.timeout {
            // Between 90 and 99 s in microseconds, as clients count down from a deadline.
            let value = format!("{}u", 90_000_000 + number % 9_000_000);
            put_integer(out, 0x40, 6, 0);
            put_text(out, b"grpc-timeout");
            put_text(out, value.as_bytes());
            self.add("grpc-timeout".len() + value.len() + 32);
        } else if self.added == added && added > 0 {
            self.constant = out[start..].to_vec();
        }
    }

    fn field(&mut self, field: &mut Field, out: &mut Vec<u8>) {
        if let Some(index) = field.whole {
            return put_integer(out, 0x80, 7, index + 1);
        }
        let oldest = self.added - self.sizes.len() as u64;
        if let Some(entry) = field.entry.filter(|entry| *entry >= oldest) {
            let index = STATIC.len() + (self.added - entry) as usize;
            return put_integer(out, 0x80, 7, index);
        }
        let size = field.name.len() + field.value.len() + 32;
        let fits = size <= self.max;
        let (flags, bits) = if fits { (0x40, 6) } else { (0, 4) };
        put_integer(out, flags, bits, field.named.map_or(0, |index| index + 1));
        if field.named.is_none() {
            put_text(out, field.name.as_bytes());
        }
        put_text(out, field.value.as_bytes());
        if fits {
            field.entry = Some(self.added);
            self.add(size);
        }
    }

    fn add(&mut self, size: usize) {
        self.size += size;
        self.sizes.push_back(size);
        self.added += 1;
        while self.size > self.max {
            self.size -= self.sizes.pop_front().unwrap_or(self.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hpack::Decoder;
    use super::*;

    const FIELDS: [(&str, &str); 4] =
        [(":method", "POST"), (":path", "/a/b"), ("te", "trailers"), ("x", "y")];

    fn read(decoder: &mut Decoder<u64>, block: &[u8]) -> (u64, Vec<(String, String)>) {
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let timeout = decoder.read(block, 0, |timeout, name, value| {
            if name == b"grpc-timeout" {
                *timeout = text(value).trim_end_matches('u').parse().expect("a number");
            } else {
                fields.push((text(name), text(value)));
            }
        });
        (timeout.expect("a block"), fields)
    }

    /// Through thousands of timeouts, so that the constant fields are evicted and written again.
    #[test]
    fn what_is_written_is_read() {
        for (table, timeout) in [(4096, true), (4096, false), (200, true), (0, true), (0, false)] {
            let mut writer = RequestBlock::new(FIELDS.into_iter(), timeout);
            writer.limit(table);
            let mut reader = Decoder::default();
            for number in 0..2000 {
                let mut block = Vec::new();
                writer.put(&mut block, number);
                let (seen, fields) = read(&mut reader, &block);
                assert_eq!(seen, if timeout { 90_000_000 + number } else { 0 });
                if !fields.is_empty() {
                    let wanted = FIELDS.map(|(n, v)| (n.to_owned(), v.to_owned()));
                    assert_eq!(fields, wanted, "table {table}, request {number}");
                }
                let least = if timeout { 20 } else { 4 };
                assert!(table < 4096 || number == 0 || block.len() < least + 50);
            }
        }
    }

    #[test]
    fn later_requests_take_a_byte_a_field() {
        let mut writer = RequestBlock::new(FIELDS.into_iter(), false);
        writer.put(&mut Vec::new(), 0);
        for number in 1..4 {
            let mut block = Vec::new();
            writer.put(&mut block, number);
            assert_eq!(block.len(), FIELDS.len());
        }
    }
}
