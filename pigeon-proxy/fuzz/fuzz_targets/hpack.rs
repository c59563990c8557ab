//! Any bytes as header blocks: no panic, bounded lists; and what was decoded survives an encoder and a second
//! decoder, whose tables stay in step while the encoder's size changes.
#![no_main]

mod source;

use libfuzzer_sys::fuzz_target;
use source::h2::{DecodeError, Decoder, Encoder, Fields};

/// The largest list.
const LIMIT: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let mut decoder = Decoder::new(4096);
    let mut encoder = Encoder::new();
    let mut second = Decoder::new(4096);
    let (mut fields, mut again, mut out) = (Fields::new(), Fields::new(), Vec::new());
    let mut rest = data;
    // Blocks follow each other, each with its length and a number that may change the encoder's table.
    while let Some((&[length, change], behind)) = rest.split_first_chunk() {
        let (block, behind) = behind.split_at(behind.len().min(length as usize));
        rest = behind;
        fields.clear();
        let generation = decoder.generation();
        match decoder.decode(block, &mut fields, LIMIT) {
            Ok(()) => {}
            Err(DecodeError::TooLarge) => assert!(fields.list_size() <= LIMIT),
            Err(DecodeError::Malformed(_)) => return,
        }
        assert!(fields.list_size() <= LIMIT);
        if block.is_empty() {
            assert_eq!(generation, decoder.generation());
        }
        if change % 8 == 0 {
            encoder.set_max_table_size(u32::from(change) * 32);
        }
        out.clear();
        again.clear();
        encoder.begin(&mut out);
        fields
            .iter()
            .for_each(|(name, value, indexing)| encoder.field(name, value, indexing, &mut out));
        second.decode(&out, &mut again, LIMIT).expect("what we encode can be decoded");
        assert!(fields.iter().map(|f| (f.0, f.1)).eq(again.iter().map(|f| (f.0, f.1))));
    }
});
