//! Huffman strings against an encoder made of the same lengths and codes, and against the rules.

use proptest::prelude::*;

use super::super::decoder::DecodeError;
use super::{EOS, LENGTHS, codes, decode};

const CODES: [u32; EOS + 1] = codes();

/// Bits, collected to bytes; what is missing of the last is ones.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn symbol(&mut self, symbol: usize) {
        let (code, length) = (CODES[symbol], LENGTHS[symbol]);
        self.0.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
    }

    fn bytes(mut self) -> Vec<u8> {
        while !self.0.len().is_multiple_of(8) {
            self.0.push(true);
        }
        let byte = |bits: &[bool]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        self.0.chunks(8).map(byte).collect()
    }
}

/// `text` in Huffman code.
pub(in super::super) fn encode(text: &[u8]) -> Vec<u8> {
    let mut bits = Bits::default();
    for byte in text {
        bits.symbol(usize::from(*byte));
    }
    bits.bytes()
}

fn decoded(coded: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut text = b"before ".to_vec();
    decode(coded, &mut text)?;
    Ok(text.strip_prefix(b"before ").unwrap().to_vec())
}

/// Symbol by symbol, bit by bit.
fn naive(coded: &[u8]) -> Option<Vec<u8>> {
    let (mut text, mut code, mut length) = (Vec::new(), 0_u32, 0);
    for bit in coded.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)) {
        code = code << 1 | u32::from(bit);
        length += 1;
        let found = (0..=EOS).find(|&symbol| LENGTHS[symbol] == length && CODES[symbol] == code);
        if let Some(symbol) = found {
            text.push(u8::try_from(symbol).ok()?);
            (code, length) = (0, 0);
        }
    }
    (length < 8 && code == (1 << length) - 1).then_some(text)
}

#[test]
fn codes_are_those_of_appendix_b() {
    let some = [
        (0, 0x1ff8, 13),
        (1, 0x7f_ffd8, 23),
        (10, 0x3fff_fffc, 30),
        (b' ' as usize, 0x14, 6),
        (b'0' as usize, 0x0, 5),
        (b'A' as usize, 0x21, 6),
        (b'a' as usize, 0x3, 5),
        (b'z' as usize, 0x7b, 7),
        (b'~' as usize, 0x1ffd, 13),
        (127, 0xfff_fffc, 28),
        (128, 0xf_ffe6, 20),
        (249, 0xfff_fffe, 28),
        (255, 0x3ff_ffee, 26),
        (EOS, 0x3fff_ffff, 30),
    ];
    for (symbol, code, length) in some {
        assert_eq!((CODES[symbol], LENGTHS[symbol]), (code, length), "symbol {symbol}");
    }
}

#[test]
fn every_byte_alone_and_next_to_every_other() {
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(decoded(&encode(&all)).unwrap(), all);
    for one in 0..=255 {
        assert_eq!(decoded(&encode(&[one])).unwrap(), [one]);
        for other in 0..=255 {
            assert_eq!(decoded(&encode(&[one, other])).unwrap(), [one, other]);
        }
    }
    assert_eq!(decoded(b"").unwrap(), b"");
}

#[test]
fn eos_in_a_string_is_an_error_wherever_it_stands() {
    for before in 0..40 {
        for after in [0, 1, 40] {
            let mut bits = Bits::default();
            (0..before).for_each(|n| bits.symbol(if n % 2 == 0 { 48 } else { 38 }));
            bits.symbol(EOS);
            (0..after).for_each(|_| bits.symbol(48));
            assert!(decoded(&bits.bytes()).is_err(), "{before} before, {after} after");
        }
    }
}

#[test]
fn padding_of_more_than_seven_bits_is_an_error() {
    for text in [&b""[..], b"0", b"&", b"www.example.com", b"\x00\xff"] {
        let mut coded = encode(text);
        assert_eq!(decoded(&coded).unwrap(), text);
        coded.push(0xff);
        assert!(decoded(&coded).is_err(), "{text:?}");
    }
}

#[test]
fn padding_other_than_ones_is_an_error() {
    for text in [&b"0"[..], b"&&&", b"www.example.com", b"no-cache"] {
        let used: u32 = text.iter().map(|byte| u32::from(LENGTHS[usize::from(*byte)])).sum();
        let padding = (8 - used % 8) % 8;
        for wrong in 0..(1_u32 << padding) - 1 {
            let mut coded = encode(text);
            let last = coded.last_mut().unwrap();
            *last = (u32::from(*last) & !((1 << padding) - 1) | wrong) as u8;
            // Five bits and more may be a code of their own, with less padding after it.
            assert_eq!(decoded(&coded).ok(), naive(&coded), "{text:?} {wrong:b}");
            assert_ne!(decoded(&coded).ok().as_deref(), Some(text), "{text:?} {wrong:b}");
        }
    }
}

#[test]
fn a_refused_string_leaves_the_text_as_it_was() {
    let mut text = b"before".to_vec();
    assert!(decode(&[0xff; 8], &mut text).is_err());
    assert_eq!(text, b"before");
}

proptest! {
    #[test]
    fn any_text_comes_back(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(decoded(&encode(&text)), Ok(text));
    }

    #[test]
    fn any_bytes_mean_what_they_mean_bit_by_bit(
        coded in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xff)], 0..40),
    ) {
        prop_assert_eq!(decoded(&coded).ok(), naive(&coded));
    }

    #[test]
    fn a_code_cut_short_means_what_it_means_bit_by_bit(
        text in proptest::collection::vec(any::<u8>(), 1..40),
        cut in 1_usize..4,
    ) {
        let mut coded = encode(&text);
        coded.truncate(coded.len().saturating_sub(cut));
        prop_assert_eq!(decoded(&coded).ok(), naive(&coded));
    }
}
