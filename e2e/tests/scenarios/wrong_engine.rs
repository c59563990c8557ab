//! Engines that hang, answer late, reset, or send what is no answer: the caller is told what gRPC says,
//! the slot comes back, and the calls after it are served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use pigeon_e2e::{Cluster, Scripted, Transport, Wire, frames, grpc, until};
use pigeon_proto::demo::v1::{PingReply, Prompt};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

over_both_transports!(
    an_engine_that_says_nothing_meets_the_deadline,
    an_answer_that_comes_too_late_harms_nobody,
    resets_become_what_grpc_says,
    answers_that_are_none,
    an_engine_that_sends_empty_frames_without_end,
);

/// One slot, so that one that is not given back stops everything.
const ONE_SLOT: [&str; 6] = ["--pool", "strict", "--slots", "1", "--queue", "10"];

/// A call with a deadline that is never reached in a good run.
fn ping(channel: &Channel) -> Result<Response<PingReply>, Status> {
    let mut request = tonic::Request::new(grpc::ping());
    request.set_timeout(Duration::from_secs(20));
    let mut echo = grpc::echo(channel.clone());
    grpc::block_on(echo.ping(request))
}

/// A call of another route, whose limit is 300 ms; the caller itself has none.
fn told_deadline(channel: &Channel) {
    let mut chat = grpc::chat(channel.clone());
    let status = match grpc::block_on(chat.generate(Prompt::default())) {
        Err(status) => status,
        Ok(answer) => panic!("it answered {answer:?}"),
    };
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(grpc::reason(&status), "deadline", "{status:?}");
}

fn limit_chat(cluster: &Cluster) {
    cluster.ctl.ok(&["route", "set", "chat", "--timeout", "300ms"]);
    cluster.in_sync();
}

/// The engine takes connections, and that is all it does.
fn an_engine_that_says_nothing_meets_the_deadline(transport: Transport) {
    let engine = Scripted::start(|mut socket: TcpStream| {
        let mut taken = [0; 4096];
        while socket.read(&mut taken)? > 0 {}
        Ok(())
    });
    let cluster = Cluster::over(transport, 1, 0);
    cluster.add_demo_at(&[engine.address()], &ONE_SLOT);
    limit_chat(&cluster);
    for _ in 0..3 {
        told_deadline(&grpc::channel(cluster.proxies[0].address()));
    }
    cluster.until_idle();
    assert!(engine.accepted() >= 1, "the engine was tried");
}

/// The first call is answered once the gateway has given it up; the connection goes on.
fn an_answer_that_comes_too_late_harms_nobody(transport: Transport) {
    let engine = Scripted::start(|socket| {
        let mut wire = Wire::accept(socket, &[])?;
        let late = wire.request()?;
        let given_up = wire.until_end(late)?;
        assert_eq!(given_up.last().map(|frame| frame.kind), Some(frames::RST_STREAM));
        wire.answer(late)?;
        loop {
            let stream = wire.request()?;
            wire.answer(stream)?;
        }
    });
    let cluster = Cluster::over(transport, 1, 0);
    cluster.add_demo_at(&[engine.address()], &ONE_SLOT);
    let channel = grpc::channel(cluster.proxies[0].address());
    limit_chat(&cluster);
    told_deadline(&channel);
    for _ in 0..20 {
        assert_eq!(ping(&channel).unwrap().into_inner().engine, "scripted");
    }
    assert_eq!(engine.accepted(), 1, "the connection was kept");
    cluster.until_idle();
}

/// gRPC's table of HTTP/2 error codes ("HTTP2 Transport Mapping" of its specification). REFUSED_STREAM is
/// not here: such a call is tried again. For the codes that the table leaves open: UNKNOWN.
const RESETS: [(u32, Code); 13] = [
    (0, Code::Internal),
    (1, Code::Internal),
    (2, Code::Internal),
    (3, Code::Internal),
    (4, Code::Internal),
    (5, Code::Unknown),
    (6, Code::Internal),
    (8, Code::Cancelled),
    (9, Code::Internal),
    (10, Code::Internal),
    (11, Code::ResourceExhausted),
    (12, Code::PermissionDenied),
    (13, Code::Unknown),
];

// Fails over hyper for code 0 after the head: hyper takes RST_STREAM with NO_ERROR for the end of the body,
// and the caller gets no status at all.
fn resets_become_what_grpc_says(transport: Transport) {
    let (code, after_head) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (with, late) = (Arc::clone(&code), Arc::clone(&after_head));
    let engine = Scripted::start(move |socket| {
        let mut wire = Wire::accept(socket, &[])?;
        loop {
            let stream = wire.request()?;
            if late.load(Ordering::Relaxed) == 1 {
                wire.send(&frames::grpc_head(stream, &[]))?;
            }
            wire.send(&frames::reset(stream, with.load(Ordering::Relaxed)))?;
        }
    });
    let cluster = Cluster::over(transport, 1, 0);
    cluster.add_demo_at(&[engine.address()], &ONE_SLOT);
    let channel = grpc::channel(cluster.proxies[0].address());
    let mut faults = Vec::new();
    for late in [0, 1] {
        after_head.store(late, Ordering::Relaxed);
        for (number, wanted) in RESETS {
            code.store(number, Ordering::Relaxed);
            let status = ping(&channel).expect_err("it was reset");
            if (status.code(), grpc::reason(&status)) != (wanted, "engine_reset") {
                faults.push(format!("code {number}, head sent: {late}: {status:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    cluster.until_idle();
}

/// What an engine writes, given the stream of the call.
type Nonsense = fn(u32) -> Vec<u8>;

/// None of these is an answer; nor is it the caller's fault.
const NONSENSE: [(&str, Nonsense); 12] = [
    ("HTTP/1.1", |_| b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_vec()),
    ("noise", |_| (0..5_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()),
    // Twice, so that it is longer than the head of a frame.
    ("TLS alerts", |_| b"\x15\x03\x01\x00\x02\x02\x46".repeat(2)),
    ("broken HPACK", |stream| frames::frame(frames::HEADERS, 4, stream, &[0xff; 40])),
    ("an index that is not there", |stream| frames::frame(frames::HEADERS, 4, stream, &[0xfe])),
    ("an answer without :status", |stream| {
        let mut block = Vec::new();
        frames::literal(&mut block, "content-type", "application/grpc");
        frames::frame(frames::HEADERS, 4, stream, &block)
    }),
    ("a name in capitals", |stream| {
        let mut block = vec![0x88];
        frames::literal(&mut block, "Content-Type", "application/grpc");
        frames::frame(frames::HEADERS, 4, stream, &block)
    }),
    ("DATA before the head", |stream| frames::data(stream, b"\0\0\0\0\0", false)),
    ("a frame too large", |stream| frames::frame(frames::DATA, 0, stream, &vec![0; 1 << 20])),
    ("an answer to nobody", |stream| frames::grpc_head(stream + 100, &[])),
    ("a window that overflows", |_| frames::window_update(0, 0x7fff_ffff).repeat(2)),
    ("SETTINGS on a stream", |stream| frames::frame(frames::SETTINGS, 0, stream, &[])),
];

fn answers_that_are_none(transport: Transport) {
    let (which, well) = (Arc::new(AtomicUsize::new(0)), NONSENSE.len());
    let now = Arc::clone(&which);
    let engine = Scripted::start(move |socket| {
        let mut wire = Wire::accept(socket, &[])?;
        loop {
            let stream = wire.request()?;
            match NONSENSE.get(now.load(Ordering::Relaxed)) {
                Some((_, nonsense)) => wire.send(&nonsense(stream))?,
                None => wire.answer(stream)?,
            }
        }
    });
    let cluster = Cluster::over(transport, 1, 0);
    cluster.add_demo_at(&[engine.address()], &ONE_SLOT);
    let channel = grpc::channel(cluster.proxies[0].address());
    for (n, (what, _)) in NONSENSE.iter().enumerate() {
        which.store(n, Ordering::Relaxed);
        let status = ping(&channel).expect_err(what);
        assert_ne!(status.code(), Code::DeadlineExceeded, "{what}: {status:?}");
        let reasons = ["engine_protocol_error", "engine_reset"];
        assert!(reasons.contains(&grpc::reason(&status)), "{what}: {status:?}");
        assert!([Code::Internal, Code::Unavailable].contains(&status.code()), "{what}: {status:?}");
        // One that has come to its senses is used at once, or after a moment if it was avoided.
        which.store(well, Ordering::Relaxed);
        until("it answers again", || ping(&channel).map(drop));
    }
    // Before a single frame of HTTP/2, too.
    cluster.until_idle();
}

/// Peers close on such floods; the gateway must neither pass them on nor grow.
fn an_engine_that_sends_empty_frames_without_end(transport: Transport) {
    let engine = Scripted::start(|socket| {
        let mut wire = Wire::accept(socket, &[])?;
        let stream = wire.request()?;
        wire.send(&frames::grpc_head(stream, &[]))?;
        let thousand = frames::data(stream, &[], false).repeat(1_000);
        for _ in 0..2_000 {
            wire.socket().write_all(&thousand)?;
        }
        wire.answer(stream)
    });
    let mut cluster = Cluster::over(transport, 1, 1);
    cluster.add_demo_at(&[engine.address()], &ONE_SLOT);
    cluster.add_engine("well", &["--health", "none"]);
    let proxy = &cluster.proxies[0];
    let before = proxy.process.memory_kib();
    let status = ping(&grpc::channel(proxy.address())).expect_err("two million empty frames");
    assert_ne!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let after = proxy.process.memory_kib();
    assert!(after < before + 64 * 1024, "{before} KiB before, {after} KiB after");
    cluster.until_idle();
    cluster.ctl.ok(&["route", "set", "echo", "--engine", "well"]);
    cluster.in_sync();
    ping(&grpc::channel(cluster.proxies[0].address())).unwrap();
    assert_eq!(cluster.proxies[0].process.exited(), None);
}
