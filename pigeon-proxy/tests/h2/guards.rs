//! Each guard ends the attack it is for, and lets honest traffic of the same frames pass.

use pigeon_proxy::h2::error::*;
use pigeon_proxy::h2::frame::{flag, kind};
use pigeon_proxy::h2::{Connection, Role};

use super::support::*;

/// Repeats a step up to `count` times, with the output taken each time. The code that ended it, and after how many.
fn repeat(
    connection: &mut Connection,
    count: u32,
    every_ms: u64,
    mut step: impl FnMut(&mut Connection, u32) -> Vec<u8>,
) -> Option<(u32, u32)> {
    for i in 0..count {
        let bytes = step(connection, i);
        if let Err(error) = feed_at(connection, &bytes, u64::from(i) * every_ms) {
            return Some((error.code, i));
        }
        sent(connection);
    }
    None
}

fn calm(result: Option<(u32, u32)>) -> u32 {
    let (code, after) = result.expect("the attack goes on");
    assert_eq!(code, ENHANCE_YOUR_CALM);
    after
}

fn id(i: u32) -> u32 {
    2 * i + 1
}

#[test]
fn rapid_reset() {
    let attack =
        |_: &mut Connection, i| [headers(id(i), true, GET), rst_stream(id(i), CANCEL)].concat();
    assert_eq!(calm(repeat(&mut server(&config(Role::Server)), 5000, 0, attack)), 1000);
    // A client that gives up 90 requests a second.
    assert_eq!(repeat(&mut server(&config(Role::Server)), 5000, 11, attack), None);
    // A client that gives up one of two requests, at any rate.
    let honest = |server: &mut Connection, i: u32| {
        if i.is_multiple_of(2) {
            return attack(server, i);
        }
        let stream = opened(server, id(i), true);
        send_head(server, stream, true);
        Vec::new()
    };
    assert_eq!(repeat(&mut server(&config(Role::Server)), 20_000, 0, honest), None);
    // Resets after the response began are a client's right: it has read enough.
    let late = |server: &mut Connection, i| {
        let stream = opened(server, id(i), true);
        send_head(server, stream, false);
        rst_stream(id(i), CANCEL)
    };
    assert_eq!(repeat(&mut server(&config(Role::Server)), 20_000, 0, late), None);
}

#[test]
fn broken_streams_are_resets_too() {
    let own = |_: &mut Connection, i| [headers(id(i), true, GET), window_update(id(i), 0)].concat();
    assert!(calm(repeat(&mut server(&config(Role::Server)), 5000, 0, own)) <= 1000);
    // Malformed requests, which the caller resets: counted when the next one comes.
    let mut victim = server(&config(Role::Server));
    for i in 0..1001 {
        let stream = opened(&mut victim, id(i), true);
        victim.reset(stream, PROTOCOL_ERROR);
        sent(&mut victim);
    }
    let error = feed(&mut victim, &headers(id(1001), true, GET)).unwrap_err();
    assert_eq!(error.code, ENHANCE_YOUR_CALM);
}

#[test]
fn refusals() {
    let full = pigeon_proxy::h2::Config { max_concurrent_streams: 1, ..config(Role::Server) };
    let attack = |_: &mut Connection, i| headers(id(i), true, GET);
    assert_eq!(calm(repeat(&mut server(&full), 5000, 0, attack)), 1001);
    // A client that did not know the limit yet.
    assert_eq!(repeat(&mut server(&full), 900, 0, attack), None);
    let closed = |server: &mut Connection, i: u32| {
        let stream = opened(server, id(i), true);
        send_head(server, stream, true);
        data(id(i), true, b"x")
    };
    assert_eq!(repeat(&mut server(&full), 5000, 0, closed), None, "each was an answered request");
}

#[test]
fn pings() {
    let ping = |_: &mut Connection, _| raw(kind::PING, 0, 0, &[0; 8]);
    assert_eq!(calm(repeat(&mut server(&config(Role::Server)), 5000, 0, ping)), 1000);
    // Keepalive of 50 a second, and a probe for each DATA frame that came.
    assert_eq!(repeat(&mut server(&config(Role::Server)), 5000, 20, ping), None);
    let mut server = server(&config(Role::Server));
    let stream = opened(&mut server, 1, true);
    send_head(&mut server, stream, false);
    let probe = |server: &mut Connection, i| {
        assert_eq!(server.send_data(stream, b"x", false, 100), 1);
        ping(server, i)
    };
    assert_eq!(repeat(&mut server, 20_000, 0, probe), None);
}

#[test]
fn settings_floods() {
    let flood = |_: &mut Connection, _| settings(&[]);
    assert!(calm(repeat(&mut server(&config(Role::Server)), 500, 0, flood)) <= 100);
    assert_eq!(repeat(&mut server(&config(Role::Server)), 5000, 110, flood), None);
}

#[test]
fn noise() {
    let priority = |_: &mut Connection, _| raw(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 9]);
    let unknown = |_: &mut Connection, _| raw(0xbb, 0, 0, b"x");
    assert_eq!(calm(repeat(&mut server(&config(Role::Server)), 50_000, 0, priority)), 10_000);
    assert_eq!(calm(repeat(&mut server(&config(Role::Server)), 50_000, 0, unknown)), 10_000);
    let mut victim = server(&config(Role::Server));
    opened(&mut victim, 1, false);
    let again = |_: &mut Connection, _| rst_stream(1, CANCEL);
    assert_eq!(calm(repeat(&mut victim, 50_000, 0, again)), 10_001);
    // A browser: a PRIORITY with each request.
    let honest = |server: &mut Connection, i: u32| {
        let stream = opened(server, id(i), true);
        send_head(server, stream, true);
        priority(server, i)
    };
    assert_eq!(repeat(&mut server(&config(Role::Server)), 30_000, 0, honest), None);
}

#[test]
fn small_window_updates() {
    let tiny = |_: &mut Connection, _| window_update(0, 1);
    assert_eq!(calm(repeat(&mut server(&config(Role::Server)), 5000, 0, tiny)), 1000);
    // A reader that credits each small message twice, for the stream and for the connection.
    let mut server = server(&config(Role::Server));
    let stream = opened(&mut server, 1, true);
    send_head(&mut server, stream, false);
    let reader = |server: &mut Connection, _| {
        assert_eq!(server.send_data(stream, &[0; 20], false, 100), 20);
        [window_update(1, 20), window_update(0, 20)].concat()
    };
    assert_eq!(repeat(&mut server, 20_000, 0, reader), None);
}

#[test]
fn empty_data() {
    let mut victim = server(&config(Role::Server));
    opened(&mut victim, 1, false);
    assert_eq!(calm(repeat(&mut victim, 5000, 0, |_, _| data(1, false, b""))), 1000);
    let mut victim = server(&config(Role::Server));
    opened(&mut victim, 1, false);
    assert_eq!(calm(repeat(&mut victim, 5000, 0, |_, _| padded(1, false, b"", 200))), 1000);
    // A peer that begins each body with an empty frame.
    let honest = |server: &mut Connection, i: u32| {
        let stream = opened(server, id(i), false);
        send_head(server, stream, true);
        [data(id(i), false, b""), data(id(i), true, b"x")].concat()
    };
    assert_eq!(repeat(&mut server(&config(Role::Server)), 20_000, 0, honest), None);
}

#[test]
fn continuations() {
    let begin = raw(kind::HEADERS, 0, 1, GET);
    let endless = |bytes: &'static [u8]| {
        let mut server = server(&config(Role::Server));
        feed(&mut server, &begin).unwrap();
        calm(repeat(&mut server, 5000, 0, |_, _| raw(kind::CONTINUATION, 0, 1, bytes)))
    };
    assert_eq!(endless(b""), 4);
    assert_eq!(endless(b"\0"), 64);
    assert_eq!(endless(&[0; 16_384]), 1, "twice the header list");
    let mut server = server(&config(Role::Server));
    feed(&mut server, &begin).unwrap();
    assert_eq!(
        repeat(&mut server, 60, 0, |_, _| raw(kind::CONTINUATION, 0, 1, &[0x0f; 100])),
        None
    );
}

#[test]
fn one_large_block() {
    let small = pigeon_proxy::h2::Config { max_header_list: 1024, ..config(Role::Server) };
    let error = feed(&mut server(&small), &headers(1, true, &[0x82; 2050])).unwrap_err();
    assert_eq!(error.code, ENHANCE_YOUR_CALM);
    assert!(feed(&mut server(&small), &headers(1, true, &[0x82; 2048])).is_ok());
}

#[test]
fn replies_that_are_not_read() {
    let mut victim = server(&config(Role::Server));
    let stream = opened(&mut victim, 1, true);
    send_head(&mut victim, stream, false);
    let ping = raw(kind::PING, 0, 0, &[0; 8]);
    let mut result = Ok(vec![]);
    let mut now = 0;
    while result.is_ok() {
        now += 20;
        result = feed_at(&mut victim, &ping, now);
        assert!(victim.out().len() < (1 << 20) + 1000, "output is bounded");
    }
    assert_eq!(result.unwrap_err().reason, "the peer does not read our replies");
    // Who reads, if slowly, is served.
    let mut served = server(&config(Role::Server));
    for i in 0..200_000 {
        assert!(feed_at(&mut served, &ping, i * 20).is_ok());
        served.out().consume(17);
    }
    let end = raw(kind::PING, flag::ACK, 0, &[0; 8]);
    assert!(feed_at(&mut served, &end, 0).is_ok());
}
