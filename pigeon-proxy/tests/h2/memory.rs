//! What a connection and a frame cost in memory: what is idle holds nothing, and frames allocate nothing.

// Counting needs an allocator of its own, and an allocator is unsafe.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use pigeon_proxy::h2::streams::Stream;
use pigeon_proxy::h2::{Connection, Event, Fields, Indexing, Key, Role};

use super::support::*;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is passed on to the system's allocator; the counters are plain thread-local numbers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        let _ = HELD.try_with(|held| held.set(held.get() + layout.size() as isize));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get() - layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What `run` returns, the allocations it made, and the bytes it left allocated.
fn counted<T>(run: impl FnOnce() -> T) -> (T, usize, isize) {
    let before = (ALLOCATIONS.get(), HELD.get());
    let result = run();
    (result, ALLOCATIONS.get() - before.0, HELD.get() - before.1)
}

#[test]
fn records_are_small() {
    assert!(size_of::<Connection>() <= 700, "{}", size_of::<Connection>());
    assert!(size_of::<Stream>() <= 80, "{}", size_of::<Stream>());
    assert_eq!(size_of::<Key>(), 8);
}

#[test]
fn an_idle_connection_holds_little() {
    let (mut idle, _, held) = counted(|| {
        let mut server = server(&config(Role::Server));
        server.out().swap_buffer(Vec::new());
        server
    });
    assert_eq!(held, 0, "before its first stream");
    let ((), _, held) = counted(|| {
        for i in 0..300 {
            opened(&mut idle, 2 * i + 1, false);
            if i >= 99 {
                let oldest = idle.iter_streams().next().unwrap().0;
                idle.reset(oldest, 0);
            }
        }
        for (key, _) in idle.iter_streams().collect::<Vec<_>>() {
            idle.reset(key, 0);
        }
        idle.out().consume(usize::MAX);
        idle.out().swap_buffer(Vec::new());
    });
    assert!(held <= 4096, "after many streams: {held}");
    let ((), _, freed) = counted(|| idle.trim());
    assert!(held + freed <= 256, "after trim: {}", held + freed);
}

#[test]
fn an_open_stream_costs_its_record_and_its_place_in_the_map() {
    let large = pigeon_proxy::h2::Config { max_concurrent_streams: 10_000, ..config(Role::Server) };
    let mut server = server(&large);
    let ((), _, held) = counted(|| {
        for i in 0..1000 {
            opened(&mut server, 2 * i + 1, false);
        }
    });
    assert!(held <= 1000 * 130, "{} bytes a stream", held / 1000);
}

#[test]
fn frames_allocate_nothing() {
    let (mut client, mut server) = pair(&config(Role::Client), &config(Role::Server));
    let (mut up, mut down) = (Vec::with_capacity(1 << 16), Vec::with_capacity(1 << 16));
    let mut fields = Fields::new();
    let mut rounds = |count: usize| {
        for _ in 0..count {
            exchange(&mut client, &mut server, &mut fields, &mut up, &mut down);
        }
    };
    rounds(1000);
    let ((), allocations, _) = counted(|| rounds(1000));
    assert_eq!(allocations, 0);
    assert_eq!((client.streams(), server.streams()), (0, 0));
}

/// A request with a body of some frames, a response with one and with trailers.
fn exchange(
    client: &mut Connection,
    server: &mut Connection,
    fields: &mut Fields,
    up: &mut Vec<u8>,
    down: &mut Vec<u8>,
) {
    let stream = request(client, 5, false);
    for part in 0..4 {
        assert_eq!(client.send_data(stream, &[part; 3000], part == 3, usize::MAX), 3000);
    }
    carry(client, server, fields, up, |server, key, end| {
        if end {
            send_head(server, key, false);
            assert_eq!(server.send_data(key, &[1; 2000], false, usize::MAX), 2000);
            server.send_headers(key, true, |encoder, out| {
                encoder.field(b"grpc-status", b"0", Indexing::Incremental, out);
            });
        }
    });
    carry(server, client, fields, down, |_, _, _| {});
    carry(client, server, fields, up, |_, _, _| {});
}

fn carry(
    from: &mut Connection,
    to: &mut Connection,
    fields: &mut Fields,
    wire: &mut Vec<u8>,
    mut answer: impl FnMut(&mut Connection, Key, bool),
) {
    wire.clear();
    wire.extend_from_slice(from.out().unsent());
    from.out().consume(usize::MAX);
    let mut input = &wire[..];
    while let Some(event) = to.next(&mut input, 0).unwrap() {
        match event {
            Event::Headers { stream, end, block, .. } => {
                fields.clear();
                to.decode(&block, fields).unwrap();
                answer(to, stream, end);
            }
            Event::Data { stream, end, flow, .. } => {
                to.release(stream, flow, false);
                answer(to, stream, end);
            }
            _ => {}
        }
    }
    assert!(input.is_empty());
}
