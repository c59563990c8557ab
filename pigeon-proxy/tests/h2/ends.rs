//! Our server as an echo and our client as its user, each on a pipe.

use std::collections::HashMap;
use std::ops::Range;

use fastrand::Rng;
use pigeon_proxy::h2::{Config, Connection, Event, Fields, Indexing, Key, head};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// A request, and what is expected of an echo.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How the body is cut when it is sent.
    pub pieces: Vec<Range<usize>>,
    pub trailers: Vec<(String, String)>,
    /// The client gives up after the head.
    pub reset: bool,
}

fn random_fields(rng: &mut Rng, most: usize) -> Vec<(String, String)> {
    let field = |i: usize, rng: &mut Rng| {
        let length = [3, 30, 3000][rng.usize(..3)];
        let value = (0..rng.usize(..length)).map(|_| rng.char('!'..='~')).collect();
        (format!("x-{}{i}", rng.u8(..5)), value)
    };
    (0..rng.usize(..most)).map(|i| field(i, rng)).collect()
}

impl Exchange {
    /// A request with a body of at most `longest` bytes.
    pub fn random(rng: &mut Rng, longest: usize) -> Self {
        let length = [0, 1, 100, 20_000, 200_000][rng.usize(..5)].min(longest);
        let body: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < length {
            let end = (at + rng.usize(1..=length)).min(length);
            pieces.push(at..end);
            at = end;
        }
        let trailers = random_fields(rng, 3);
        Self { fields: random_fields(rng, 5), body, pieces, trailers, reset: rng.u8(..8) == 0 }
    }
}

/// What one of our streams still has to send, and what came on it.
#[derive(Default)]
struct State {
    exchange: Exchange,
    came: Vec<u8>,
    trailers: Vec<(String, String)>,
    fields: Option<Vec<(String, String)>>,
    sent: usize,
    /// Nothing is added to `exchange` any more.
    whole: bool,
    head_sent: bool,
    /// Of the receiving side: bytes to give back.
    owed: u32,
}

/// One of our connections on a pipe.
struct End {
    connection: Connection,
    streams: HashMap<u32, (Key, State)>,
    rng: Rng,
}

fn pairs(fields: &Fields) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let regular = fields.iter().filter(|field| !field.0.starts_with(b":"));
    regular.map(|(name, value, _)| (text(name), text(value))).collect()
}

impl End {
    fn new(config: &Config, rng: Rng) -> Self {
        Self { connection: Connection::new(config), streams: HashMap::new(), rng }
    }

    /// Writes what is queued and reads what comes. False: the peer closed.
    async fn turn(&mut self, io: &mut DuplexStream, input: &mut Vec<u8>) -> bool {
        let mut buffer = vec![0; 1 + self.rng.usize(..40_000)];
        let kept = self.connection.kept().len();
        buffer.resize(buffer.len() + kept, 0);
        let kept = self.connection.take_kept_into(&mut buffer);
        let busy = self.has_more();
        let (mut reader, mut writer) = tokio::io::split(io);
        let unsent = self.connection.out().unsent().to_vec();
        let mut wrote = 0;
        let mut count = None;
        tokio::select! {
            read = reader.read(&mut buffer[kept..]) => count = Some(read.unwrap_or(0)),
            write = writer.write(&unsent), if !unsent.is_empty() => wrote = write.unwrap_or(unsent.len()),
            () = tokio::task::yield_now(), if busy => {}
        }
        self.connection.out().consume(wrote);
        buffer.truncate(kept + count.unwrap_or(0));
        *input = buffer;
        count != Some(0)
    }

    /// Whether something can be done without the peer: what is done in a turn is left to chance.
    fn has_more(&self) -> bool {
        self.streams.values().any(|(key, state)| {
            let sends =
                state.sent < state.exchange.body.len() && self.connection.can_send(*key) > 0;
            sends || state.owed > 0
        })
    }

    fn send_fields(
        &mut self,
        key: Key,
        end: bool,
        pseudo: &[(&str, &str)],
        fields: &[(String, String)],
    ) {
        let rng = &mut self.rng;
        self.connection.send_headers(key, end, |encoder, out| {
            let own = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            for (name, value) in pseudo.iter().copied().chain(own) {
                let kinds =
                    [Indexing::Indexed, Indexing::Incremental, Indexing::Plain, Indexing::Never];
                encoder.field(name.as_bytes(), value.as_bytes(), kinds[rng.usize(..4)], out);
            }
        });
    }

    /// Sends what a stream has to send, as far as it goes.
    fn push(&mut self, id: u32, pseudo: &[(&str, &str)]) {
        let Some((key, mut state)) = self.streams.remove(&id) else { return };
        let nothing =
            state.whole && state.exchange.body.is_empty() && state.exchange.trailers.is_empty();
        if !state.head_sent {
            state.head_sent = true;
            self.send_fields(key, nothing, pseudo, &state.exchange.fields);
        } else if nothing && state.sent == 0 {
            self.connection.send_data(key, &[], true, 0);
        }
        let rest = &state.exchange.body[state.sent..];
        let end = state.whole && state.exchange.trailers.is_empty();
        if !rest.is_empty() || (end && !nothing) {
            let room = self.rng.usize(..100_000);
            let offered = rest.len().min(self.rng.usize(1..100_000));
            let end = end && offered == rest.len();
            state.sent += self.connection.send_data(key, &rest[..offered], end, room);
        }
        if state.whole
            && !state.exchange.trailers.is_empty()
            && state.sent == state.exchange.body.len()
        {
            self.send_fields(key, true, &[], &state.exchange.trailers);
        }
        if self.rng.bool() && state.owed > 0 {
            self.connection.release(key, std::mem::take(&mut state.owed), self.rng.bool());
        }
        self.streams.insert(id, (key, state));
    }
}

/// Serves an echo until the peer closes. Returns how many streams are left.
pub async fn serve_ours(mut io: DuplexStream, config: &Config, rng: Rng) -> usize {
    let mut end = End::new(config, rng);
    let mut input = Vec::new();
    while end.turn(&mut io, &mut input).await {
        let mut rest = &input[..];
        while let Some(event) = end.connection.next(&mut rest, 0).unwrap() {
            match event {
                Event::Headers { stream, opened, end: last, block } => {
                    let mut fields = Fields::new();
                    end.connection.decode(&block, &mut fields).unwrap();
                    let (_, state) =
                        end.streams.entry(stream.id()).or_insert((stream, State::default()));
                    if opened {
                        head::check_request(&fields).unwrap();
                        state.exchange.fields = pairs(&fields);
                    } else {
                        head::check_trailers(&fields).unwrap();
                        state.exchange.trailers = pairs(&fields);
                    }
                    state.whole = last;
                }
                Event::Data { stream, bytes, end: last, flow } => {
                    let (_, state) = end.streams.get_mut(&stream.id()).unwrap();
                    state.exchange.body.extend_from_slice(bytes);
                    state.whole = last;
                    state.owed += flow;
                }
                Event::Reset { stream, local, .. } => {
                    assert!(!local);
                    let (key, state) = end.streams.remove(&stream.id()).unwrap();
                    end.connection.release(key, state.owed, false);
                }
                Event::GoAway { code, .. } => assert_eq!(code, 0),
                _ => {}
            }
        }
        end.connection.keep(rest);
        for id in end.streams.keys().copied().collect::<Vec<_>>() {
            end.push(id, &[(":status", "200")]);
        }
        let connection = &mut end.connection;
        end.streams.retain(|_, (key, state)| connection.is_open(*key) || state.owed > 0);
    }
    end.connection.streams()
}

const REQUEST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "http"), (":path", "/echo"), (":authority", "a")];

/// Makes all exchanges, as many at a time as the server allows, and checks the answers. Returns the streams left.
pub async fn ask_ours(
    mut io: DuplexStream,
    config: &Config,
    mut exchanges: Vec<Exchange>,
    rng: Rng,
) -> usize {
    let mut end = End::new(config, rng);
    let mut input = Vec::new();
    loop {
        // Before the server's SETTINGS came a stream may be one too many, and trailers of a stream it refused end an
        // `h2` server's connection.
        let ready = end.connection.preface_done();
        while let Some(key) =
            (ready && !exchanges.is_empty()).then(|| end.connection.open(0)).flatten()
        {
            let exchange = exchanges.pop().unwrap();
            let reset = exchange.reset;
            end.streams
                .insert(key.id(), (key, State { exchange, whole: true, ..State::default() }));
            end.push(key.id(), REQUEST);
            if reset {
                end.connection.reset(key, 8);
                end.streams.remove(&key.id());
            }
        }
        for id in end.streams.keys().copied().collect::<Vec<_>>() {
            end.push(id, REQUEST);
        }
        if exchanges.is_empty() && end.streams.is_empty() && end.connection.out().is_empty() {
            return end.connection.streams();
        }
        assert!(end.turn(&mut io, &mut input).await, "the server closed");
        let mut rest = &input[..];
        while let Some(event) = end.connection.next(&mut rest, 0).unwrap() {
            let Some(stream) = end.answer(event) else { continue };
            let (key, state) = end.streams.remove(&stream.id()).unwrap();
            end.connection.release(key, state.owed, false);
            assert_eq!(state.fields.as_ref(), Some(&state.exchange.fields));
            assert!(state.came == state.exchange.body, "the echo differs");
            assert_eq!(state.trailers, state.exchange.trailers);
        }
        end.connection.keep(rest);
    }
}

impl End {
    /// Takes an event of a client. The stream that is answered by it.
    fn answer(&mut self, event: Event<'_>) -> Option<Key> {
        match event {
            Event::Headers { stream, end, block, .. } => {
                let mut fields = Fields::new();
                self.connection.decode(&block, &mut fields).unwrap();
                let (_, state) = self.streams.get_mut(&stream.id()).unwrap();
                if state.fields.is_none() {
                    assert_eq!(head::check_response(&fields), Ok(200));
                    state.fields = Some(pairs(&fields));
                } else {
                    state.trailers = pairs(&fields);
                }
                end.then_some(stream)
            }
            Event::Data { stream, bytes, end, flow } => {
                let (_, state) = self.streams.get_mut(&stream.id()).unwrap();
                state.came.extend_from_slice(bytes);
                state.owed += flow;
                end.then_some(stream)
            }
            Event::Reset { .. } => panic!("{event:?}"),
            _ => None,
        }
    }
}
