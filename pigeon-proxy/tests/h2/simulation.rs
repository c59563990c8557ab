//! Our client and our server on two wires, driven by a seeded operator: thousands of steps of sending, taking,
//! resetting and pinging in any order, each direction delivered in pieces of any size.
//!
//! After each step nobody has broken a rule (a window that went negative would be one), bodies and fields that came
//! are a prefix of those that were sent; at the end they are all, and no stream is left.

use std::collections::{HashMap, VecDeque};

use fastrand::Rng;
use pigeon_proxy::h2::{Config, Connection, Event, Fields, Indexing, Key, Role};

use super::support::{KIB, config};

/// What one side does on one stream.
#[derive(Default)]
struct Half {
    key: Option<Key>,
    /// Bytes of the body that are to be sent, and that are.
    planned: usize,
    sent: usize,
    trailers: bool,
    head_sent: bool,
    ended: bool,
    /// What came of the other side's body; whether all did.
    came: usize,
    complete: bool,
    owed: Vec<u32>,
    blocks: VecDeque<Fields>,
}

struct Side {
    role: Role,
    connection: Connection,
    wire: VecDeque<u8>,
    halves: HashMap<u32, Half>,
    /// Streams that were reset by either side.
    gone: Vec<u32>,
    /// Bytes that came with `flow` and are not released.
    pongs: usize,
    pings: usize,
}

/// A byte of a body: of which stream, which way, at which offset.
fn pattern(id: u32, role: Role, offset: usize) -> u8 {
    (id as usize * 31 + offset * 7 + (offset >> 9) + usize::from(role == Role::Client)) as u8
}

fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

fn random_fields(rng: &mut Rng) -> Fields {
    let mut fields = Fields::new();
    for _ in 0..rng.usize(1..8) {
        let name = ["a", "b", "grpc-status", "content-type", "x-long-name"][rng.usize(..5)];
        let length = [1, 5, 40, 700][rng.usize(..4)];
        let value = vec![b'a' + rng.u8(..4); length];
        let kinds = [Indexing::Indexed, Indexing::Incremental, Indexing::Plain, Indexing::Never];
        fields.push(name.as_bytes(), &value, kinds[rng.usize(..4)]);
    }
    fields
}

impl Side {
    fn new(role: Role, rng: &mut Rng) -> Self {
        let initial_window = [100, 500, 20_000, 65_535, 200_000][rng.usize(..5)];
        let connection = Connection::new(&Config {
            max_concurrent_streams: if role == Role::Server { 30 } else { 0 },
            initial_window,
            stream_window: initial_window + rng.u32(..300_000),
            connection_window: rng.u32(65_535..300_000),
            connection_budget: rng.u32(..100_000),
            max_header_list: 64 * KIB,
            ..config(role)
        });
        let (wire, halves, gone) = (VecDeque::new(), HashMap::new(), Vec::new());
        Self { role, connection, wire, halves, gone, pongs: 0, pings: 0 }
    }

    fn plan(rng: &mut Rng, key: Key) -> Half {
        let planned = [0, 1, 3000, 20_000][rng.usize(..4)];
        Half { key: Some(key), planned, trailers: rng.bool(), ..Half::default() }
    }

    fn any(&self, rng: &mut Rng) -> Option<u32> {
        let mut ids: Vec<u32> = self.halves.keys().copied().collect();
        ids.sort_unstable();
        (!ids.is_empty()).then(|| ids[rng.usize(..ids.len())])
    }

    /// Sends a block. The other side's half learns what to expect.
    fn send_block(&mut self, to: &mut Side, id: u32, end: bool, rng: &mut Rng) {
        let fields = random_fields(rng);
        let half = self.halves.get_mut(&id).unwrap();
        self.connection.send_headers(half.key.unwrap(), end, |encoder, out| {
            fields
                .iter()
                .for_each(|(name, value, indexing)| encoder.field(name, value, indexing, out));
        });
        half.head_sent = true;
        half.ended |= end;
        // Of a stream the other side has reset, nothing will be looked at.
        if !to.gone.contains(&id) {
            to.halves.entry(id).or_default().blocks.push_back(fields);
        }
    }

    fn send(&mut self, to: &mut Side, id: u32, rng: &mut Rng) {
        let half = &self.halves[&id];
        let Some(key) = half.key.filter(|_| !half.ended) else { return };
        let (planned, sent) = (half.planned, half.sent);
        if !half.head_sent {
            return self.send_block(to, id, planned == 0 && !half.trailers, rng);
        }
        if sent == planned && half.trailers {
            return self.send_block(to, id, true, rng);
        }
        let count = if rng.bool() { planned - sent } else { rng.usize(..=planned - sent) };
        let end = sent + count == planned && !half.trailers;
        let body: Vec<u8> = (sent..sent + count).map(|i| pattern(id, self.role, i)).collect();
        let room = if rng.bool() { usize::MAX } else { rng.usize(..20_000) };
        let could = self.connection.can_send(key);
        let taken = self.connection.send_data(key, &body, end, room);
        assert!(taken <= could.min(count));
        let half = self.halves.get_mut(&id).unwrap();
        half.sent += taken;
        half.ended = end && taken == count;
    }

    fn reset(&mut self, id: u32) {
        let Some(half) = self.halves.get(&id) else { return };
        let Some(key) = half.key.filter(|&key| self.connection.is_open(key)) else { return };
        self.connection.reset(key, 8);
        self.forget(id);
    }

    fn forget(&mut self, id: u32) {
        self.gone.push(id);
        let Some(half) = self.halves.remove(&id) else { return };
        half.owed.iter().for_each(|&flow| self.connection.release(half.key.unwrap(), flow, true));
    }

    fn release(&mut self, id: u32, rng: &mut Rng) {
        let half = self.halves.get_mut(&id).unwrap();
        if half.owed.is_empty() {
            return;
        }
        let flow = half.owed.swap_remove(rng.usize(..half.owed.len()));
        self.connection.release(half.key.unwrap(), flow, rng.bool());
    }

    /// Takes bytes off the other side's wire.
    fn take(&mut self, from: &mut Side, count: usize, rng: &mut Rng) {
        let piece: Vec<u8> = from.wire.drain(..count.min(from.wire.len())).collect();
        let input = [self.connection.kept(), &piece].concat();
        let mut input = &input[..];
        while let Some(event) = self.connection.next(&mut input, 0).unwrap() {
            match event {
                Event::Headers { stream, opened, end, block } => {
                    let mut fields = Fields::new();
                    self.connection.decode(&block, &mut fields).unwrap();
                    let half = self.halves.get_mut(&stream.id()).unwrap();
                    let sent = half.blocks.pop_front().unwrap();
                    assert!(sent.iter().map(|f| (f.0, f.1)).eq(fields.iter().map(|f| (f.0, f.1))));
                    if opened {
                        let blocks = std::mem::take(&mut half.blocks);
                        *half = Half { blocks, ..Self::plan(rng, stream) };
                    }
                    half.complete = end;
                }
                Event::Data { stream, bytes, end, flow } => {
                    let role = other(self.role);
                    let half = self.halves.get_mut(&stream.id()).unwrap();
                    let right = bytes
                        .iter()
                        .enumerate()
                        .all(|(i, &byte)| byte == pattern(stream.id(), role, half.came + i));
                    assert!(right, "bodies arrive in order");
                    half.came += bytes.len();
                    half.complete = end;
                    half.owed.push(flow);
                }
                Event::Reset { stream, local, code, .. } => {
                    assert!(!local && code == 8, "nobody broke a rule");
                    self.forget(stream.id());
                }
                Event::Pong { .. } => self.pongs += 1,
                Event::GoAway { code, .. } => assert_eq!(code, 0),
                Event::Settings | Event::Writable { .. } | Event::WritableAll => {}
            }
        }
        self.connection.keep(input);
    }

    fn flush(&mut self) {
        let out = self.connection.out();
        // At times only a part is written.
        let count = if out.len() > 10_000 { out.len() - 5_000 } else { out.len() };
        self.wire.extend(&out.unsent()[..count]);
        out.consume(count);
    }
}

/// One step of the operator for `side`.
fn step(side: &mut Side, to: &mut Side, rng: &mut Rng) {
    let open = side.role == Role::Client && side.connection.preface_done();
    match (rng.u8(..32), side.any(rng)) {
        (0..4, _) if open => {
            if let Some(key) = side.connection.open(0) {
                side.halves.insert(key.id(), Side::plan(rng, key));
                side.send(to, key.id(), rng);
            }
        }
        (4..16, Some(id)) => side.send(to, id, rng),
        (16..22, Some(id)) => side.release(id, rng),
        (22, Some(id)) if rng.u8(..4) == 0 => side.reset(id),
        (23, _) => {
            side.connection.ping(rng.u64(..).to_be_bytes());
            side.pings += 1;
        }
        _ => {
            let count = [1, 9, 100, 5000, 100_000][rng.usize(..5)];
            side.take(to, count, rng);
        }
    }
    side.flush();
    assert!(side.connection.streams() <= 30);
    assert!(side.connection.iter_streams().count() == side.connection.streams());
}

/// Sends, takes and releases all that `side` can.
fn press_on(side: &mut Side, to: &mut Side, rng: &mut Rng) {
    for id in side.halves.keys().copied().collect::<Vec<_>>() {
        side.send(to, id, rng);
        side.release(id, rng);
    }
    side.take(to, usize::MAX, rng);
    side.flush();
}

/// Lets all that was begun end, without new streams.
fn settle(client: &mut Side, server: &mut Side, rng: &mut Rng) {
    for _ in 0..2_000_000 {
        let done = |side: &Side| {
            side.halves.values().all(|half| half.ended && half.complete && half.owed.is_empty())
                && side.wire.is_empty()
                && side.connection.kept().is_empty()
        };
        if done(client) && done(server) {
            return;
        }
        press_on(client, server, rng);
        press_on(server, client, rng);
    }
    panic!("it stands still");
}

fn simulate(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut client = Side::new(Role::Client, &mut rng);
    let mut server = Side::new(Role::Server, &mut rng);
    for _ in 0..4000 {
        match rng.bool() {
            true => step(&mut client, &mut server, &mut rng),
            false => step(&mut server, &mut client, &mut rng),
        }
    }
    if rng.bool() {
        server.connection.shutdown();
    }
    settle(&mut client, &mut server, &mut rng);
    assert_eq!((client.connection.streams(), server.connection.streams()), (0, 0));
    assert_eq!((client.pings, server.pings), (client.pongs, server.pongs));
    for (id, half) in &client.halves {
        let Some(far) = server.halves.get(id) else { continue };
        assert_eq!(
            (half.sent, half.came),
            (far.came, far.sent),
            "stream {id}: bytes in = bytes out"
        );
        assert_eq!((half.sent, far.sent), (half.planned, far.planned));
        assert!(half.blocks.is_empty() && far.blocks.is_empty());
    }
    assert!(client.halves.len() > 20, "the run had streams that ended properly");
}

/// Many seeds; one alone with `SEED=`.
#[test]
fn our_client_and_our_server() {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => simulate(seed),
        None => (0..8).for_each(|seed| {
            println!("seed {seed}");
            simulate(seed);
        }),
    }
}
