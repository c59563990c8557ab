//! Integers with a prefix (RFC 7541 section 5.1), and strings as they are written (section 5.2).

use super::decoder::DecodeError;

/// Bytes that may follow the first: five hold any u32, more could only be padding.
const MOST_MORE: usize = 5;

/// Reads an integer that begins in the low `bits` (1 to 7) of the first byte.
#[inline]
pub(super) fn read(input: &mut &[u8], bits: u32) -> Result<u32, DecodeError> {
    let most = (1 << bits) - 1;
    let (&first, rest) = input
        .split_first()
        .ok_or(DecodeError::Malformed("the block ends where an integer is due"))?;
    *input = rest;
    let value = u32::from(first) & most;
    if value < most { Ok(value) } else { read_more(input, most) }
}

#[cold]
fn read_more(input: &mut &[u8], prefix: u32) -> Result<u32, DecodeError> {
    let mut value = u64::from(prefix);
    for (n, &byte) in input.iter().take(MOST_MORE).enumerate() {
        value += u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            *input = &input[n + 1..];
            return u32::try_from(value)
                .map_err(|_| DecodeError::Malformed("an integer is beyond 2^32 - 1"));
        }
    }
    Err(DecodeError::Malformed(match input.len() {
        MOST_MORE.. => "an integer has more than five continuation bytes",
        _ => "the block ends inside an integer",
    }))
}

/// Writes `value` with a prefix of `bits` below the `pattern` of the first byte.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        out.push(pattern | value as u8);
    } else {
        out.push(pattern | most as u8);
        write_more(out, value - most);
    }
}

fn write_more(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a string as it is, without Huffman coding.
#[inline]
pub(super) fn write_string(out: &mut Vec<u8>, string: &[u8]) {
    write(out, 0, 7, string.len());
    out.extend_from_slice(string);
}
