//! A client and a server of ours, each with its own operator, and a wire that can also carry bytes of an attacker.
//!
//! As long as only the operators speak, neither side may end the connection, every byte of a body arrives once and
//! in order, and both agree on the fields. Once the attacker has spoken only the bounds hold: no panic, few
//! streams, bounded output, whole frames.
#![no_main]

mod source;

use std::collections::{HashMap, VecDeque};

use libfuzzer_sys::fuzz_target;
use source::h2::{Config, Connection, DecodeError, Event, Fields, Indexing, Key, Role, frame};

struct End {
    connection: Connection,
    /// What the other end has yet to read, oldest first.
    wire: VecDeque<u8>,
    /// Of each stream by id: what was sent and what came, in bytes of bodies.
    sent: HashMap<u32, u64>,
    came: HashMap<u32, u64>,
    /// Fields sent, of each block in order. The first field is the block's place here.
    heads: Vec<Fields>,
    keys: Vec<Key>,
    unreleased: Vec<(Key, u32)>,
    now: u64,
    over: bool,
}

impl End {
    fn new(role: Role, seed: u8) -> Self {
        let config = Config {
            role,
            max_concurrent_streams: if role == Role::Server { 1 + u32::from(seed % 8) } else { 0 },
            initial_window: [0, 1, 1000, 65_535, 100_000][seed as usize % 5].max(1),
            stream_window: 200_000,
            connection_window: 65_535 + u32::from(seed) * 100,
            connection_budget: u32::from(seed) * 50,
            max_header_list: 2048,
        };
        Self {
            connection: Connection::new(&config),
            wire: VecDeque::new(),
            sent: HashMap::new(),
            came: HashMap::new(),
            heads: Vec::new(),
            keys: Vec::new(),
            unreleased: Vec::new(),
            now: 0,
            over: false,
        }
    }

    fn key(&self, at: u8) -> Option<Key> {
        self.keys.get(at as usize % self.keys.len().max(1)).copied()
    }

    fn send_head(&mut self, key: Key, end: bool, shape: u8) {
        let mut fields = Fields::new();
        fields.push(b"place", &(self.heads.len() as u32).to_be_bytes(), Indexing::Plain);
        for i in 0..1 + shape % 5 {
            let indexing =
                [Indexing::Indexed, Indexing::Incremental, Indexing::Plain, Indexing::Never];
            let value = vec![b'a' + shape % 7; (shape as usize * 13) % 300];
            fields.push(&[b'n', b'a' + i], &value, indexing[(shape as usize + i as usize) % 4]);
        }
        let mut written = false;
        self.connection.send_headers(key, end, |encoder, out| {
            written = true;
            fields
                .iter()
                .for_each(|(name, value, indexing)| encoder.field(name, value, indexing, out));
        });
        if written {
            self.heads.push(fields);
        }
    }

    /// One call of the API.
    fn operate(&mut self, role: Role, operation: u8, argument: u8) {
        let end = argument & 0x80 != 0;
        match operation {
            0 | 1 if role == Role::Client => {
                if let Some(key) = self.connection.open(u32::from(argument)) {
                    self.keys.push(key);
                    self.send_head(key, end, argument);
                }
            }
            2 => {
                if let Some(key) = self.key(argument) {
                    self.send_head(key, true, argument.rotate_left(3));
                }
            }
            3..=5 => {
                let Some(key) = self.key(argument) else { return };
                let offset = self.sent.entry(key.id()).or_default();
                let count = usize::from(argument) * [1, 4, 20][usize::from(operation - 3)];
                let body: Vec<u8> =
                    (0..count as u64).map(|i| pattern(key.id(), *offset + i)).collect();
                let could = self.connection.can_send(key);
                let taken = self.connection.send_data(key, &body, end, usize::from(argument) * 200);
                assert!(taken <= could.min(count));
                *offset += taken as u64;
            }
            6 => {
                if let Some(key) = self.key(argument) {
                    self.connection.reset(key, u32::from(argument % 14));
                    assert!(!self.connection.is_open(key));
                }
            }
            7..=9 => {
                if !self.unreleased.is_empty() {
                    let at = usize::from(argument) % self.unreleased.len();
                    let (key, flow) = self.unreleased.swap_remove(at);
                    self.connection.release(key, flow, end);
                }
            }
            10 => self.connection.ping([argument; 8]),
            11 if argument == 0xff => self.connection.shutdown(),
            12 => self.now += u64::from(argument) * 10,
            _ => {}
        }
        let out = self.connection.out();
        self.wire.extend(out.unsent());
        let count = out.len();
        out.consume(count);
    }

    /// Takes bytes of the wire. `honest`: they are those of the other operator.
    fn take(&mut self, input: &[u8], other: &[Fields], honest: bool) {
        let input = [self.connection.kept(), input].concat();
        let mut input = &input[..];
        let mut fields = Fields::new();
        while !self.over {
            let event = match self.connection.next(&mut input, self.now) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    assert!(!honest || error.code == 11, "{error}");
                    self.over = true;
                    break;
                }
            };
            match event {
                Event::Headers { stream, opened, block, .. } => {
                    fields.clear();
                    match self.connection.decode(&block, &mut fields) {
                        Ok(()) if honest => assert!(same(&fields, &other[place(&fields)])),
                        Err(DecodeError::Malformed(reason)) => {
                            assert!(!honest);
                            self.connection.fail(9, reason);
                        }
                        Ok(()) | Err(DecodeError::TooLarge) => {}
                    }
                    if opened {
                        self.keys.push(stream);
                    }
                }
                Event::Data { stream, bytes, flow, .. } => {
                    let came = self.came.entry(stream.id()).or_default();
                    if honest {
                        let right =
                            bytes.iter().zip(*came..).all(|(&b, i)| b == pattern(stream.id(), i));
                        assert!(right, "bodies arrive in order");
                    }
                    *came += bytes.len() as u64;
                    self.unreleased.push((stream, flow));
                }
                Event::Reset { stream, local, .. } => {
                    assert!(!honest || !local, "nobody broke a rule");
                    assert!(!self.connection.is_open(stream));
                }
                _ => {}
            }
        }
        self.connection.keep(input);
        assert_eq!(self.connection.iter_streams().count(), self.connection.streams());
    }
}

fn same(one: &Fields, other: &Fields) -> bool {
    one.iter().map(|f| (f.0, f.1)).eq(other.iter().map(|f| (f.0, f.1)))
}

fn place(fields: &Fields) -> usize {
    u32::from_be_bytes(fields.get(b"place").unwrap().try_into().unwrap()) as usize
}

fn pattern(id: u32, offset: u64) -> u8 {
    (u64::from(id) * 31 + offset * 7 + (offset >> 8)) as u8
}

fuzz_target!(|data: &[u8]| {
    let Some((&[first, second], mut data)) = data.split_first_chunk() else { return };
    let (mut client, mut server) = (End::new(Role::Client, first), End::new(Role::Server, second));
    // Whether the other operator alone wrote what this one reads.
    let (mut client_honest, mut server_honest) = (true, true);
    while let Some((&[operation, argument], rest)) = data.split_first_chunk() {
        data = rest;
        match operation >> 4 {
            0..=3 => client.operate(Role::Client, operation & 15, argument),
            4..=7 => server.operate(Role::Server, operation & 15, argument),
            8..=11 | 12..=14 => {
                let to_server = operation & 1 == 0;
                let (from, to, honest) = match to_server {
                    true => (&mut client, &mut server, server_honest),
                    false => (&mut server, &mut client, client_honest),
                };
                let count = (usize::from(argument) << (operation >> 1 & 7)).min(from.wire.len());
                let piece: Vec<u8> = from.wire.drain(..count).collect();
                to.take(&piece, &from.heads, honest);
            }
            _ => {
                // The attacker puts a few bytes in the place of the next ones: what is not honest any more goes both
                // ways, for each side answers what it read.
                let count = usize::from(argument % 32).min(data.len());
                let (bytes, rest) = data.split_at(count);
                data = rest;
                (client_honest, server_honest) = (false, false);
                match operation & 1 {
                    0 => server.take(bytes, &[], false),
                    _ => client.take(bytes, &[], false),
                }
            }
        }
        // Nothing is on its way: the time to give memory back.
        if operation == 0x4f && client.wire.is_empty() && server.wire.is_empty() {
            client.connection.trim();
            server.connection.trim();
        }
        // A client may have as many as the server, or the attacker in its place, allows.
        assert!(server.connection.streams() <= 8, "as many as it allows");
    }
    check_frames(&mut client);
    check_frames(&mut server);
});

/// What an end has yet to send is whole frames.
fn check_frames(end: &mut End) {
    let sent = end.connection.out().unsent();
    let mut rest = sent.strip_prefix(frame::PREFACE).unwrap_or(sent);
    while let Some(_frame) = frame::take(&mut rest).unwrap() {}
    assert!(rest.is_empty());
}
