//! Each MUST of RFC 7541 that a peer can break, and what is said of limits.

use super::super::{DecodeError, Decoder, Encoder, Fields, Indexing};
use super::{NO_LIMIT, contents, decode, encode, list, pairs};

fn refused(decoder: &mut Decoder, block: &[u8]) -> &'static str {
    let mut fields = Fields::new();
    fields.push(b"before", b"", Indexing::Plain);
    let Err(DecodeError::Malformed(why)) = decoder.decode(block, &mut fields, NO_LIMIT) else {
        panic!("{block:x?} is accepted: {fields:?}");
    };
    // What came before the fault may stand, half a field may not.
    fields.push(b"after", b"", Indexing::Plain);
    assert_eq!(fields.get(b"after"), Some(&b""[..]));
    why
}

#[test]
fn index_0_is_refused() {
    assert!(refused(&mut Decoder::new(4096), &[0x80]).contains("index"));
}

#[test]
fn an_index_past_the_end_of_the_table_is_refused() {
    let mut decoder = Decoder::new(4096);
    for index in [62, 63, 126] {
        // As a whole field, and as the name of each kind of literal.
        assert!(refused(&mut decoder, &[0x80 | index]).contains("index"));
        assert!(refused(&mut decoder, &[0x7f, index - 62, 0]).contains("index") || index == 62);
        assert!(refused(&mut decoder, &[0x0f, index - 15, 0]).contains("index"));
        assert!(refused(&mut decoder, &[0x1f, index - 15, 0]).contains("index"));
    }
    decode(&mut decoder, &[0x40, 1, b'a', 1, b'b']);
    assert_eq!(pairs(&decode(&mut decoder, &[0xbe])), [(b"a".to_vec(), b"b".to_vec())]);
    assert!(refused(&mut decoder, &[0xbf]).contains("index"));
    assert!(refused(&mut decoder, &[0xff, 0x80, 0xff, 0xff, 0xff, 0x0f]).contains("index"));
}

#[test]
fn a_size_update_after_a_field_is_refused() {
    assert!(refused(&mut Decoder::new(4096), &[0x82, 0x20]).contains("start"));
    let mut fields = Fields::new();
    let beyond_the_limit = Decoder::new(4096).decode(&[0x82, 0x82, 0x20], &mut fields, 1);
    assert!(matches!(beyond_the_limit, Err(DecodeError::Malformed(_))));
}

#[test]
fn faults_beyond_the_limit_of_the_list_are_refused() {
    for fault in [&[0x80][..], &[0xbe], &[0x7f, 0], &[0x00, 5], &[0x04, 0x81, 0xff]] {
        let block = [&[0x82, 0x82], fault].concat();
        let result = Decoder::new(4096).decode(&block, &mut Fields::new(), 1);
        assert!(matches!(result, Err(DecodeError::Malformed(_))), "{fault:x?}: {result:?}");
    }
}

#[test]
fn a_size_update_above_our_limit_is_refused() {
    let mut decoder = Decoder::new(4096);
    decode(&mut decoder, &[0x3f, 0xe1, 0x1f, 0x82]);
    assert!(refused(&mut decoder, &[0x3f, 0xe2, 0x1f, 0x82]).contains("limit"));
}

#[test]
fn two_size_updates_begin_a_block_but_not_three() {
    let mut decoder = Decoder::new(4096);
    decode(&mut decoder, &[0x40, 1, b'a', 1, b'b']);
    decode(&mut decoder, &[0x20, 0x3f, 0xe1, 0x1f]);
    assert_eq!(contents(&decoder.table), []);
    assert!(refused(&mut decoder, &[0x20, 0x21, 0x22]).contains("two"));
}

#[test]
fn an_integer_beyond_32_bits_is_refused() {
    let mut decoder = Decoder::new(4096);
    assert!(refused(&mut decoder, &[0xff, 0x80, 0x80, 0x80, 0x80, 0x10]).contains("2^32"));
    assert!(refused(&mut decoder, &[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).contains("2^32"));
    assert!(refused(&mut decoder, &[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).contains("five"));
    // Zeros at the end are wasteful but right, as long as there are not too many.
    assert_eq!(
        pairs(&decode(&mut decoder, &[0x0f, 0x80, 0x80, 0x80, 0x80, 0x00, 0])),
        [(b"accept-charset".to_vec(), b"".to_vec())]
    );
}

#[test]
fn a_block_that_ends_early_is_refused() {
    let mut decoder = Decoder::new(4096);
    let whole = [
        &[0x40, 3, b'a', b'b', b'c', 0x7f, 2][..],
        &[b'x'; 129],
        &[0x00, 0x84, 0xf1, 0xe3, 0xc2, 0xff, 1, b'y'],
    ]
    .concat();
    assert_eq!(decode(&mut decoder, &whole).len(), 2);
    for end in (1..whole.len()).filter(|end| *end != 7 + 129) {
        refused(&mut Decoder::new(4096), &whole[..end]);
    }
    for block in [&[0xff][..], &[0xff, 0x80], &[0x3f], &[0x7f], &[0x40], &[0x41], &[0x10, 1]] {
        refused(&mut Decoder::new(4096), block);
    }
}

#[test]
fn eos_in_a_string_is_refused() {
    assert!(refused(&mut Decoder::new(4096), &[0x04, 0x84, 255, 255, 255, 255]).contains("EOS"));
}

#[test]
fn padding_of_a_string_that_is_long_or_not_ones_is_refused() {
    assert!(refused(&mut Decoder::new(4096), &[0x04, 0x81, 0xff]).contains("padding"));
    assert!(refused(&mut Decoder::new(4096), &[0x04, 0x82, 0x07, 0xff]).contains("padding"));
    assert!(refused(&mut Decoder::new(4096), &[0x04, 0x81, 0x06]).contains("padding"));
    assert_eq!(decode(&mut Decoder::new(4096), &[0x04, 0x81, 0x07]).get(b":path"), Some(&b"0"[..]));
}

#[test]
fn a_field_larger_than_the_table_empties_it_and_is_no_error() {
    let mut decoder = Decoder::new(64);
    decode(&mut decoder, &[0x40, 1, b'a', 1, b'b']);
    assert_eq!(decoder.table.len(), 1);
    let block = [&[0x40, 1, b'c', 32][..], &[b'x'; 32]].concat();
    assert_eq!(decode(&mut decoder, &block).get(b"c"), Some(&[b'x'; 32][..]));
    assert_eq!(decoder.table.len(), 0);
}

#[test]
fn a_name_may_be_that_of_the_very_field_it_evicts() {
    let mut decoder = Decoder::new(64);
    decode(&mut decoder, &[&[0x40, 20][..], &[b'n'; 20], &[1, b'1']].concat());
    let fields = decode(&mut decoder, &[0x7e, 1, b'2']);
    assert_eq!(pairs(&fields), [(vec![b'n'; 20], b"2".to_vec())]);
    assert_eq!(contents(&decoder.table), pairs(&fields));
}

#[test]
fn the_table_begins_with_4096_bytes_however_many_are_allowed() {
    let mut decoder = Decoder::new(1 << 20);
    let block: Vec<u8> = (0..=128).flat_map(|_| [0x40, 0, 0]).collect();
    decode(&mut decoder, &block);
    assert_eq!(decoder.table.len(), 128);
    decode(&mut decoder, &[&[0x3f, 0xe1, 0xff, 0x3f][..], &[0x40, 0, 0]].concat());
    assert_eq!(decoder.table.len(), 129);
}

#[test]
fn what_goes_beyond_the_list_is_dropped_and_still_enters_the_table() {
    let block = [0x40, 1, b'a', 1, b'1', 0x40, 1, b'b', 1, b'2', 0x40, 1, b'c', 1, b'3', 0xbe];
    for (most, kept) in [(0, 0), (33, 0), (34, 1), (67, 1), (68, 2), (135, 3)] {
        let (mut decoder, mut fields) = (Decoder::new(4096), Fields::new());
        fields.push(b"of another block", b"", Indexing::Plain);
        assert_eq!(decoder.decode(&block, &mut fields, most), Err(DecodeError::TooLarge));
        assert_eq!(fields.len(), 1 + kept, "of {most} bytes");
        assert_eq!(decoder.table.len(), 3);
    }
    let (mut decoder, mut fields) = (Decoder::new(4096), Fields::new());
    assert_eq!(decoder.decode(&block, &mut fields, 136), Ok(()));
    assert_eq!((fields.len(), fields.list_size()), (4, 136));
}

#[test]
fn a_bomb_of_indices_takes_no_memory() {
    let mut decoder = Decoder::new(4096);
    let mut fields = Fields::new();
    let large = [&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e][..], &[b'x'; 4000]].concat();
    decoder.decode(&large, &mut fields, 16_384).unwrap();
    fields.clear();
    let bomb = [0xbe; 100_000];
    assert_eq!(decoder.decode(&bomb, &mut fields, 16_384), Err(DecodeError::TooLarge));
    assert_eq!(fields.len(), 4);
    assert!(fields.text().capacity() < 64 * 1024);
}

#[test]
fn nothing_is_allocated_before_the_first_field_is_kept() {
    let mut decoder = Decoder::new(4096);
    decode(&mut decoder, &[0x82, 0x04, 1, b'/', 0x10, 1, b'a', 1, b'b']);
    assert_eq!(decoder.table.allocated(), 0);
    assert!(size_of::<Decoder>() < 200 && size_of::<Encoder>() < 200);
    decode(&mut decoder, &[0x40, 1, b'a', 1, b'b']);
    assert!(decoder.table.allocated() > 0);
}

#[test]
fn never_indexed_stays_a_literal_whatever_the_tables_hold() {
    let mut encoder = Encoder::new();
    let secret = |indexing| list(&[(b"token".to_vec(), b"s".to_vec(), indexing)]);
    encode(&mut encoder, &secret(Indexing::Incremental));
    assert_eq!(encode(&mut encoder, &secret(Indexing::Plain)), [0xbe]);
    // The name may be an index, the value not.
    assert_eq!(encode(&mut encoder, &secret(Indexing::Never)), [0x1f, 62 - 15, 1, b's']);
    let method = list(&[(b":method".to_vec(), b"GET".to_vec(), Indexing::Never)]);
    assert_eq!(encode(&mut encoder, &method), [0x12, 3, b'G', b'E', b'T']);
}

#[test]
fn a_field_of_more_than_half_the_table_is_not_kept() {
    let mut encoder = Encoder::new();
    for (length, kept) in [(2048 - 32 - 1, 1), (2048 - 32, 0)] {
        encoder.set_max_table_size(0);
        encoder.set_max_table_size(4096);
        let large = (b"a".to_vec(), vec![b'x'; length], Indexing::Incremental);
        let block = encode(&mut encoder, &list(std::slice::from_ref(&large)));
        assert_eq!(encoder.table.len(), kept);
        assert_eq!(pairs(&decode(&mut Decoder::new(4096), &block)), [(large.0, large.1)]);
    }
}

#[test]
fn the_smallest_size_in_between_is_said_before_the_last() {
    let sizes: [(&[u32], &[u8]); 7] = [
        (&[], &[]),
        (&[4096, 65_536], &[]),
        (&[100], &[0x3f, 69]),
        (&[0, 65_536], &[0x20, 0x3f, 0xe1, 0x1f]),
        (&[100, 50, 80], &[0x3f, 19, 0x3f, 49]),
        (&[80, 50], &[0x3f, 19]),
        (&[0], &[0x20]),
    ];
    for (sizes, wanted) in sizes {
        let mut encoder = Encoder::new();
        sizes.iter().for_each(|size| encoder.set_max_table_size(*size));
        assert_eq!(encode(&mut encoder, &Fields::new()), wanted, "{sizes:?}");
        assert!(encode(&mut encoder, &Fields::new()).is_empty(), "said once");
    }
}

#[test]
fn a_waiting_size_update_is_a_generation_of_its_own() {
    let mut encoder = Encoder::new();
    let before = encoder.generation();
    encoder.set_max_table_size(8192);
    assert_eq!(encoder.generation(), before, "nothing changes above 4096");
    encoder.set_max_table_size(100);
    let waiting = encoder.generation();
    encode(&mut encoder, &Fields::new());
    let after = encoder.generation();
    assert!(before != waiting && waiting != after && before != after);
    encode(&mut encoder, &Fields::new());
    assert_eq!(encoder.generation(), after);
}
