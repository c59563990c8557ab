//! Callers and engines of unlike speed: a slow one makes its partner slow, and nobody else, and the
//! proxy keeps nothing that it cannot pass on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pigeon_e2e::{Cluster, Scripted, Transport, Wire, frames, grpc, until};
use pigeon_proto::demo::v1::Prompt;
use tonic::transport::Endpoint;

over_both_transports!(
    a_gibibyte_to_a_reader_that_stops_leaves_memory_flat,
    a_caller_that_sends_byte_by_byte_is_served_and_holds_up_nobody,
    small_calls_go_on_beside_a_bulk_stream_of_the_same_connection,
    streams_that_nobody_reads_do_not_stop_the_others_of_their_connection,
);

/// One DATA frame, a whole gRPC message.
const PIECE: usize = 16_384;
const PIECES: u64 = (1 << 30) / PIECE as u64;
/// What the proxy may grow by: its windows (16 MiB a connection at most), and what the allocator keeps.
const GROWTH_KIB: u64 = 64 * 1024;
const BULK: &str = "/pigeon.demo.v1.Chat/Generate";

/// An engine whose every call is answered with a gibibyte, as fast as it is taken.
fn gibibyte() -> (Scripted, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let engine = Scripted::start(move |socket| {
        let mut wire = Wire::accept(socket, &[])?;
        let stream = wire.request()?;
        wire.send(&frames::grpc_head(stream, &[]))?;
        let piece = frames::grpc_message(false, &vec![7; PIECE - 5]);
        for _ in 0..PIECES {
            wire.send_data(stream, &piece, false)?;
            count.fetch_add(1, Ordering::Relaxed);
        }
        wire.send(&frames::grpc_trailers(stream, "0"))?;
        wire.rest();
        Ok(())
    });
    (engine, sent)
}

/// A call by hand whose request is one empty message.
fn call(wire: &mut Wire, stream: u32, path: &str) -> io::Result<()> {
    wire.send(&frames::grpc_call(stream, path, &[]))?;
    wire.send(&frames::data(stream, &frames::grpc_message(false, b""), true))
}

/// Waits until a count has stood still for a while.
fn until_still(what: &str, count: &AtomicU64) {
    let (mut last, mut looks) = (u64::MAX, 0);
    until(what, || {
        let now = count.load(Ordering::Relaxed);
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        // A look is 10 ms.
        if looks > 50 { Ok(()) } else { Err(format!("{now} pieces, {looks} looks")) }
    });
}

fn a_gibibyte_to_a_reader_that_stops_leaves_memory_flat(transport: Transport) {
    let (engine, sent) = gibibyte();
    let cluster = Cluster::over(transport, 1, 0);
    cluster.add_demo_at(&[engine.address()], &["--pool", "strict", "--slots", "1"]);
    let process = &cluster.proxies[0].process;
    let before = process.memory_kib();
    let (most, done) = (AtomicU64::new(before), AtomicBool::new(false));
    let taken = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(process.memory_kib(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let taken = read_with_stops(&cluster, &sent);
        done.store(true, Ordering::Relaxed);
        taken
    });
    assert_eq!(taken.unwrap(), 1 << 30, "all of it came");
    let most = most.load(Ordering::Relaxed);
    assert!(most < before + GROWTH_KIB, "{before} KiB before, {most} KiB at most");
    let line = format!("1 GiB to a reader that stops, over {transport}: {before} KiB, {most} KiB");
    pigeon_e2e::tools::say(&format!("MEASURED: {line} at most"));
    cluster.until_idle();
}

/// Reads the gibibyte, and stops now and then until the engine can send no more.
fn read_with_stops(cluster: &Cluster, sent: &AtomicU64) -> io::Result<u64> {
    // A large window: it is the reader that is slow, not its windows.
    let mut wire = Wire::connect(cluster.proxies[0].address(), &[(4, 1 << 20)])?;
    wire.send(&frames::window_update(0, 1 << 20))?;
    call(&mut wire, 1, BULK)?;
    let (mut taken, mut stops) = (0_u64, [1_u64 << 20, 1 << 28, 1 << 29].into_iter().peekable());
    loop {
        let frame = wire.frame()?;
        if frame.kind == frames::DATA {
            taken += frame.payload.len() as u64;
        }
        if stops.next_if(|stop| taken >= *stop).is_some() {
            until_still("the engine is held back", sent);
            let ahead = sent.load(Ordering::Relaxed) * PIECE as u64 - taken;
            assert!(ahead < GROWTH_KIB * 1024, "{ahead} bytes are under way");
        }
        if frame.ends() && frame.stream == 1 {
            return Ok(taken);
        }
    }
}

/// Every byte of a call in a packet of its own, while others call.
fn a_caller_that_sends_byte_by_byte_is_served_and_holds_up_nobody(transport: Transport) {
    let cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let to = cluster.proxies[0].address();
    let channel = grpc::channel(to);
    let mut wire = Wire::connect(to, &[]).unwrap();
    // PingRequest: field 1, the payload.
    let message = frames::grpc_message(false, b"\x0a\x04slow");
    let mut bytes = frames::grpc_call(1, "/pigeon.demo.v1.Echo/Ping", &[]);
    for (n, byte) in message.iter().enumerate() {
        bytes.extend(frames::data(1, &[*byte], n + 1 == message.len()));
    }
    for (n, byte) in bytes.iter().enumerate() {
        wire.send(&[*byte]).unwrap();
        if n % 16 == 0 {
            grpc::block_on(grpc::echo(channel.clone()).ping(grpc::ping())).unwrap();
        }
    }
    let frames_in = wire.until_end(1).unwrap();
    let body: Vec<u8> = frames_in.iter().filter(|frame| frame.kind == frames::DATA).fold(
        Vec::new(),
        |mut body, frame| {
            body.extend(&frame.payload);
            body
        },
    );
    assert!(body.windows(4).any(|four| four == b"slow"), "{frames_in:?}");
    assert_eq!(frames_in.last().map(|frame| frame.kind), Some(frames::HEADERS), "with trailers");
}

/// A download that never ends and 300 small calls on one connection: all of these end, while it goes on.
fn small_calls_go_on_beside_a_bulk_stream_of_the_same_connection(transport: Transport) {
    let cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let channel = grpc::channel(cluster.proxies[0].address());
    let count = Arc::new(AtomicU64::new(0));
    let (tokens, bulk) = (Arc::clone(&count), channel.clone());
    let bulk = grpc::runtime().spawn(async move {
        let prompt = Prompt { text: "x".repeat(16_000), tokens: u32::MAX };
        let request = grpc::with(prompt, &[("demo-gap-ms", "0")]);
        let mut answers = grpc::chat(bulk).generate(request).await?.into_inner();
        while answers.message().await?.is_some() {
            tokens.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<_, tonic::Status>(())
    });
    let runs = || count.load(Ordering::Relaxed);
    for round in 0..3 {
        let before = runs();
        until("the bulk runs", || if runs() > before { Ok(()) } else { Err(runs()) });
        for n in 0..100 {
            let mut echo = grpc::echo(channel.clone());
            let one = async {
                let ping = echo.ping(grpc::ping());
                tokio::time::timeout(Duration::from_secs(20), ping).await
            };
            let answered = grpc::block_on(one);
            let answered = answered.unwrap_or_else(|_| panic!("round {round}: call {n} starves"));
            answered.unwrap();
        }
    }
    assert!(!bulk.is_finished(), "it ended: {:?}", grpc::block_on(bulk));
    bulk.abort();
    cluster.until_idle();
}

/// Answers that nobody takes fill their own windows, and not the connection's.
fn streams_that_nobody_reads_do_not_stop_the_others_of_their_connection(transport: Transport) {
    let cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let to = format!("http://{}", cluster.proxies[0].address());
    // The caller's own connection has room for all of them.
    let endpoint = Endpoint::from_shared(to).unwrap().initial_stream_window_size(64 << 10);
    let endpoint = endpoint.initial_connection_window_size(16 << 20);
    let channel = grpc::block_on(endpoint.connect()).unwrap();
    let open: Vec<_> = (0..8)
        .map(|_| {
            let prompt = Prompt { text: "y".repeat(8_000), tokens: 100_000 };
            let request = grpc::with(prompt, &[("demo-gap-ms", "0")]);
            let mut chat = grpc::chat(channel.clone());
            grpc::block_on(async move { chat.generate(request).await.unwrap().into_inner() })
        })
        .collect();
    for n in 0..50 {
        let mut echo = grpc::echo(channel.clone());
        let one =
            async { tokio::time::timeout(Duration::from_secs(20), echo.ping(grpc::ping())).await };
        let answered = grpc::block_on(one).unwrap_or_else(|_| panic!("call {n} is stuck"));
        answered.unwrap();
    }
    drop(open);
    cluster.until_idle();
}
