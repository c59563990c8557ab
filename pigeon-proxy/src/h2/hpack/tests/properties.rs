//! Random lists, sizes and bytes through both ends, against naive tables.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::huffman::tests as huffman;
use super::super::{DecodeError, Decoder, Encoder, Fields, Indexing};
use super::{Field, NO_LIMIT, contents, decode, encode, list, pairs, size};

/// The table of RFC 7541 section 2.3.2 in the plainest words.
struct Naive {
    fields: VecDeque<(Vec<u8>, Vec<u8>)>,
    max_size: usize,
}

impl Naive {
    fn new() -> Self {
        Self { fields: VecDeque::new(), max_size: 4096 }
    }

    fn evict(&mut self) {
        while size(self.fields.make_contiguous()) > self.max_size {
            self.fields.pop_back();
        }
    }

    fn resize(&mut self, max_size: u32) {
        self.max_size = max_size.min(4096) as usize;
        self.evict();
    }

    /// What a list, as it was decoded, did to the table.
    fn take(&mut self, fields: &Fields) {
        for (name, value, indexing) in fields.iter() {
            if indexing == Indexing::Incremental {
                self.fields.push_front((name.to_vec(), value.to_vec()));
                self.evict();
            }
        }
    }

    fn contents(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.fields.iter().cloned().collect()
    }
}

fn indexing() -> impl Strategy<Value = Indexing> {
    prop_oneof![
        3 => Just(Indexing::Indexed),
        3 => Just(Indexing::Incremental),
        2 => Just(Indexing::Plain),
        1 => Just(Indexing::Never),
    ]
}

/// Names and values that often come again, or lie in the static table, or are anything.
fn field() -> impl Strategy<Value = Field> {
    const NAMES: [&str; 9] =
        [":method", ":path", ":status", "accept-encoding", "date", "te", "a", "b", "ab"];
    const VALUES: [&str; 9] = ["GET", "POST", "/", "200", "404", "gzip, deflate", "", "a", "bb"];
    let name = prop_oneof![
        8 => select(&NAMES[..]).prop_map(|name| name.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..20),
    ];
    let value = prop_oneof![
        8 => select(&VALUES[..]).prop_map(|value| value.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..100),
        1 => (any::<u8>(), 0_usize..5000).prop_map(|(byte, length)| vec![byte; length]),
    ];
    (name, value, indexing())
}

/// Sizes that the peer sets before a block, and the block.
fn blocks() -> impl Strategy<Value = Vec<(Vec<u32>, Vec<Field>)>> {
    let sizes = prop_oneof![
        4 => Just(Vec::new()),
        1 => vec(prop_oneof![0_u32..300, Just(4096), any::<u32>()], 1..4),
    ];
    vec((sizes, vec(field(), 0..24)), 1..12)
}

/// A block in the peer's words: any representation, also with Huffman coding and of the table.
fn written(fields: &[(Field, bool, usize)]) -> Vec<u8> {
    let mut block = Vec::new();
    for ((name, value, indexing), coded, index) in fields {
        let string = |text: &[u8], block: &mut Vec<u8>| {
            let (pattern, bytes) = match coded {
                true => (0x80, huffman::encode(text)),
                false => (0, text.to_vec()),
            };
            super::super::integer::write(block, pattern, 7, bytes.len());
            block.extend(bytes);
        };
        match indexing {
            Indexing::Indexed => super::super::integer::write(&mut block, 0x80, 7, *index),
            Indexing::Incremental => block.push(0x40),
            Indexing::Plain => block.push(0x00),
            Indexing::Never => block.push(0x10),
        }
        if *indexing != Indexing::Indexed {
            string(name, &mut block);
            string(value, &mut block);
        }
    }
    block
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_and_both_tables_stay_equal(blocks in blocks()) {
        let (mut encoder, mut decoder, mut naive) =
            (Encoder::new(), Decoder::new(4096), Naive::new());
        for (sizes, fields) in blocks {
            for size in sizes {
                encoder.set_max_table_size(size);
                naive.resize(size);
            }
            prop_assert_eq!(encoder.index.len(), encoder.table.len());
            let given = list(&fields);
            let before = (encoder.generation(), decoder.generation(), contents(&decoder.table));
            let block = encode(&mut encoder, &given);
            let back = decode(&mut decoder, &block);
            prop_assert_eq!(pairs(&back), pairs(&given));
            naive.take(&back);
            prop_assert_eq!(contents(&encoder.table), naive.contents());
            prop_assert_eq!(contents(&decoder.table), naive.contents());
            prop_assert_eq!(encoder.index.len(), encoder.table.len());
            for ((_, _, sent), (_, _, came)) in given.iter().zip(back.iter()) {
                prop_assert_eq!(sent == Indexing::Never, came == Indexing::Never);
                prop_assert!(sent != Indexing::Plain || came != Indexing::Incremental);
            }
            // An unchanged generation promises that the table is unchanged, so that the same bytes
            // can be used again.
            if decoder.generation() == before.1 {
                prop_assert_eq!(&contents(&decoder.table), &before.2);
            }
            if encoder.generation() == before.0 {
                prop_assert_eq!(decoder.generation(), before.1);
                prop_assert_eq!(encode(&mut encoder, &given), block);
            }
        }
    }

    #[test]
    fn what_is_in_the_table_goes_as_an_index(blocks in blocks()) {
        let mut encoder = Encoder::new();
        for (_, fields) in blocks {
            encode(&mut encoder, &list(&fields));
            let held = contents(&encoder.table);
            for (name, value) in held {
                let mut block = Vec::new();
                encoder.field(&name, &value, Indexing::Plain, &mut block);
                prop_assert!(block.len() <= 2 && block[0] & 0x80 != 0, "{name:?} {block:x?}");
            }
        }
    }

    #[test]
    fn a_name_in_a_table_goes_as_an_index(blocks in blocks(), sought in field()) {
        let mut encoder = Encoder::new();
        for (_, fields) in blocks {
            encode(&mut encoder, &list(&fields));
        }
        let known = contents(&encoder.table).iter().any(|(name, _)| *name == sought.0);
        let mut block = Vec::new();
        encoder.field(&sought.0, b"a value that no table has", Indexing::Never, &mut block);
        let fixed = super::super::static_table::find_name(
            super::super::index::hash(&sought.0), &sought.0);
        prop_assert_eq!(block[0] != 0x10, known || fixed.is_some());
    }

    #[test]
    fn a_limit_changes_the_list_but_not_the_table(blocks in blocks(), most in 0_usize..3000) {
        let (mut encoder, mut free, mut limited) =
            (Encoder::new(), Decoder::new(4096), Decoder::new(4096));
        for (sizes, fields) in blocks {
            sizes.iter().for_each(|size| encoder.set_max_table_size(*size));
            let block = encode(&mut encoder, &list(&fields));
            let whole = decode(&mut free, &block);
            let mut part = Fields::new();
            let result = limited.decode(&block, &mut part, most);
            let fits = whole.list_size() <= most;
            prop_assert_eq!(result, if fits { Ok(()) } else { Err(DecodeError::TooLarge) });
            prop_assert!(part.list_size() <= most);
            prop_assert!(whole.iter().take(part.len()).eq(part.iter()));
            prop_assert_eq!(contents(&limited.table), contents(&free.table));
            prop_assert_eq!(limited.generation(), free.generation());
        }
    }

    #[test]
    fn whatever_a_peer_writes_is_read_as_a_naive_table_would(
        blocks in vec(vec((field(), any::<bool>(), 1_usize..80), 0..24), 1..8),
    ) {
        let (mut decoder, mut naive) = (Decoder::new(4096), Naive::new());
        for fields in blocks {
            let mut back = Fields::new();
            let result = decoder.decode(&written(&fields), &mut back, NO_LIMIT);
            for (n, ((name, value, indexing), _, index)) in fields.iter().enumerate() {
                let place = index.checked_sub(62);
                let (name, value) = match (indexing, place) {
                    (Indexing::Indexed, None) => {
                        let (text, at) = super::super::static_table::get(*index).unwrap();
                        (text[..at].to_vec(), text[at..].to_vec())
                    }
                    (Indexing::Indexed, Some(place)) => match naive.fields.get(place) {
                        Some(field) => field.clone(),
                        None => {
                            prop_assert!(matches!(result, Err(DecodeError::Malformed(_))));
                            prop_assert_eq!(back.len(), n);
                            return Ok(());
                        }
                    },
                    _ => (name.clone(), value.clone()),
                };
                let came = back.iter().nth(n).unwrap();
                prop_assert_eq!(came, (&name[..], &value[..], *indexing));
                naive.take(&list(&[(name, value, *indexing)]));
            }
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(contents(&decoder.table), naive.contents());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_in_bounded_memory(
        blocks in vec(vec(any::<u8>(), 0..400), 1..8),
        most in 0_usize..1000,
    ) {
        let (mut decoder, mut fields) = (Decoder::new(4096), Fields::new());
        for block in blocks {
            fields.clear();
            let before = (decoder.generation(), contents(&decoder.table));
            let result = decoder.decode(&block, &mut fields, most);
            prop_assert!(fields.list_size() <= most);
            prop_assert!(fields.text().capacity() <= 2 * (1000 + 4096 + 2 * 400));
            prop_assert!(size(&contents(&decoder.table)) <= 4096);
            prop_assert!(decoder.table.allocated() <= 4 * 4096 + 256);
            if decoder.generation() == before.0 {
                prop_assert_eq!(contents(&decoder.table), before.1);
            }
            if let Err(DecodeError::Malformed(_)) = result {
                break;
            }
        }
    }
}

#[test]
fn memory_stays_bounded_however_many_fields_come_and_go() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    for n in 0..20_000_usize {
        let value = vec![b'v'; n * 7 % 2000];
        let field = (n.to_string().into_bytes(), value, Indexing::Incremental);
        let block = encode(&mut encoder, &list(&[field]));
        decode(&mut decoder, &block);
        assert!(decoder.table.allocated() <= 4 * 4096 + 256);
        assert!(encoder.table.allocated() <= 4 * 4096 + 256);
    }
    assert_eq!(contents(&encoder.table), contents(&decoder.table));
}
