//! Frames by hand, connections ready to use, and what they say in a form that can be compared.

use pigeon_proxy::h2::frame::{self, flag, kind};
use pigeon_proxy::h2::{Config, Connection, Error, Event, Indexing, Key, Role};

pub const KIB: u32 = 1024;

/// `GET http /` from the static table, for the authority `a`.
pub const GET: &[u8] = &[0x82, 0x86, 0x84, 0x01, 1, b'a'];
/// `:status 200` from the static table.
pub const OK: &[u8] = &[0x88];

pub fn config(role: Role) -> Config {
    Config {
        role,
        max_concurrent_streams: if role == Role::Server { 100 } else { 0 },
        initial_window: 64 * KIB,
        stream_window: 256 * KIB,
        connection_window: 1024 * KIB,
        connection_budget: 1024 * KIB,
        max_header_list: 16 * KIB,
    }
}

/// A frame.
pub fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame::header(payload.len(), kind, flags, stream).to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

pub fn word(kind: u8, stream: u32, word: u32) -> Vec<u8> {
    raw(kind, 0, stream, &word.to_be_bytes())
}

pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    word(kind::WINDOW_UPDATE, stream, increment)
}

pub fn rst_stream(stream: u32, code: u32) -> Vec<u8> {
    word(kind::RST_STREAM, stream, code)
}

/// HEADERS of one frame.
pub fn headers(stream: u32, end: bool, block: &[u8]) -> Vec<u8> {
    let end = if end { flag::END_STREAM } else { 0 };
    raw(kind::HEADERS, end | flag::END_HEADERS, stream, block)
}

pub fn data(stream: u32, end: bool, bytes: &[u8]) -> Vec<u8> {
    raw(kind::DATA, if end { flag::END_STREAM } else { 0 }, stream, bytes)
}

pub fn padded(stream: u32, end: bool, bytes: &[u8], padding: u8) -> Vec<u8> {
    let payload = [&[padding], bytes, &vec![0; padding as usize]].concat();
    raw(kind::DATA, flag::PADDED | if end { flag::END_STREAM } else { 0 }, stream, &payload)
}

pub fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let entry =
        |&(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
    raw(kind::SETTINGS, 0, 0, &entries.iter().flat_map(entry).collect::<Vec<_>>())
}

pub fn settings_ack() -> Vec<u8> {
    raw(kind::SETTINGS, flag::ACK, 0, &[])
}

/// An event without its borrows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Headers { stream: Key, opened: bool, end: bool, block: Vec<u8> },
    Data { stream: Key, bytes: Vec<u8>, end: bool, flow: u32 },
    Reset { stream: Key, tag: u32, code: u32, local: bool },
    Writable(Key),
    WritableAll,
    GoAway { last: u32, code: u32 },
    Settings,
    Pong([u8; 8]),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Headers { stream, opened, end, block } => {
                Self::Headers { stream, opened, end, block: block.into_owned() }
            }
            Event::Data { stream, bytes, end, flow } => {
                Self::Data { stream, bytes: bytes.to_vec(), end, flow }
            }
            Event::Reset { stream, tag, code, local } => Self::Reset { stream, tag, code, local },
            Event::Writable { stream } => Self::Writable(stream),
            Event::WritableAll => Self::WritableAll,
            Event::GoAway { last, code } => Self::GoAway { last, code },
            Event::Settings => Self::Settings,
            Event::Pong { payload } => Self::Pong(payload),
        }
    }
}

/// Gives bytes to a connection and returns all its events. DATA are not released.
pub fn feed(connection: &mut Connection, bytes: &[u8]) -> Result<Vec<Seen>, Error> {
    feed_at(connection, bytes, 0)
}

pub fn feed_at(connection: &mut Connection, bytes: &[u8], now: u64) -> Result<Vec<Seen>, Error> {
    let input = [connection.kept(), bytes].concat();
    let mut input = &input[..];
    let mut events = Vec::new();
    while let Some(event) = connection.next(&mut input, now)? {
        events.push(event.into());
    }
    connection.keep(input);
    Ok(events)
}

/// A frame of a connection's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Sent {
    pub fn word(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }
}

/// Takes the frames of the output.
pub fn sent(connection: &mut Connection) -> Vec<Sent> {
    let bytes = connection.out().unsent().to_vec();
    connection.out().consume(bytes.len());
    let mut input = bytes.strip_prefix(frame::PREFACE).unwrap_or(&bytes);
    let mut frames = Vec::new();
    while let Some(frame) = frame::take(&mut input).unwrap() {
        let payload = frame.payload.to_vec();
        frames.push(Sent { kind: frame.kind, flags: frame.flags, stream: frame.stream, payload });
    }
    assert!(input.is_empty(), "output ends with a part of a frame");
    frames
}

/// A server that has greeted its client, with its output taken.
pub fn server(config: &Config) -> Connection {
    let mut server = Connection::new(config);
    let hello = [frame::PREFACE, &settings(&[]), &settings_ack()].concat();
    assert_eq!(feed(&mut server, &hello).unwrap(), [Seen::Settings]);
    sent(&mut server);
    server
}

/// A client that has greeted its server, with its output taken.
pub fn client(config: &Config) -> Connection {
    let mut client = Connection::new(config);
    let hello = [settings(&[]), settings_ack()].concat();
    assert_eq!(feed(&mut client, &hello).unwrap(), [Seen::Settings]);
    sent(&mut client);
    client
}

/// A client and a server that have greeted each other.
pub fn pair(client: &Config, server: &Config) -> (Connection, Connection) {
    let (mut client, mut server) = (Connection::new(client), Connection::new(server));
    for _ in 0..2 {
        let bytes = client.out().unsent().to_vec();
        client.out().consume(bytes.len());
        feed(&mut server, &bytes).unwrap();
        let bytes = server.out().unsent().to_vec();
        server.out().consume(bytes.len());
        feed(&mut client, &bytes).unwrap();
    }
    assert!(!client.awaits_settings_ack() && !server.awaits_settings_ack());
    (client, server)
}

/// Sends a head from the static table.
pub fn send_head(connection: &mut Connection, stream: Key, end: bool) {
    connection.send_headers(stream, end, |encoder, out| {
        encoder.field(b":status", b"200", Indexing::Indexed, out);
    });
}

/// Opens a stream of a client with a request from the static table.
pub fn request(client: &mut Connection, tag: u32, end: bool) -> Key {
    let stream = client.open(tag).unwrap();
    client.send_headers(stream, end, |encoder, out| {
        encoder.field(b":method", b"GET", Indexing::Indexed, out);
        encoder.field(b":scheme", b"http", Indexing::Indexed, out);
        encoder.field(b":path", b"/", Indexing::Indexed, out);
    });
    stream
}

/// Opens a stream of a server by hand.
pub fn opened(server: &mut Connection, id: u32, end: bool) -> Key {
    match &feed(server, &headers(id, end, GET)).unwrap()[..] {
        [Seen::Headers { stream, opened: true, .. }] => *stream,
        other => panic!("{other:?}"),
    }
}
