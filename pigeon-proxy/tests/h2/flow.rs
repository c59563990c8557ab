//! Flow control against a naive reference: a peer that counts with wide integers and believes what it is told.

use std::collections::HashMap;

use pigeon_proxy::h2::error::FLOW_CONTROL_ERROR;
use pigeon_proxy::h2::flow::{ConnectionWindow, StreamWindow};
use pigeon_proxy::h2::frame::{HEADER, MAX_PAYLOAD, flag, kind};
use pigeon_proxy::h2::{Config, Connection, Key, Role};
use proptest::prelude::*;

use super::support::*;

/// What the peer of a receiving connection knows: the windows it was given.
struct Peer {
    connection: i64,
    streams: HashMap<u32, i64>,
}

impl Peer {
    fn listen(&mut self, connection: &mut Connection) {
        for frame in sent(connection) {
            assert_eq!(frame.kind, kind::WINDOW_UPDATE, "{frame:?}");
            let increment = i64::from(frame.word());
            assert!(increment > 0);
            match frame.stream {
                0 => self.connection += increment,
                id => *self.streams.get_mut(&id).unwrap() += increment,
            }
        }
        assert!(self.streams.values().chain([&self.connection]).all(|w| *w < 1 << 31));
    }
}

/// What a receiving side does: DATA come (stream, bytes, padding), or the reader takes a part of what waits.
#[derive(Clone, Debug)]
enum Receive {
    Data(usize, usize, u8),
    Take(usize, u32, bool),
}

fn receiving() -> impl Strategy<Value = Vec<Receive>> {
    let sizes = prop_oneof![0usize..40, 0usize..16_000, Just(16_000)];
    let data = (0usize..4, sizes, any::<u8>()).prop_map(|(s, n, pad)| Receive::Data(s, n, pad));
    let take = (0usize..4, prop_oneof![Just(u32::MAX), 0u32..5000], any::<bool>())
        .prop_map(|(s, n, behind)| Receive::Take(s, n, behind));
    prop::collection::vec(prop_oneof![3 => data, 2 => take], 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// What the windows allow is never refused, whatever is padded and whenever it is taken; one byte more is; and
    /// when all is taken the peer can go on.
    #[test]
    fn receiving_keeps_to_what_was_told(
        ops in receiving(),
        initial in prop_oneof![Just(0u32), 1u32..2000, Just(65_535), 65_536u32..200_000],
        growth in 0u32..200_000,
        size in 65_535u32..200_000,
        budget in 0u32..200_000,
    ) {
        let mut server = server(&Config {
            initial_window: initial,
            stream_window: initial + growth,
            connection_window: size,
            connection_budget: budget,
            ..config(Role::Server)
        });
        let mut peer = Peer { connection: i64::from(size), streams: HashMap::new() };
        let keys: Vec<Key> = (0..4).map(|i| opened(&mut server, 2 * i + 1, false)).collect();
        peer.streams = keys.iter().map(|key| (key.id(), i64::from(initial))).collect();
        let mut waiting = [0u32; 4];
        for op in ops {
            match op {
                Receive::Data(s, count, padding) => {
                    let frame = if padding == 0 { data(keys[s].id(), false, &vec![1; count]) }
                        else { padded(keys[s].id(), false, &vec![1; count], padding) };
                    let flow = (frame.len() - HEADER) as i64;
                    let stream = peer.streams.get_mut(&keys[s].id()).unwrap();
                    if flow > *stream || flow > peer.connection {
                        continue;
                    }
                    *stream -= flow;
                    peer.connection -= flow;
                    match &feed(&mut server, &frame).unwrap()[..] {
                        [] => prop_assert_eq!(count, 0),
                        [Seen::Data { bytes, flow: told, .. }] => {
                            prop_assert_eq!((bytes.len(), i64::from(*told)), (count, flow));
                            waiting[s] += told;
                        }
                        other => panic!("{other:?}"),
                    }
                    prop_assert!(waiting.iter().sum::<u32>() <= size + budget, "memory is bounded");
                }
                Receive::Take(s, count, behind) => {
                    let count = count.min(waiting[s]);
                    waiting[s] -= count;
                    server.release(keys[s], count, behind);
                }
            }
            peer.listen(&mut server);
        }
        for (key, count) in keys.iter().zip(waiting) {
            server.release(*key, count, true);
        }
        peer.listen(&mut server);
        prop_assert!(peer.connection > i64::from(size / 2));
        for key in &keys {
            let window = peer.streams[&key.id()];
            prop_assert!(window * 2 >= i64::from(initial) && (window > 0 || initial == 0));
            prop_assert!(window <= i64::from(initial + growth));
        }
        let window = peer.streams[&1].min(peer.connection) as usize;
        let mut over = vec![data(1, false, &[0; MAX_PAYLOAD]); window / MAX_PAYLOAD].concat();
        over.extend(data(1, false, &vec![0; window % MAX_PAYLOAD + 1]));
        match feed(&mut server, &over) {
            Err(error) => prop_assert_eq!(error.code, FLOW_CONTROL_ERROR),
            Ok(events) => {
                // The connection's window may have been credited on the way.
                let reset = matches!(events.last(), Some(Seen::Reset { code: FLOW_CONTROL_ERROR, .. }));
                prop_assert!(reset || peer.connection <= window as i64);
            }
        }
    }
}

/// What a sending side does.
#[derive(Clone, Debug)]
enum Send {
    Data(usize, usize, usize),
    Stream(usize, u32),
    Connection(u32),
    Initial(u32),
}

fn sending() -> impl Strategy<Value = Vec<Send>> {
    let rooms = prop_oneof![Just(usize::MAX), 0usize..40, 0usize..50_000];
    prop::collection::vec(
        prop_oneof![
            4 => (0usize..3, 0usize..40_000, rooms).prop_map(|(s, n, room)| Send::Data(s, n, room)),
            2 => (0usize..3, 1024u32..30_000).prop_map(|(s, n)| Send::Stream(s, n)),
            2 => (1024u32..60_000).prop_map(Send::Connection),
            1 => (0u32..100_000).prop_map(Send::Initial),
        ],
        1..80,
    )
}

/// How much of `count` bytes fits in `room` with a header for each frame, found by trying.
fn fits(count: usize, room: usize) -> usize {
    let cost = |n: usize| n + n.div_ceil(MAX_PAYLOAD) * HEADER;
    (0..=count).rev().find(|&n| n == 0 || cost(n) <= room).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// What is taken is what a naive count allows, frame by frame; who was short is woken when it can go on.
    #[test]
    fn sending_keeps_to_what_was_told(ops in sending()) {
        let mut server = server(&config(Role::Server));
        let keys: Vec<Key> = (0..3).map(|i| opened(&mut server, 2 * i + 1, true)).collect();
        keys.iter().for_each(|&key| send_head(&mut server, key, false));
        sent(&mut server);
        let (mut connection, mut streams, mut initial) = (65_535i64, [65_535i64; 3], 65_535i64);
        let mut short = [false; 3];
        for (i, op) in ops.into_iter().enumerate() {
            let bytes = match op {
                Send::Data(s, count, room) => {
                    let allowed = connection.min(streams[s]).clamp(0, count as i64) as usize;
                    let expected = fits(allowed, room);
                    prop_assert_eq!(server.can_send(keys[s]), connection.min(streams[s]).max(0) as usize);
                    prop_assert_eq!(server.send_data(keys[s], &vec![7; count], false, room), expected);
                    let frames = sent(&mut server);
                    prop_assert_eq!(frames.iter().map(|f| f.payload.len()).sum::<usize>(), expected);
                    prop_assert!(frames.iter().all(|f| (1..=MAX_PAYLOAD).contains(&f.payload.len())));
                    connection -= expected as i64;
                    streams[s] -= expected as i64;
                    short[s] |= expected < count && expected == allowed;
                    continue;
                }
                Send::Stream(s, count) => {
                    streams[s] += i64::from(count);
                    window_update(keys[s].id(), count)
                }
                Send::Connection(count) => {
                    connection += i64::from(count);
                    window_update(0, count)
                }
                Send::Initial(size) => {
                    streams.iter_mut().for_each(|w| *w += i64::from(size) - initial);
                    initial = i64::from(size);
                    settings(&[(4, size)])
                }
            };
            let events = feed_at(&mut server, &bytes, i as u64 * 1000).unwrap();
            for s in 0..3 {
                let woken = events.contains(&Seen::Writable(keys[s])) || events.contains(&Seen::WritableAll);
                if woken {
                    short[s] = false;
                }
                prop_assert!(!short[s] || connection.min(streams[s]) <= 0, "stream {} sleeps", s);
            }
            sent(&mut server);
        }
    }
}

#[test]
fn windows_grow_while_the_reader_keeps_up() {
    let mut window = StreamWindow::new(1000);
    let mut told = 1000;
    for _ in 0..100 {
        assert!(window.receive(500));
        told += window.release(500, false, 4000) as i32 - 500;
        assert_eq!(window.window(), told);
    }
    assert!(told > 2000, "a grown window is told in halves of itself");
    let mut window = StreamWindow::new(1000);
    for _ in 0..100 {
        assert!(window.receive(500));
        let _ = window.release(500, true, 4000);
        assert!(window.window() <= 1000, "a slow reader's window stays");
    }
}

#[test]
fn slow_streams_do_not_stall_the_others() {
    let mut window = ConnectionWindow::new(100_000, 50_000);
    // One stream takes nothing: its bytes are credited as they come.
    for _ in 0..5 {
        assert!(window.receive(10_000));
        window.credit();
    }
    assert_eq!(window.state(), (100_000, 50_000));
    // Over the budget the window shrinks by what is over, and others go on in what is left.
    for _ in 0..9 {
        assert!(window.receive(10_000));
        window.credit();
    }
    assert_eq!(window.state(), (10_000, 140_000));
    for _ in 0..1000 {
        assert!(window.receive(6_000));
        window.release(6_000);
        window.credit();
    }
    assert!(window.receive(10_000) && !window.receive(1));
    assert_eq!(window.credit(), 0, "nothing is left for more");
    window.release(150_000);
    assert_eq!(window.credit(), 100_000);
}

#[test]
fn a_small_window_applies_when_it_is_acknowledged() {
    let config = Config { initial_window: 1000, stream_window: 1000, ..config(Role::Server) };
    let mut server = Connection::new(&config);
    feed(&mut server, &[pigeon_proxy::h2::frame::PREFACE, &settings(&[])].concat()).unwrap();
    let stream = opened(&mut server, 1, false);
    sent(&mut server);
    // The client does not know yet: it may send the default.
    feed(&mut server, &vec![data(1, false, &[0; 10_000]); 3].concat()).unwrap();
    server.release(stream, 30_000, false);
    assert!(sent(&mut server).is_empty());
    feed(&mut server, &settings_ack()).unwrap();
    // The client's window is now 1000 - 30,000; what was taken must be told, or it waits for ever.
    let [update] = &sent(&mut server)[..] else { panic!() };
    assert_eq!((update.stream, update.word()), (1, 30_000));
    assert_eq!(feed(&mut server, &data(1, false, &[0; 1000])).unwrap().len(), 1);
    let events = feed(&mut server, &data(1, false, &[0])).unwrap();
    assert!(matches!(events[..], [Seen::Reset { code: FLOW_CONTROL_ERROR, .. }]));
}

#[test]
fn an_end_without_bytes_needs_no_window_and_no_room() {
    let mut server = server(&config(Role::Server));
    let stream = opened(&mut server, 1, true);
    send_head(&mut server, stream, false);
    assert_eq!(server.send_data(stream, &[0; 70_000], false, usize::MAX), 65_535);
    sent(&mut server);
    assert_eq!(server.send_data(stream, &[], false, 0), 0);
    assert!(sent(&mut server).is_empty(), "an empty DATA frame says nothing");
    assert_eq!(server.send_data(stream, &[], true, 0), 0);
    let [end] = &sent(&mut server)[..] else { panic!() };
    assert_eq!((end.kind, end.flags, end.payload.len()), (kind::DATA, flag::END_STREAM, 0));
    assert_eq!(server.streams(), 0);
}
