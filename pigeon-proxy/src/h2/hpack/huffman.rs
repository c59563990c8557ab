//! Strings in Huffman code (RFC 7541 section 5.2 and appendix B), decoding only.
//!
//! The code is canonical: ordered by length and then by symbol, each is one more than the one
//! before. So the lengths say it all, and longer codes are found by comparing.

use super::decoder::DecodeError;

/// End of string: its code is the longest and last one, and never sent whole.
const EOS: usize = 256;

/// The length of each byte's code in bits, and of EOS.
#[rustfmt::skip]
pub(super) const LENGTHS: [u8; EOS + 1] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// As many bits as one look-up takes: two codes of most of what text is made of.
const STEP: u32 = 12;
const LONGEST: u32 = 30;

/// What the next [`STEP`] bits begin with: one or two whole codes, or none if the first is longer.
#[derive(Clone, Copy)]
struct Step {
    symbols: [u8; 2],
    count: u8,
    /// Bits of all `count` codes.
    length: u8,
}

static STEPS: [Step; 1 << STEP] = steps();
/// Codes of a length are below this, moved to the left end of 32 bits.
static LIMITS: [u32; LONGEST as usize + 1] = limits();
/// By length, what to add to a code to have its place in [`ORDER`].
static OFFSETS: [u32; LONGEST as usize + 1] = offsets();
/// The bytes in the order of their codes.
static ORDER: [u8; EOS] = order();

/// Appends the text of `coded` to `out`.
///
/// Refuses EOS, and padding that is longer than seven bits or not all ones.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let start = out.len();
    // No code is shorter than five bits.
    out.resize(start + coded.len() * 8 / 5 + 1, 0);
    let written = decode_into(coded, &mut out[start..]);
    out.truncate(start + *written.as_ref().unwrap_or(&0));
    written.map(|_| ())
}

/// Writes to `text`, which has room for one byte more than `coded` can hold; returns how many.
fn decode_into(mut coded: &[u8], text: &mut [u8]) -> Result<usize, DecodeError> {
    // `bits` holds the next `len` bits at its left end.
    let (mut bits, mut len, mut at) = (0_u64, 0_u32, 0);
    loop {
        refill(&mut coded, &mut bits, &mut len);
        while len >= STEP {
            let step = STEPS[(bits >> (64 - STEP)) as usize];
            let mut length = u32::from(step.length);
            // Each code read takes five bits at least, so with twelve left two bytes have room.
            text[at..at + 2].copy_from_slice(&step.symbols);
            at += usize::from(step.count);
            if step.count == 0 {
                (length, text[at]) = long_code((bits >> 32) as u32)?;
                if length > len {
                    break;
                }
                at += 1;
            }
            bits <<= length;
            len -= length;
        }
        if coded.is_empty() {
            break;
        }
    }
    finish(bits, len, text, at)
}

/// Reads the codes of the last bits, fewer than [`STEP`] if they are valid, and the padding.
fn finish(
    mut bits: u64,
    mut len: u32,
    text: &mut [u8],
    mut at: usize,
) -> Result<usize, DecodeError> {
    loop {
        let Step { symbols: [symbol, _], count, .. } = STEPS[(bits >> (64 - STEP)) as usize];
        let length = u32::from(LENGTHS[usize::from(symbol)]);
        if count == 0 || length > len {
            break;
        }
        text[at] = symbol;
        at += 1;
        bits <<= length;
        len -= length;
    }
    // Nothing is set right of the last bit.
    if len >= 8 || bits != !(u64::MAX >> len) {
        return Err(DecodeError::Malformed("padding of a Huffman string is not up to seven ones"));
    }
    Ok(at)
}

/// Fills `bits` to at least 56, or with all that is left.
#[inline]
fn refill(coded: &mut &[u8], bits: &mut u64, len: &mut u32) {
    if let Some(word) = coded.first_chunk() {
        // Bits beyond the whole bytes that are counted come again, the same.
        *bits |= u64::from_be_bytes(*word) >> *len;
        let bytes = (63 - *len) / 8;
        *coded = &coded[bytes as usize..];
        *len += bytes * 8;
    } else {
        while *len <= 56
            && let Some((&byte, rest)) = coded.split_first()
        {
            *bits |= u64::from(byte) << (56 - *len);
            *len += 8;
            *coded = rest;
        }
    }
}

/// Length and symbol of the code longer than [`STEP`] that `bits` begin with.
#[cold]
fn long_code(bits: u32) -> Result<(u32, u8), DecodeError> {
    for length in STEP + 1..=LONGEST {
        if bits < LIMITS[length as usize] {
            let place = (bits >> (32 - length)).wrapping_add(OFFSETS[length as usize]);
            return Ok((length, ORDER[place as usize]));
        }
    }
    Err(DecodeError::Malformed("a Huffman string has EOS in it"))
}

/// How many bytes have codes of each length; EOS is left out.
const fn counts() -> [u32; LONGEST as usize + 1] {
    let mut counts = [0; LONGEST as usize + 1];
    let mut symbol = 0;
    while symbol < EOS {
        counts[LENGTHS[symbol] as usize] += 1;
        symbol += 1;
    }
    counts
}

/// The first code of each length.
const fn firsts() -> [u32; LONGEST as usize + 1] {
    let counts = counts();
    let mut firsts = [0; LONGEST as usize + 1];
    let mut length = 1;
    while length < firsts.len() {
        firsts[length] = (firsts[length - 1] + counts[length - 1]) << 1;
        length += 1;
    }
    firsts
}

const fn limits() -> [u32; LONGEST as usize + 1] {
    let (counts, firsts) = (counts(), firsts());
    let mut limits = [0; LONGEST as usize + 1];
    let mut length = 1;
    while length < limits.len() {
        limits[length] = (firsts[length] + counts[length]) << (32 - length);
        length += 1;
    }
    limits
}

const fn offsets() -> [u32; LONGEST as usize + 1] {
    let (counts, firsts) = (counts(), firsts());
    let mut offsets = [0; LONGEST as usize + 1];
    let (mut length, mut before) = (0, 0_u32);
    while length < offsets.len() {
        offsets[length] = before.wrapping_sub(firsts[length]);
        before += counts[length];
        length += 1;
    }
    offsets
}

const fn order() -> [u8; EOS] {
    let codes = codes();
    let offsets = offsets();
    let mut order = [0; EOS];
    let mut symbol = 0;
    while symbol < EOS {
        let place = codes[symbol].wrapping_add(offsets[LENGTHS[symbol] as usize]);
        order[place as usize] = symbol as u8;
        symbol += 1;
    }
    order
}

const fn steps() -> [Step; 1 << STEP] {
    let (limits, offsets, order) = (limits(), offsets(), order());
    let mut steps = [Step { symbols: [0; 2], count: 0, length: 0 }; 1 << STEP];
    let mut bits = 0;
    while bits < steps.len() as u32 {
        let step = &mut steps[bits as usize];
        let mut length = 5;
        while step.count < 2 && step.length as u32 + length <= STEP {
            let left = bits << (32 - STEP + step.length as u32);
            if left < limits[length as usize] {
                let place = (left >> (32 - length)).wrapping_add(offsets[length as usize]);
                step.symbols[step.count as usize] = order[place as usize];
                step.count += 1;
                step.length += length as u8;
                length = 5;
            } else {
                length += 1;
            }
        }
        bits += 1;
    }
    steps
}

/// The code of each byte and of EOS, in the low bits.
pub(super) const fn codes() -> [u32; EOS + 1] {
    let mut next = firsts();
    let mut codes = [0; EOS + 1];
    let mut symbol = 0;
    while symbol <= EOS {
        let length = LENGTHS[symbol] as usize;
        codes[symbol] = next[length];
        next[length] += 1;
        symbol += 1;
    }
    codes
}

#[cfg(test)]
pub(super) mod tests;
