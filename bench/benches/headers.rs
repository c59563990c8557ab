//! What header blocks cost: HPACK, and the cache that spares most of it. `cargo bench -p pigeon-bench headers`.

// Benchmarks may panic like tests.
#![allow(clippy::unwrap_used, missing_docs)]

use divan::{Bencher, black_box};
use pigeon_proxy::h2::{Decoder, Encoded, Encoder, Fields, Indexing};

fn main() {
    divan::main();
}

/// The head of a call as grpc-go sends it, with `more` fields of metadata.
fn request(more: usize) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/speech.v1.Recognizer/Recognize"),
        (":authority", "gateway.example.com"),
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-go/1.78.0"),
        ("te", "trailers"),
    ] {
        fields.push(name.as_bytes(), value.as_bytes(), Indexing::Incremental);
    }
    for n in 0..more {
        let (name, value) = (format!("x-meta-{n}"), format!("value-{n}"));
        fields.push(name.as_bytes(), value.as_bytes(), Indexing::Incremental);
    }
    fields
}

fn encode(fields: &Fields, encoder: &mut Encoder, out: &mut Vec<u8>) {
    for (name, value, indexing) in fields.iter() {
        encoder.field(name, value, indexing, out);
    }
}

/// Every field is in the table: the second call of a connection and all after it.
#[divan::bench(args = [0, 8])]
fn encode_repeated(bencher: Bencher, more: usize) {
    let (fields, mut encoder, mut out) = (request(more), Encoder::new(), Vec::new());
    encode(&fields, &mut encoder, &mut out);
    bencher.bench_local(|| {
        out.clear();
        encode(black_box(&fields), &mut encoder, &mut out);
    });
}

#[divan::bench(args = [0, 8])]
fn decode_repeated(bencher: Bencher, more: usize) {
    let (fields, mut encoder) = (request(more), Encoder::new());
    let (mut decoder, mut out, mut list) = (Decoder::new(4096), Vec::new(), Fields::new());
    encode(&fields, &mut encoder, &mut out);
    decoder.decode(&out, &mut list, 1 << 16).unwrap();
    out.clear();
    encode(&fields, &mut encoder, &mut out);
    bencher.bench_local(|| {
        list.clear();
        decoder.decode(black_box(&out), &mut list, 1 << 16).unwrap();
    });
}

/// The first call of a connection: every field goes into the table.
#[divan::bench(args = [0, 8])]
fn encode_and_decode_first(bencher: Bencher, more: usize) {
    let (fields, mut list, mut out) = (request(more), Fields::new(), Vec::new());
    bencher.bench_local(|| {
        out.clear();
        list.clear();
        encode(black_box(&fields), &mut Encoder::new(), &mut out);
        Decoder::new(4096).decode(&out, &mut list, 1 << 16).unwrap();
    });
}

/// The list was sent before: its bytes are at hand, among those of so many others.
#[divan::bench(args = [1, 8, 64])]
fn encode_remembered(bencher: Bencher, lists: u64) {
    let (mut encoder, mut encoded, mut out) = (Encoder::new(), Encoded::new(64), Vec::new());
    // The same fields, so that the table changes with none but the first.
    let fields = request(8);
    for _ in 0..2 {
        for id in 1..=lists {
            encoded.write(id, &fields, &mut encoder, &mut out);
        }
    }
    bencher.bench_local(|| {
        out.clear();
        encoded.write(black_box(lists), &fields, &mut encoder, &mut out);
    });
}
