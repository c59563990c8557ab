//! What an idle connection and an idle stream hold of the heap. Every live byte of the process is counted, so
//! there is one test, and clients and the engine are blocking sockets whose bytes are prepared.

// clippy's `allow-unwrap-in-tests` does not reach what tests share. Counting needs an allocator of its own, and
// an allocator is unsafe.
#![allow(clippy::unwrap_used, missing_docs, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[allow(dead_code)]
#[path = "calls/support.rs"]
mod support;

use support::{FOR_EVER, Path, Rig, engine};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static LIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

const ROUTE: &str = "\n---\nkind: route\nname: r\nspec: {match: {}, engine: e}\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// SETTINGS, empty; and a larger window for the connection.
const HELLO: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x04\x08\0\0\0\0\0\x01\0\0\0";
const SETTINGS_ACK: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
/// POST, http, and literals that are not indexed: path, authority, content-type.
const REQUEST: &[u8] = b"\x83\x86\x04\x02/x\x01\x01h\x0f\x10\x10application/grpc";
/// 200, and content-type.
const ANSWER: &[u8] = b"\x88\x0f\x10\x10application/grpc";
/// A message of a KiB.
const MESSAGE: usize = 1_024;
const STREAMS: u32 = 100;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_HEADERS: u8 = 4;

/// A frame that was read.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    length: usize,
}

/// The head of a frame.
fn head(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; 9] {
    let length = u32::try_from(length).unwrap().to_be_bytes();
    let stream = stream.to_be_bytes();
    let [.., a, b, c] = length;
    [a, b, c, kind, flags, stream[0], stream[1], stream[2], stream[3]]
}

/// HEADERS and one message, neither the end.
fn exchange(block: &[u8], stream: u32) -> Vec<u8> {
    let mut bytes = head(block.len(), HEADERS, END_HEADERS, stream).to_vec();
    bytes.extend(block);
    bytes.extend(head(MESSAGE, DATA, 0, stream));
    bytes.resize(bytes.len() + MESSAGE, 0);
    bytes
}

/// Reads frames until `enough` says so or the other end closes.
fn read_frames(socket: &mut TcpStream, mut enough: impl FnMut(&mut TcpStream, &Frame) -> bool) {
    let (mut frame, mut payload) = ([0; 9], [0; 16_384]);
    while socket.read_exact(&mut frame).is_ok() {
        let length = usize::from(frame[1]) << 8 | usize::from(frame[2]);
        socket.read_exact(&mut payload[..length]).unwrap();
        let stream = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]);
        let frame = Frame { kind: frame[3], flags: frame[4], stream, length };
        if frame.kind == SETTINGS && frame.flags == 0 {
            socket.write_all(SETTINGS_ACK).unwrap();
        }
        if enough(socket, &frame) {
            return;
        }
    }
}

/// An engine that answers the first message of each stream and ends none.
fn quiet_engine() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = |mut socket: TcpStream| {
        socket.read_exact(&mut [0; PREFACE.len()]).unwrap();
        socket.write_all(HELLO).unwrap();
        // On the stack: it is not to be counted.
        let mut seen = [0; 16_384];
        read_frames(&mut socket, |socket, frame| {
            // With the last byte of the message, however it was cut.
            let seen = &mut seen[frame.stream as usize / 2];
            *seen += if frame.kind == DATA { frame.length } else { 0 };
            if frame.kind == DATA && *seen == MESSAGE {
                socket.write_all(&exchange(ANSWER, frame.stream)).unwrap();
            }
            false
        });
    };
    thread::spawn(move || {
        for socket in listener.incoming() {
            thread::spawn(move || serve(socket.unwrap()));
        }
    });
    address
}

fn connect(rig: &Rig) -> TcpStream {
    let mut socket = TcpStream::connect(rig.address).unwrap();
    socket.set_read_timeout(Some(FOR_EVER)).unwrap();
    socket.write_all(&[PREFACE, HELLO].concat()).unwrap();
    // Up to the acknowledgement of its SETTINGS: the gateway has read everything.
    let mut settings = 0;
    read_frames(&mut socket, |_, frame| {
        settings += usize::from(frame.kind == SETTINGS);
        settings == 2
    });
    socket
}

/// Opens streams, and reads until each has its message.
fn talk(socket: &mut TcpStream) {
    for n in 0..STREAMS {
        socket.write_all(&exchange(REQUEST, 2 * n + 1)).unwrap();
    }
    let mut got = 0;
    read_frames(socket, |_, frame| {
        got += if frame.kind == DATA { frame.length } else { 0 };
        got == STREAMS as usize * MESSAGE
    });
}

/// The lowest count of a while: what a moment needs is not held.
fn live() -> isize {
    let end = Instant::now() + Duration::from_millis(1_500);
    let mut least = isize::MAX;
    while Instant::now() < end {
        least = least.min(LIVE.load(Ordering::Relaxed));
        thread::sleep(Duration::from_millis(10));
    }
    least
}

#[tokio::test]
async fn what_is_idle_holds_little() {
    let rig = Rig::start(Path::Relay, &(engine(&[quiet_engine()], "protocol: h2c") + ROUTE)).await;
    // Whatever is kept for later is there after a first round.
    let mut others: Vec<TcpStream> = (0..8).map(|_| connect(&rig)).collect();
    others.iter_mut().for_each(talk);
    let mut sockets = Vec::with_capacity(512);
    let before = live();
    sockets.extend((0..512).map(|_| connect(&rig)));
    let with_connections = live();
    let talking = &mut sockets[..64];
    talking.iter_mut().for_each(talk);
    let with_streams = live();
    let connection = (with_connections - before) / 512;
    let stream = (with_streams - with_connections) / (64 * STREAMS as isize);
    println!("MEASURED: an idle connection holds {connection} bytes, an idle stream {stream}");
    assert!(connection <= 2_048, "{connection} bytes per idle connection");
    assert!(stream <= 1_024, "{stream} bytes per idle stream");
    assert_eq!(rig.gateway.calls_open(), 72 * STREAMS as usize);
}
