//! The life of streams as a caller sees it: keys, tags, ends, limits, GOAWAY, shutdown.

use pigeon_proxy::h2::error::*;
use pigeon_proxy::h2::frame::{flag, kind};
use pigeon_proxy::h2::{Config, Connection, Role};

use pigeon_proxy::h2::flow::{SendWindow, StreamWindow};
use pigeon_proxy::h2::streams::Streams;
use proptest::prelude::*;

use super::support::*;

proptest! {
    /// The table finds what a `HashMap` would, by id and by key, in any order of coming and going.
    #[test]
    fn the_table_finds_what_is_open(ops in prop::collection::vec((0u32..200, any::<bool>()), 1..600)) {
        let mut streams = Streams::default();
        let mut naive = std::collections::HashMap::new();
        let mut left = Vec::new();
        for (i, (number, add)) in ops.into_iter().enumerate() {
            let id = 2 * number + 1;
            match (naive.get(&id).copied(), add) {
                (None, true) => {
                    let key = streams.insert(id, i as u32, SendWindow::new(0), StreamWindow::new(0));
                    naive.insert(id, (key, i as u32));
                }
                (Some((key, tag)), false) => {
                    naive.remove(&id);
                    prop_assert_eq!(streams.remove(key), Some(tag));
                    left.push(key);
                }
                (found, _) => prop_assert_eq!(streams.find(id), found.map(|(key, _)| key)),
            }
            prop_assert_eq!(streams.len(), naive.len());
        }
        for number in 0..200 {
            let found = naive.get(&(2 * number + 1)).map(|(key, _)| *key);
            prop_assert_eq!(streams.find(2 * number + 1), found);
        }
        for (key, stream) in streams.iter() {
            prop_assert_eq!(naive[&key.id()], (key, stream.tag));
        }
        prop_assert_eq!(streams.iter().count(), naive.len());
        let gone = |key| naive.values().all(|(open, _)| *open != key);
        prop_assert!(left.into_iter().filter(|&key| gone(key)).all(|key| streams.get(key).is_none()));
    }
}

#[test]
fn a_stream_leaves_when_both_sides_have_ended() {
    let mut server = server(&config(Role::Server));
    let stream = opened(&mut server, 1, false);
    server.set_tag(stream, 7);
    send_head(&mut server, stream, true);
    assert_eq!((server.streams(), server.tag(stream)), (1, Some(7)));
    let input = data(1, true, b"last");
    let mut input = &input[..];
    let event = Seen::from(server.next(&mut input, 0).unwrap().unwrap());
    assert!(matches!(event, Seen::Data { end: true, .. }), "{event:?}");
    // The tag is there as long as the caller handles the event.
    assert_eq!((server.streams(), server.tag(stream)), (0, Some(7)));
    assert!(!server.is_open(stream));
    assert_eq!(server.iter_streams().count(), 0);
    assert!(server.next(&mut input, 0).unwrap().is_none());
    assert_eq!(server.tag(stream), None);
}

#[test]
fn a_stale_key_does_nothing() {
    let mut server = server(&config(Role::Server));
    let old = opened(&mut server, 1, false);
    server.reset(old, CANCEL);
    let new = opened(&mut server, 3, false);
    sent(&mut server);
    server.set_tag(old, 9);
    server.reset(old, CANCEL);
    server.send_headers(old, true, |_, _| panic!("the encoder's table would change for nobody"));
    assert_eq!(server.send_data(old, b"x", true, 100), 0);
    assert_eq!(server.can_send(old), 0);
    server.release(old, 0, false);
    assert!(sent(&mut server).is_empty());
    assert_eq!((server.tag(new), server.tag(old)), (Some(0), None));
}

#[test]
fn nothing_is_sent_after_the_end() {
    let mut server = server(&config(Role::Server));
    let stream = opened(&mut server, 1, false);
    send_head(&mut server, stream, true);
    sent(&mut server);
    server.send_headers(stream, true, |_, _| panic!("the sending side has ended"));
    assert_eq!(server.send_data(stream, b"x", true, 100), 0);
    assert!(sent(&mut server).is_empty());
}

#[test]
fn a_client_resets_silently_what_the_server_has_not_seen() {
    let mut client = client(&config(Role::Client));
    let unseen = client.open(1).unwrap();
    client.reset(unseen, CANCEL);
    let next = request(&mut client, 2, true);
    assert_eq!(next.id(), 3);
    let kinds: Vec<_> = sent(&mut client).iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [kind::HEADERS]);
}

#[test]
fn what_comes_after_our_reset_is_swallowed_and_credited() {
    let config = Config { connection_window: 65_535, connection_budget: 0, ..config(Role::Client) };
    let mut client = client(&config);
    let stream = request(&mut client, 1, true);
    client.reset(stream, CANCEL);
    sent(&mut client);
    // A literal with indexing: the next block refers to it.
    let adds = [&[0x88, 0x40, 1][..], b"a", &[1], b"b"].concat();
    assert_eq!(feed(&mut client, &headers(1, false, &adds)), Ok(vec![]));
    for _ in 0..20 {
        assert_eq!(feed(&mut client, &data(1, false, &[0; 16_000])), Ok(vec![]));
        client.out();
    }
    assert_eq!(feed(&mut client, &data(1, true, b"")), Ok(vec![]));
    let kinds: Vec<_> = sent(&mut client).iter().map(|f| (f.kind, f.stream)).collect();
    assert!(kinds.iter().all(|sent| *sent == (kind::WINDOW_UPDATE, 0)), "{kinds:?}");
    request(&mut client, 2, true);
    let events = feed(&mut client, &headers(3, true, &[0x88, 0xbe])).unwrap();
    let [Seen::Headers { block, .. }] = &events[..] else { panic!("{events:?}") };
    let mut fields = pigeon_proxy::h2::Fields::new();
    client.decode(block, &mut fields).unwrap();
    assert_eq!(fields.get(b"a"), Some(&b"b"[..]));
}

#[test]
fn a_client_keeps_to_the_servers_limit() {
    let mut client = Connection::new(&config(Role::Client));
    let open = |client: &mut Connection| {
        (0..1000)
            .take_while(|_| client.can_open().then(|| request(client, 0, true)).is_some())
            .count()
    };
    assert_eq!(open(&mut client), 100, "before SETTINGS came");
    assert_eq!(client.open(0), None);
    feed(&mut client, &settings(&[(3, 120)])).unwrap();
    assert_eq!((client.peer_max_concurrent_streams(), open(&mut client)), (120, 20));
    feed(&mut client, &settings(&[(3, 0)])).unwrap();
    feed(&mut client, &headers(1, true, OK)).unwrap();
    assert!(!client.can_open());
    feed(&mut client, &settings(&[(3, 120)])).unwrap();
    assert_eq!(open(&mut client), 1);
    assert_eq!(Connection::new(&config(Role::Server)).open(0), None, "servers open nothing");
}

#[test]
fn goaway_stops_opening_and_only_goes_down() {
    let mut client = client(&config(Role::Client));
    let goaway = |last: u32| raw(kind::GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat());
    assert_eq!(feed(&mut client, &goaway(7)), Ok(vec![Seen::GoAway { last: 7, code: 0 }]));
    assert_eq!(feed(&mut client, &goaway(9)), Ok(vec![Seen::GoAway { last: 7, code: 0 }]));
    assert_eq!(feed(&mut client, &goaway(3)), Ok(vec![Seen::GoAway { last: 3, code: 0 }]));
    assert_eq!((client.peer_goaway(), client.open(1)), (Some(3), None));
}

#[test]
fn a_graceful_end_serves_what_was_on_its_way() {
    let mut server = server(&config(Role::Server));
    opened(&mut server, 1, false);
    server.shutdown();
    assert!(server.is_shutting_down());
    let [goaway, probe] = &sent(&mut server)[..] else { panic!() };
    assert_eq!((goaway.kind, goaway.word()), (kind::GOAWAY, (1 << 31) - 1));
    opened(&mut server, 3, false);
    assert_eq!(
        feed(&mut server, &raw(kind::PING, flag::ACK, 0, &[1; 8])),
        Ok(vec![Seen::Pong([1; 8])])
    );
    assert!(sent(&mut server).is_empty(), "another PING's answer tells nothing");
    assert_eq!(feed(&mut server, &raw(kind::PING, flag::ACK, 0, &probe.payload)), Ok(vec![]));
    let [goaway] = &sent(&mut server)[..] else { panic!() };
    assert_eq!((goaway.kind, goaway.word()), (kind::GOAWAY, 3));
    // Streams above are ignored in all they send; those below go on.
    let ignored = [headers(5, false, GET), data(5, false, b"x"), rst_stream(5, CANCEL)].concat();
    assert_eq!(feed(&mut server, &ignored), Ok(vec![]));
    assert_eq!((server.last_peer_stream(), server.streams()), (3, 2));
    assert_eq!(feed(&mut server, &data(3, true, b"x")).unwrap().len(), 1);
    assert!(sent(&mut server).is_empty());
}

#[test]
fn a_second_shutdown_does_not_wait() {
    let mut server = server(&config(Role::Server));
    opened(&mut server, 1, false);
    server.shutdown();
    server.shutdown();
    let lasts: Vec<_> =
        sent(&mut server).iter().filter(|f| f.kind == kind::GOAWAY).map(Sent::word).collect();
    assert_eq!(lasts, [(1 << 31) - 1, 1]);
}

#[test]
fn a_client_that_shuts_down_opens_nothing() {
    let mut client = client(&config(Role::Client));
    client.shutdown();
    assert!(!client.can_open());
    let [goaway] = &sent(&mut client)[..] else { panic!() };
    assert_eq!((goaway.kind, goaway.word()), (kind::GOAWAY, 0));
}

#[test]
fn input_may_be_cut_anywhere() {
    let block = [raw(kind::HEADERS, 0, 1, GET), raw(kind::CONTINUATION, flag::END_HEADERS, 1, &[])];
    let frames = [block.concat(), padded(1, false, b"body", 3), headers(1, true, &[])].concat();
    let hello = [pigeon_proxy::h2::frame::PREFACE, &settings(&[]), &frames].concat();
    let whole = feed(&mut Connection::new(&config(Role::Server)), &hello).unwrap();
    assert_eq!(whole.len(), 4);
    let mut server = Connection::new(&config(Role::Server));
    let mut events = Vec::new();
    let mut buffer = [0; 64];
    for byte in &hello {
        let kept = server.take_kept_into(&mut buffer);
        buffer[kept] = *byte;
        let mut input = &buffer[..=kept];
        while let Some(event) = server.next(&mut input, 0).unwrap() {
            events.push(Seen::from(event));
        }
        server.keep(input);
        assert_eq!(server.kept(), input);
    }
    assert_eq!(events, whole);
    assert!(server.kept().is_empty());
}

#[test]
fn it_says_where_it_stands() {
    let mut server = Connection::new(&config(Role::Server));
    assert!(!server.preface_done() && server.awaits_settings_ack());
    feed(&mut server, pigeon_proxy::h2::frame::PREFACE).unwrap();
    assert!(!server.preface_done());
    feed(&mut server, &settings(&[])).unwrap();
    assert!(server.preface_done());
    feed(&mut server, &settings_ack()).unwrap();
    assert!(!server.awaits_settings_ack());
    feed(&mut server, &raw(kind::HEADERS, 0, 1, GET)).unwrap();
    assert!(server.in_header_block());
    feed(&mut server, &raw(kind::CONTINUATION, flag::END_HEADERS, 1, &[])).unwrap();
    assert!(!server.in_header_block());
}

#[test]
fn long_blocks_are_continued() {
    let mut client = client(&Config { max_header_list: 256 * KIB, ..config(Role::Client) });
    let mut server = server(&Config { max_header_list: 256 * KIB, ..config(Role::Server) });
    for size in [16_384 - 7, 16_384 - 6, 32_768 - 7, 40_000, 100_000] {
        let stream = client.open(0).unwrap();
        client.send_headers(stream, true, |encoder, out| {
            encoder.field(b"x", &vec![b'y'; size], pigeon_proxy::h2::Indexing::Plain, out);
        });
        let bytes = client.out().unsent().to_vec();
        let frames = sent(&mut client);
        assert!(frames.iter().all(|frame| frame.payload.len() <= 16_384));
        assert!(frames.iter().rev().skip(1).all(|frame| frame.flags & flag::END_HEADERS == 0));
        let events = feed(&mut server, &bytes).unwrap();
        let [Seen::Headers { block, end: true, .. }] = &events[..] else { panic!() };
        let mut fields = pigeon_proxy::h2::Fields::new();
        server.decode(block, &mut fields).unwrap();
        assert_eq!(fields.get(b"x").unwrap().len(), size);
        server.reset(
            match events[0] {
                Seen::Headers { stream, .. } => stream,
                _ => panic!(),
            },
            0,
        );
        client.reset(stream, 0);
    }
}
