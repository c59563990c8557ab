//! One row for each rule of RFC 9113 that a peer can break: bytes in, GOAWAY or RST_STREAM out. It has the cases of
//! h2spec and more.

use pigeon_proxy::h2::error::*;
use pigeon_proxy::h2::frame::{self, flag, kind};
use pigeon_proxy::h2::{Connection, DecodeError, Fields, Role, head};

use super::support::*;

/// What must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The connection ends with this code.
    Connection(u32),
    /// This stream is reset with this code; the connection goes on.
    Stream(u32, u32),
    /// Nothing.
    Fine,
}
use Answer::{Connection as Ends, Fine, Stream as Resets};

/// A row: what, the bytes after the greetings, the answer.
type Row = (&'static str, Vec<u8>, Answer);

fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

/// A server on the core that answers each request when it is whole, as a caller would.
fn answer_of(mut server: Connection, bytes: &[u8]) -> Answer {
    let input = bytes.to_vec();
    let mut input = &input[..];
    let failed = loop {
        let event = match server.next(&mut input, 0) {
            Ok(Some(event)) => Seen::from(event),
            Ok(None) => break None,
            Err(error) => break Some(error.code),
        };
        if let Seen::Headers { stream, opened, end, block } = &event {
            let mut fields = Fields::new();
            if let Err(DecodeError::Malformed(reason)) = server.decode(block, &mut fields) {
                break Some(server.fail(COMPRESSION_ERROR, reason).code);
            }
            let check = if *opened { head::check_request } else { head::check_trailers };
            if check(&fields).is_err() {
                server.reset(*stream, PROTOCOL_ERROR);
                continue;
            }
            if let (Ok(Some(length)), false) = (head::content_length(&fields), *end) {
                server.expect_length(*stream, length);
            }
        }
        if let Seen::Headers { stream, end: true, .. } | Seen::Data { stream, end: true, .. } =
            event
        {
            send_head(&mut server, stream, true);
        }
    };
    read_answer(&mut server, failed)
}

fn read_answer(connection: &mut Connection, failed: Option<u32>) -> Answer {
    let frames = sent(connection);
    let resets: Vec<_> = frames.iter().filter(|f| f.kind == kind::RST_STREAM).collect();
    let goaway = frames.iter().find(|f| f.kind == kind::GOAWAY);
    match (failed, resets.as_slice(), goaway) {
        (None, [], None) => Fine,
        (None, [reset], None) => Resets(reset.stream, reset.word()),
        (Some(code), _, Some(goaway)) => {
            assert_eq!(goaway.payload[4..8], code.to_be_bytes(), "GOAWAY says what was returned");
            Ends(code)
        }
        other => panic!("{other:?}"),
    }
}

fn check(rows: Vec<Row>) {
    for (what, bytes, expected) in rows {
        assert_eq!(answer_of(server(&config(Role::Server)), &bytes), expected, "{what}");
    }
}

/// A request that stays open, and one that is whole.
fn open(id: u32) -> Vec<u8> {
    headers(id, false, GET)
}
fn whole(id: u32) -> Vec<u8> {
    headers(id, true, GET)
}

#[test]
fn prefaces() {
    let rows: &[(&str, Vec<u8>, Answer)] = &[
        ("HTTP/1.1", b"GET / HTTP/1.1\r\n".to_vec(), Ends(PROTOCOL_ERROR)),
        ("one wrong byte", b"PRJ".to_vec(), Ends(PROTOCOL_ERROR)),
        ("a part of the preface", b"PRI * HT".to_vec(), Fine),
        ("no SETTINGS", join(&[frame::PREFACE.to_vec(), whole(1)]), Ends(PROTOCOL_ERROR)),
        (
            "an acknowledgement instead of SETTINGS",
            join(&[frame::PREFACE.to_vec(), settings_ack()]),
            Ends(PROTOCOL_ERROR),
        ),
        ("proper", join(&[frame::PREFACE.to_vec(), settings(&[]), whole(1)]), Fine),
    ];
    for (what, bytes, expected) in rows {
        let server = Connection::new(&config(Role::Server));
        assert_eq!(answer_of(server, bytes), *expected, "{what}");
    }
}

#[test]
fn frames_and_data() {
    let large = vec![0; frame::MAX_PAYLOAD + 1];
    check(vec![
        ("unknown type", raw(0xbb, 0xff, 0, b"anything"), Fine),
        ("unknown flags, reserved bit", raw(kind::PING, 0xfe, 1 << 31, &[0; 8]), Fine),
        ("a frame too large", join(&[open(1), data(1, false, &large)]), Ends(FRAME_SIZE_ERROR)),
        (
            "its header alone",
            frame::header(1 << 20, kind::DATA, 0, 1).to_vec(),
            Ends(FRAME_SIZE_ERROR),
        ),
        ("HEADERS too large", headers(1, true, &large), Ends(FRAME_SIZE_ERROR)),
        ("a frame as large as allowed", join(&[open(1), data(1, true, &large[1..])]), Fine),
        ("DATA of stream 0", data(0, false, b"x"), Ends(PROTOCOL_ERROR)),
        ("DATA of an idle stream", data(1, true, b"x"), Ends(PROTOCOL_ERROR)),
        ("DATA of an even stream", join(&[open(3), data(2, true, b"x")]), Ends(PROTOCOL_ERROR)),
        ("DATA after END_STREAM", join(&[whole(1), data(1, true, b"x")]), Resets(1, STREAM_CLOSED)),
        (
            "DATA after RST_STREAM",
            join(&[open(1), rst_stream(1, CANCEL), data(1, true, b"x")]),
            Resets(1, STREAM_CLOSED),
        ),
        ("padding", join(&[open(1), padded(1, true, b"x", 255)]), Fine),
        (
            "padding as long as the frame",
            join(&[open(1), raw(kind::DATA, flag::PADDED, 1, &[1])]),
            Ends(PROTOCOL_ERROR),
        ),
        (
            "padded and empty",
            join(&[open(1), raw(kind::DATA, flag::PADDED, 1, &[])]),
            Ends(FRAME_SIZE_ERROR),
        ),
        (
            "DATA less than content-length",
            join(&[headers(1, false, &with_length(b"2")), data(1, true, b"x")]),
            Resets(1, PROTOCOL_ERROR),
        ),
        (
            "DATA more than content-length",
            join(&[headers(1, false, &with_length(b"2")), data(1, false, b"xyz")]),
            Resets(1, PROTOCOL_ERROR),
        ),
        (
            "trailers before all of content-length",
            join(&[
                headers(1, false, &with_length(b"2")),
                data(1, false, b"x"),
                headers(1, true, &[]),
            ]),
            Resets(1, PROTOCOL_ERROR),
        ),
        (
            "DATA as content-length says",
            join(&[
                headers(1, false, &with_length(b"3")),
                data(1, false, b"x"),
                data(1, true, b"yz"),
            ]),
            Fine,
        ),
    ]);
}

/// A request block with a content-length (index 28 of the static table) of one byte.
fn with_length(value: &[u8; 1]) -> Vec<u8> {
    [GET, &[0x0f, 0x0d, 0x01], value].concat()
}

#[test]
fn header_blocks() {
    let begin = |id| raw(kind::HEADERS, flag::END_STREAM, id, GET);
    let more = |id, end, block: &[u8]| {
        raw(kind::CONTINUATION, if end { flag::END_HEADERS } else { 0 }, id, block)
    };
    check(vec![
        (
            "a second method in the second frame",
            join(&[begin(1), more(1, false, &[0x83]), more(1, true, &[])]),
            Resets(1, PROTOCOL_ERROR),
        ),
        ("in two frames", join(&[begin(1), more(1, true, &[])]), Fine),
        ("stream 0", whole(0), Ends(PROTOCOL_ERROR)),
        ("even stream", whole(2), Ends(PROTOCOL_ERROR)),
        ("lower stream", join(&[whole(5), whole(3)]), Ends(PROTOCOL_ERROR)),
        ("a stream again", join(&[whole(1), whole(1)]), Ends(STREAM_CLOSED)),
        (
            "a stream again after a reset",
            join(&[open(1), rst_stream(1, CANCEL), whole(1)]),
            Ends(STREAM_CLOSED),
        ),
        (
            "trailers without END_STREAM",
            join(&[open(1), headers(1, false, &[])]),
            Resets(1, PROTOCOL_ERROR),
        ),
        ("trailers", join(&[open(1), data(1, false, b"x"), headers(1, true, &[])]), Fine),
        ("index 0", whole_of(&[0x80]), Ends(COMPRESSION_ERROR)),
        ("an index past the table", whole_of(&[0xff, 0x00]), Ends(COMPRESSION_ERROR)),
        ("a cut literal", whole_of(&[0x40, 0x05, b'a']), Ends(COMPRESSION_ERROR)),
        (
            "uppercase name",
            whole_of(&[0x82, 0x86, 0x84, 0x01, 1, b'a', 0x00, 1, b'A', 1, b'x']),
            Resets(1, PROTOCOL_ERROR),
        ),
        ("no :path", whole_of(&[0x82, 0x86, 0x01, 1, b'a']), Resets(1, PROTOCOL_ERROR)),
        (
            "interrupted by PRIORITY",
            join(&[begin(1), raw(kind::PRIORITY, 0, 1, &[0; 5])]),
            Ends(PROTOCOL_ERROR),
        ),
        ("interrupted by DATA", join(&[begin(1), data(1, true, b"x")]), Ends(PROTOCOL_ERROR)),
        (
            "interrupted by an unknown type",
            join(&[begin(1), raw(0xbb, 0, 0, b"x")]),
            Ends(PROTOCOL_ERROR),
        ),
        ("interrupted by HEADERS", join(&[begin(1), whole(3)]), Ends(PROTOCOL_ERROR)),
        (
            "CONTINUATION of another stream",
            join(&[begin(1), more(3, true, &[])]),
            Ends(PROTOCOL_ERROR),
        ),
        ("CONTINUATION of stream 0", join(&[begin(1), more(0, true, &[])]), Ends(PROTOCOL_ERROR)),
        ("CONTINUATION of nothing", more(1, true, GET), Ends(PROTOCOL_ERROR)),
        ("CONTINUATION after the end", join(&[open(1), more(1, true, GET)]), Ends(PROTOCOL_ERROR)),
        (
            "CONTINUATION after DATA",
            join(&[open(1), data(1, false, b"x"), more(1, true, GET)]),
            Ends(PROTOCOL_ERROR),
        ),
    ]);
}

#[test]
fn headers_padded_and_with_priority() {
    let flagged = |flags: u8, payload: &[u8]| {
        raw(kind::HEADERS, flags | flag::END_STREAM | flag::END_HEADERS, 1, payload)
    };
    check(vec![
        ("padding", flagged(flag::PADDED, &[&[2], GET, &[0, 0]].concat()), Fine),
        (
            "padding too long",
            flagged(flag::PADDED, &[&[9], GET, &[0, 0]].concat()),
            Ends(PROTOCOL_ERROR),
        ),
        ("padded and empty", flagged(flag::PADDED, &[]), Ends(FRAME_SIZE_ERROR)),
        ("priority", flagged(flag::PRIORITY, &[&[0, 0, 0, 0, 9], GET].concat()), Fine),
        ("no room for priority", flagged(flag::PRIORITY, &[0, 0, 0, 0]), Ends(FRAME_SIZE_ERROR)),
        (
            "depends on itself",
            flagged(flag::PRIORITY, &[&[0x80, 0, 0, 1, 9], GET].concat()),
            Resets(1, PROTOCOL_ERROR),
        ),
        (
            "PUSH_PROMISE",
            raw(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &[0, 0, 0, 2]),
            Ends(PROTOCOL_ERROR),
        ),
    ]);
}

fn whole_of(block: &[u8]) -> Vec<u8> {
    headers(1, true, block)
}

#[test]
fn resets_and_priorities() {
    let priority =
        |id: u32, on: u32| raw(kind::PRIORITY, 0, id, &[&on.to_be_bytes()[..], &[9]].concat());
    check(vec![
        ("RST_STREAM of stream 0", rst_stream(0, CANCEL), Ends(PROTOCOL_ERROR)),
        ("RST_STREAM of an idle stream", rst_stream(1, CANCEL), Ends(PROTOCOL_ERROR)),
        (
            "RST_STREAM of three bytes",
            join(&[open(1), raw(kind::RST_STREAM, 0, 1, &[0; 3])]),
            Ends(FRAME_SIZE_ERROR),
        ),
        ("RST_STREAM with an unknown code", join(&[open(1), rst_stream(1, 0xff)]), Fine),
        ("RST_STREAM of a closed stream", join(&[whole(1), rst_stream(1, CANCEL)]), Fine),
        ("RST_STREAM twice", join(&[open(1), rst_stream(1, 0), rst_stream(1, 0)]), Fine),
        ("PRIORITY of an idle stream", priority(7, 3), Fine),
        ("PRIORITY of an even stream", priority(6, 0), Fine),
        ("PRIORITY of a closed stream", join(&[whole(1), priority(1, 0)]), Fine),
        ("PRIORITY of stream 0", priority(0, 1), Ends(PROTOCOL_ERROR)),
        (
            "PRIORITY of four bytes",
            join(&[open(1), raw(kind::PRIORITY, 0, 1, &[0; 4])]),
            Resets(1, FRAME_SIZE_ERROR),
        ),
        ("the same, no stream open", raw(kind::PRIORITY, 0, 1, &[0; 6]), Ends(FRAME_SIZE_ERROR)),
        ("PRIORITY on itself", join(&[open(1), priority(1, 1)]), Resets(1, PROTOCOL_ERROR)),
        ("the same, no stream open", priority(1, 1), Ends(PROTOCOL_ERROR)),
        (
            "what comes after our reset",
            join(&[open(1), headers(1, false, &[]), data(1, false, b"x"), data(1, true, b"y")]),
            Resets(1, PROTOCOL_ERROR),
        ),
        (
            "trailers after our reset",
            join(&[open(1), headers(1, false, &[]), headers(1, true, &[])]),
            Resets(1, PROTOCOL_ERROR),
        ),
    ]);
}

#[test]
fn settings_frames() {
    let one = |name, value| settings(&[(name, value)]);
    check(vec![
        ("of a stream", raw(kind::SETTINGS, 0, 1, &[]), Ends(PROTOCOL_ERROR)),
        (
            "acknowledgement with a payload",
            raw(kind::SETTINGS, flag::ACK, 0, &[0; 6]),
            Ends(FRAME_SIZE_ERROR),
        ),
        ("acknowledgement nobody waits for", settings_ack(), Fine),
        ("five bytes", raw(kind::SETTINGS, 0, 0, &[0; 5]), Ends(FRAME_SIZE_ERROR)),
        ("unknown", one(0xff, 1), Fine),
        ("push on", one(2, 1), Fine),
        ("push off", one(2, 0), Fine),
        ("push neither", one(2, 2), Ends(PROTOCOL_ERROR)),
        ("the largest window", one(4, (1 << 31) - 1), Fine),
        ("a window too large", one(4, 1 << 31), Ends(FLOW_CONTROL_ERROR)),
        ("frames too small", one(5, 16_383), Ends(PROTOCOL_ERROR)),
        ("frames as small as allowed", one(5, 16_384), Fine),
        ("frames as large as allowed", one(5, (1 << 24) - 1), Fine),
        ("frames too large", one(5, 1 << 24), Ends(PROTOCOL_ERROR)),
        ("the same entry twice", settings(&[(4, 1), (4, 2)]), Fine),
        ("more than there can be", settings(&[(0xff, 0); 33]), Ends(ENHANCE_YOUR_CALM)),
        (
            "a stream's window too large by it",
            join(&[open(1), window_update(1, (1 << 31) - 1 - 65_535), one(4, 65_536)]),
            Ends(FLOW_CONTROL_ERROR),
        ),
    ]);
}

#[test]
fn windows() {
    let most = (1 << 31) - 1;
    let full = |count: usize| {
        let frames = (0..count).map(|_| data(1, false, &[0; 16_384]));
        join(&[open(1), frames.collect::<Vec<_>>().concat()])
    };
    check(vec![
        ("of three bytes", raw(kind::WINDOW_UPDATE, 0, 0, &[0; 3]), Ends(FRAME_SIZE_ERROR)),
        ("by 0", window_update(0, 0), Ends(PROTOCOL_ERROR)),
        ("of a stream by 0", join(&[open(1), window_update(1, 0)]), Resets(1, PROTOCOL_ERROR)),
        ("reserved bit", join(&[open(1), window_update(1, 1 << 31 | 1)]), Fine),
        ("of an idle stream", window_update(1, 1), Ends(PROTOCOL_ERROR)),
        ("of a closed stream", join(&[whole(1), window_update(1, 1)]), Fine),
        ("of an ended request", join(&[open(1), data(1, true, b""), window_update(1, 100)]), Fine),
        ("the largest", window_update(0, most - 65_535), Fine),
        ("one more", window_update(0, most - 65_534), Ends(FLOW_CONTROL_ERROR)),
        ("the largest of a stream", join(&[open(1), window_update(1, most - 65_535)]), Fine),
        (
            "one more of a stream",
            join(&[open(1), window_update(1, most - 65_534)]),
            Resets(1, FLOW_CONTROL_ERROR),
        ),
        ("all of a window", full(4), Fine),
        ("more than a window", full(5), Resets(1, FLOW_CONTROL_ERROR)),
        ("one byte more", join(&[full(4), data(1, false, b"x")]), Resets(1, FLOW_CONTROL_ERROR)),
        ("nothing more", join(&[full(4), data(1, true, b"")]), Fine),
    ]);
}

#[test]
fn pings_and_goaways() {
    check(vec![
        ("PING", raw(kind::PING, 0, 0, &[7; 8]), Fine),
        ("PING of a stream", raw(kind::PING, 0, 1, &[0; 8]), Ends(PROTOCOL_ERROR)),
        ("PING of six bytes", raw(kind::PING, 0, 0, &[0; 6]), Ends(FRAME_SIZE_ERROR)),
        ("an answer nobody waits for", raw(kind::PING, flag::ACK, 0, &[0; 8]), Fine),
        ("GOAWAY", raw(kind::GOAWAY, 0, 0, &[0; 9]), Fine),
        ("GOAWAY of a stream", raw(kind::GOAWAY, 0, 1, &[0; 8]), Ends(PROTOCOL_ERROR)),
        ("GOAWAY of four bytes", raw(kind::GOAWAY, 0, 0, &[0; 4]), Ends(FRAME_SIZE_ERROR)),
    ]);
}

#[test]
fn more_than_the_connection_window_ends_it() {
    let config = pigeon_proxy::h2::Config {
        connection_window: 65_535,
        connection_budget: 0,
        initial_window: 256 * KIB,
        ..config(Role::Server)
    };
    let frames: Vec<u8> = (0..4).flat_map(|_| data(1, false, &[0; 16_384])).collect();
    let (fits, over) =
        (join(&[open(1), frames[..frames.len() - 10].to_vec()]), join(&[open(1), frames]));
    assert_eq!(answer_of(server(&config), &fits), Fine);
    assert_eq!(answer_of(server(&config), &over), Ends(FLOW_CONTROL_ERROR));
}

#[test]
fn streams_over_the_limit_are_refused() {
    let config = pigeon_proxy::h2::Config { max_concurrent_streams: 2, ..config(Role::Server) };
    let over = join(&[open(1), open(3), open(5), data(5, true, b"swallowed")]);
    assert_eq!(answer_of(server(&config), &over), Resets(5, REFUSED_STREAM));
    let after = join(&[open(1), open(3), rst_stream(1, CANCEL), open(5)]);
    assert_eq!(answer_of(server(&config), &after), Fine);
}

#[test]
fn rules_for_servers() {
    let rows: Vec<Row> = vec![
        ("HEADERS first", headers(1, true, OK), Ends(PROTOCOL_ERROR)),
        ("push on", settings(&[(2, 1)]), Ends(PROTOCOL_ERROR)),
        ("push off", settings(&[(2, 0)]), Fine),
        (
            "PUSH_PROMISE",
            join(&[settings(&[]), raw(kind::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])]),
            Ends(PROTOCOL_ERROR),
        ),
        (
            "a stream of the server's",
            join(&[settings(&[]), headers(2, true, OK)]),
            Ends(PROTOCOL_ERROR),
        ),
        (
            "a stream never opened",
            join(&[settings(&[]), headers(3, true, OK)]),
            Ends(PROTOCOL_ERROR),
        ),
        (
            "DATA before the head",
            join(&[settings(&[]), data(1, true, b"x")]),
            Resets(1, PROTOCOL_ERROR),
        ),
        (
            "an interim head",
            join(&[settings(&[]), headers(1, false, OK), headers(1, false, OK)]),
            Fine,
        ),
        (
            "a head after DATA",
            join(&[
                settings(&[]),
                headers(1, false, OK),
                data(1, false, b"x"),
                headers(1, false, OK),
            ]),
            Resets(1, PROTOCOL_ERROR),
        ),
        (
            "the end twice",
            join(&[settings(&[]), headers(1, true, OK), data(1, true, b"")]),
            Resets(1, STREAM_CLOSED),
        ),
    ];
    for (what, bytes, expected) in rows {
        let mut client = Connection::new(&config(Role::Client));
        request(&mut client, 1, false);
        sent(&mut client);
        let failed = feed(&mut client, &bytes).err().map(|error| error.code);
        assert_eq!(read_answer(&mut client, failed), expected, "{what}");
    }
}

#[test]
fn an_error_stays() {
    let mut server = server(&config(Role::Server));
    let error = feed(&mut server, &data(1, true, b"x")).unwrap_err();
    sent(&mut server);
    assert_eq!(feed(&mut server, &whole(1)), Err(error));
    assert_eq!(server.fail(INTERNAL_ERROR, "later"), error);
    assert!(sent(&mut server).is_empty(), "one GOAWAY is enough");
}
