//! Any bytes as input of a server and of a client, in pieces of any size: no panic, bounded output, an end after an
//! error, and the same events and output however the bytes are cut.
#![no_main]

mod source;

use libfuzzer_sys::fuzz_target;
use source::h2::{Config, Connection, Error, Event, Fields, Role, frame};

fn config(role: Role) -> Config {
    Config {
        role,
        max_concurrent_streams: if role == Role::Server { 8 } else { 0 },
        initial_window: 4096,
        stream_window: 16_384,
        connection_window: 65_535,
        connection_budget: 8192,
        max_header_list: 4096,
    }
}

/// What came of it: a text of each event, and all that was sent.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    events: Vec<String>,
    sent: Vec<u8>,
    error: Option<Error>,
}

fn run(role: Role, preface: bool, data: &[u8], mut cut: impl FnMut(usize) -> usize) -> Outcome {
    let mut connection = Connection::new(&config(role));
    if role == Role::Client {
        for key in (0..10).filter_map(|tag| connection.open(tag)).collect::<Vec<_>>() {
            connection.send_headers(key, key.id() % 4 == 1, |_, out| out.push(0x82));
        }
    }
    let mut bytes =
        if preface && role == Role::Server { frame::PREFACE.to_vec() } else { Vec::new() };
    bytes.extend_from_slice(data);
    let mut outcome = Outcome::default();
    let mut rest = &bytes[..];
    let mut fields = Fields::new();
    while !rest.is_empty() && outcome.error.is_none() {
        let (piece, behind) = rest.split_at(cut(rest.len()));
        rest = behind;
        let input = [connection.kept(), piece].concat();
        let mut input = &input[..];
        loop {
            let event = match connection.next(&mut input, 0) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(connection.next(&mut &b""[..], 0).unwrap_err(), error);
                    outcome.error = Some(error);
                    break;
                }
            };
            outcome.events.push(format!("{event:?}"));
            match event {
                Event::Headers { block, .. } => {
                    fields.clear();
                    let _ = connection.decode(&block, &mut fields);
                }
                Event::Data { stream, bytes, end, flow } => {
                    assert!(!bytes.is_empty() || end, "empty DATA are swallowed");
                    assert!(bytes.len() <= flow as usize);
                    connection.release(stream, flow, flow % 2 == 0);
                }
                _ => {}
            }
        }
        assert!(input.len() < frame::HEADER + frame::MAX_PAYLOAD);
        connection.keep(input);
        assert!(connection.streams() <= 10);
    }
    outcome.sent = connection.out().unsent().to_vec();
    outcome
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, data)) = data.split_first() else { return };
    let role = if first & 1 == 0 { Role::Server } else { Role::Client };
    let preface = first & 2 == 0;
    let whole = run(role, preface, data, |left| left);
    let mut state = u32::from(first) | 1;
    let pieces = run(role, preface, data, |left| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 16) as usize % left.min(40)
    });
    assert_eq!(whole, pieces);
    check_frames(role, &whole.sent);
});

/// What was sent is whole frames.
fn check_frames(role: Role, sent: &[u8]) {
    let mut rest =
        if role == Role::Client { sent.strip_prefix(frame::PREFACE).unwrap() } else { sent };
    while let Some(_frame) = frame::take(&mut rest).unwrap() {}
    assert!(rest.is_empty());
}
