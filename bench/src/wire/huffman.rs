//! HPACK's Huffman code (RFC 7541 appendix B), decoding only.
//!
//! The code is canonical, so the lengths say all: within one length, codes ascend with the symbols.

use std::sync::LazyLock;

/// The bits of each symbol; the last one is EOS.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30,
    28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5,
    7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22,
    22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23,
    22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22,
    21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26,
    26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20,
    24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27,
    27, 28, 27, 27, 27, 27, 27, 26, 30,
];
/// The longest code.
const LONGEST: usize = 30;
const EOS: u16 = 256;

/// For each length: the first code, and the symbols of that length in order.
struct Codes {
    first: [u32; LONGEST + 1],
    symbols: [Vec<u16>; LONGEST + 1],
}

static CODES: LazyLock<Codes> = LazyLock::new(|| {
    let mut codes = Codes { first: [0; LONGEST + 1], symbols: std::array::from_fn(|_| Vec::new()) };
    for (symbol, length) in LENGTHS.iter().enumerate() {
        codes.symbols[usize::from(*length)].push(symbol as u16);
    }
    for length in 1..=LONGEST {
        let before = codes.first[length - 1] + codes.symbols[length - 1].len() as u32;
        codes.first[length] = before << 1;
    }
    codes
});

/// Appends what `input` says. False when it is malformed. Bit by bit: the bench meets Huffman text only
/// where a peer's headers change, and remembers what it decoded.
pub fn decode(input: &[u8], out: &mut Vec<u8>) -> bool {
    let (mut code, mut length) = (0u32, 0usize);
    for bit in input.iter().flat_map(|byte| (0..8).rev().map(move |n| u32::from((byte >> n) & 1))) {
        code = (code << 1) | bit;
        length += 1;
        if length > LONGEST {
            return false;
        }
        let nth = code.wrapping_sub(CODES.first[length]) as usize;
        match CODES.symbols[length].get(nth) {
            Some(&EOS) => return false,
            Some(symbol) => {
                out.push(*symbol as u8);
                (code, length) = (0, 0);
            }
            None => {}
        }
    }
    // What is left is the beginning of EOS: fewer than eight ones.
    length < 8 && code == (1 << length) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541 C.4.1, and C.6.1.
    #[test]
    fn the_examples_of_the_rfc() {
        let cases: [(&[u8], &str); 3] = [
            (b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", "www.example.com"),
            (b"\xae\xc3\x77\x1a\x4b", "private"),
            (
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
        ];
        for (bytes, wanted) in cases {
            let mut out = Vec::new();
            assert!(decode(bytes, &mut out), "{wanted}");
            assert_eq!(String::from_utf8_lossy(&out), wanted);
        }
    }

    #[test]
    fn padding_is_ones_and_short() {
        // "0" is 00000: three bits of padding.
        assert!(decode(&[0b0000_0111], &mut Vec::new()));
        assert!(!decode(&[0b0000_0110], &mut Vec::new()));
        assert!(!decode(&[0b0000_0111, 0xff], &mut Vec::new()));
        assert!(!decode(&[0xff; 4], &mut Vec::new()));
    }
}
