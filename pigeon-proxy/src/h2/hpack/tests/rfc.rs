//! The examples of RFC 7541 appendix C, with the table after each block.

use super::super::{Decoder, Encoder, Fields, Indexing, integer};
use super::{contents, decode, encode, pairs, size};

struct Example {
    block: &'static str,
    fields: &'static [(&'static str, &'static str)],
    /// Newest first.
    table: &'static [(&'static str, &'static str)],
    table_size: usize,
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn owned(fields: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields.iter().map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into())).collect()
}

fn check(decoder: &mut Decoder, examples: &[Example]) {
    for (n, example) in examples.iter().enumerate() {
        let fields = decode(decoder, &hex(example.block));
        assert_eq!(pairs(&fields), owned(example.fields), "block {n}");
        let table = contents(&decoder.table);
        assert_eq!(table, owned(example.table), "table after block {n}");
        assert_eq!(size(&table), example.table_size, "size after block {n}");
    }
}

#[test]
fn c_1_integers() {
    for (value, bits, bytes) in
        [(10, 5, "0a"), (1337, 5, "1f9a0a"), (42, 8, "2a"), (u32::MAX, 7, "7f80ffffff0f")]
    {
        let bytes = hex(bytes);
        let mut input = &bytes[..];
        assert_eq!(integer::read(&mut input, bits), Ok(value));
        assert!(input.is_empty());
        let mut out = Vec::new();
        integer::write(&mut out, 0, bits, value as usize);
        assert_eq!(out, bytes);
    }
}

#[test]
fn c_2_representations() {
    let examples = [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            ("custom-key", "custom-header"),
            Indexing::Incremental,
            55,
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", (":path", "/sample/path"), Indexing::Plain, 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", ("password", "secret"), Indexing::Never, 0),
        ("82", (":method", "GET"), Indexing::Indexed, 0),
    ];
    for (block, (name, value), indexing, table_size) in examples {
        let mut decoder = Decoder::new(4096);
        let fields = decode(&mut decoder, &hex(block));
        assert_eq!(
            fields.iter().collect::<Vec<_>>(),
            [(name.as_bytes(), value.as_bytes(), indexing)]
        );
        assert_eq!(size(&contents(&decoder.table)), table_size);
        assert_eq!(encode(&mut Encoder::new(), &fields), hex(block), "the encoder does the same");
    }
}

const REQUESTS: [Example; 3] = [
    Example {
        block: "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        fields: &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
        ],
        table: &[(":authority", "www.example.com")],
        table_size: 57,
    },
    Example {
        block: "8286 84be 5808 6e6f 2d63 6163 6865",
        fields: &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
            ("cache-control", "no-cache"),
        ],
        table: &[("cache-control", "no-cache"), (":authority", "www.example.com")],
        table_size: 110,
    },
    Example {
        block: "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        fields: &[
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ],
        table: &[
            ("custom-key", "custom-value"),
            ("cache-control", "no-cache"),
            (":authority", "www.example.com"),
        ],
        table_size: 164,
    },
];

const LOCATION: (&str, &str) = ("location", "https://www.example.com");
const DATE: (&str, &str) = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
const LATER: (&str, &str) = ("date", "Mon, 21 Oct 2013 20:13:22 GMT");
const COOKIE: (&str, &str) =
    ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");
const PRIVATE: (&str, &str) = ("cache-control", "private");

const RESPONSES: [Example; 3] = [
    Example {
        block: "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 \
                2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 \
                6c65 2e63 6f6d",
        fields: &[(":status", "302"), PRIVATE, DATE, LOCATION],
        table: &[LOCATION, DATE, PRIVATE, (":status", "302")],
        table_size: 222,
    },
    Example {
        block: "4803 3330 37c1 c0bf",
        fields: &[(":status", "307"), PRIVATE, DATE, LOCATION],
        table: &[(":status", "307"), LOCATION, DATE, PRIVATE],
        table_size: 222,
    },
    Example {
        block: "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d \
                54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 \
                5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e \
                3d31",
        fields: &[
            (":status", "200"),
            PRIVATE,
            LATER,
            LOCATION,
            ("content-encoding", "gzip"),
            COOKIE,
        ],
        table: &[COOKIE, ("content-encoding", "gzip"), LATER],
        table_size: 215,
    },
];

/// The same fields and tables in other bytes.
fn coded(examples: [Example; 3], blocks: [&'static str; 3]) -> [Example; 3] {
    let mut blocks = blocks.into_iter();
    examples.map(|example| Example { block: blocks.next().unwrap(), ..example })
}

#[test]
fn c_3_requests_without_huffman_coding() {
    check(&mut Decoder::new(4096), &REQUESTS);
}

#[test]
fn c_4_requests_with_huffman_coding() {
    let blocks = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    check(&mut Decoder::new(4096), &coded(REQUESTS, blocks));
}

#[test]
fn c_5_responses_without_huffman_coding() {
    check(&mut Decoder::new(256), &RESPONSES);
}

#[test]
fn c_6_responses_with_huffman_coding() {
    let blocks = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e \
         919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 \
         821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed \
         4ee5 b106 3d50 07",
    ];
    check(&mut Decoder::new(256), &coded(RESPONSES, blocks));
}

#[test]
fn the_encoder_writes_the_examples_without_huffman_coding() {
    for (examples, size, update) in [(REQUESTS, 4096, ""), (RESPONSES, 256, "3fe101")] {
        let mut encoder = Encoder::new();
        encoder.set_max_table_size(size);
        for (n, example) in examples.iter().enumerate() {
            let mut fields = Fields::new();
            for (name, value) in example.fields {
                fields.push(name.as_bytes(), value.as_bytes(), Indexing::Incremental);
            }
            let update = if n == 0 { update } else { "" };
            let wanted = hex(&format!("{update}{}", example.block));
            assert_eq!(encode(&mut encoder, &fields), wanted, "block {n}");
            assert_eq!(contents(&encoder.table), owned(example.table), "table after block {n}");
        }
    }
}
