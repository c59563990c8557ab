//! Whatever is thrown at the ports: the programs stay alive, stay small, and answer everyone else.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use pigeon_e2e::{Cluster, Transport, frames, grpc, http, until};
use pigeon_proto::v1::config_client::ConfigClient;
use pigeon_proto::v1::{ConfigUp, Subscribe, config_up};
use tonic::{Code, Request};

over_both_transports!(
    garbage_on_every_port,
    a_request_that_could_be_read_in_two_ways_is_refused,
    streams_that_are_opened_and_left,
    rapid_reset,
    continuation_flood,
    floods_of_frames_that_cost_the_sender_little,
    header_bombs,
    a_caller_that_does_not_read,
);

/// Resident memory that none of the programs may pass here; idle they are far below.
const MOST_MEMORY_KIB: u64 = 400 * 1024;

fn ports(cluster: &Cluster) -> [(&'static str, SocketAddr); 4] {
    let proxy = &cluster.proxies[0];
    [
        ("calls", proxy.address()),
        ("status", proxy.status_address()),
        ("rest", cluster.admin.address()),
        ("stream", cluster.admin.stream_address()),
    ]
}

/// Both programs run, answer on all ports, and are no larger than they should be.
fn check_well(cluster: &mut Cluster, after: &str) {
    let channel = grpc::channel(cluster.proxies[0].address());
    let start = Instant::now();
    grpc::block_on(grpc::echo(channel).ping(grpc::ping()))
        .unwrap_or_else(|status| panic!("after {after}: {status:?}"));
    for (at, path) in [
        (cluster.proxies[0].address(), "/hello"),
        (cluster.proxies[0].status_address(), "/healthz"),
        (cluster.admin.address(), "/healthz"),
    ] {
        let reply =
            http::get(at, path).unwrap_or_else(|error| panic!("after {after}: {path}: {error}"));
        assert_eq!(reply.status, 200, "after {after}: {path}");
    }
    assert!(start.elapsed() < Duration::from_secs(10), "after {after}: {:?}", start.elapsed());
    for process in [&mut cluster.proxies[0].process, &mut cluster.admin.process] {
        assert_eq!(process.exited(), None, "after {after}: {}", process.stderr());
        let memory = process.memory_kib();
        assert!(memory < MOST_MEMORY_KIB, "after {after}: {memory} KiB");
        let stderr = process.stderr();
        assert!(!stderr.contains("panicked"), "after {after}: {stderr}");
    }
}

/// Sends as much as is taken, and waits for what comes back, for a moment.
fn throw(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(to).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    answer
}

/// Bytes that repeat on every run (xorshift), so that a failure does, too.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(length)
    .collect()
}

fn garbage_on_every_port(transport: Transport) {
    let mut cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let mut garbage: Vec<(String, Vec<u8>)> =
        (1..=8).map(|seed| (format!("noise {seed}"), noise(seed * 77, 40_000))).collect();
    let after_preface = |bytes: Vec<u8>| [frames::preface(), bytes].concat();
    garbage.extend([
        ("TLS hello".to_owned(), [b"\x16\x03\x01\x02\x00\x01\x00".as_slice(), &noise(5, 600)].concat()),
        ("nothing".to_owned(), Vec::new()),
        ("newlines".to_owned(), vec![b'\n'; 100_000]),
        ("a request line without end".to_owned(), [b"GET /".as_slice(), &vec![b'a'; 3 << 20]].concat()),
        ("a million header fields".to_owned(), [b"GET / HTTP/1.1\r\n".to_vec(), b"a: b\r\n".repeat(500_000)].concat()),
        ("a large header field".to_owned(), [b"GET / HTTP/1.1\r\nx: ".as_slice(), &vec![b'a'; 10 << 20]].concat()),
        ("two lengths".to_owned(), b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef".to_vec()),
        ("a length and chunks".to_owned(), b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /hello HTTP/1.1\r\n\r\n".to_vec()),
        ("a huge chunk".to_owned(), b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nx".to_vec()),
        ("noise after the preface".to_owned(), after_preface(noise(9, 100_000))),
        ("a frame too large".to_owned(), after_preface(frames::frame(0, 0, 1, &vec![0; 1 << 20]))),
        ("data on no stream".to_owned(), after_preface(frames::frame(0, 0, 7, b"x"))),
        ("a window of nothing".to_owned(), after_preface(frames::frame(8, 0, 0, &[0; 4]))),
        ("broken HPACK".to_owned(), after_preface(frames::frame(1, 4, 1, &[0xff; 64]))),
        ("even streams".to_owned(), after_preface(frames::headers(2, "/x", true))),
    ]);
    for (what, bytes) in &garbage {
        for (port, at) in ports(&cluster) {
            let answer = throw(at, bytes);
            assert!(answer.len() < 1 << 20, "{what} at {port}: {} bytes came back", answer.len());
        }
    }
    check_well(&mut cluster, "garbage");
    assert_eq!(cluster.admin.get("/v1/whoami")["role"], "admin");
}

fn a_request_that_could_be_read_in_two_ways_is_refused(transport: Transport) {
    let cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let smuggled = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /hello HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer =
        String::from_utf8_lossy(&throw(cluster.proxies[0].address(), smuggled)).into_owned();
    let answers = answer.matches("HTTP/1.1 ").count();
    assert!(answer.starts_with("HTTP/1.1 400 ") || answers <= 2, "{answer}");
    let two =
        b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef";
    let answer = String::from_utf8_lossy(&throw(cluster.proxies[0].address(), two)).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn a_thousand_connections_that_say_nothing() {
    let mut cluster = Cluster::with_demo_routes(1, 1);
    for (port, at) in ports(&cluster) {
        let mut idle = Vec::new();
        for n in 0..1_000 {
            match TcpStream::connect_timeout(&at, Duration::from_secs(5)) {
                Ok(socket) => idle.push(socket),
                Err(error) => panic!("{port}: connection {n}: {error}"),
            }
        }
        check_well(&mut cluster, &format!("{} idle connections to {port}", idle.len()));
    }
    check_well(&mut cluster, "the idle connections went away");
}

fn streams_that_are_opened_and_left(transport: Transport) {
    let mut cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let to = cluster.proxies[0].address();
    let mut left: Vec<TcpStream> = (0..5)
        .map(|_| {
            let mut socket = TcpStream::connect(to).unwrap();
            socket.write_all(&frames::preface()).unwrap();
            for stream in 0..100 {
                let path = "/pigeon.demo.v1.Speech/Recognize";
                socket.write_all(&frames::headers(1 + 2 * stream, path, true)).unwrap();
            }
            socket
        })
        .collect();
    check_well(&mut cluster, "500 half-open streams");
    for socket in &mut left {
        // Halfway through a frame.
        socket.write_all(&[0, 0, 100, 0, 0]).unwrap();
    }
    drop(left);
    check_well(&mut cluster, "they broke off");
    cluster.engines[0].until_stats("no call is left", |stats| stats.concurrent_now == 0);
    cluster.until_engine("demo", "nothing is held", |status| status["in_use"] == 0);
}

/// HTTP/2 rapid reset: streams opened and cancelled in the same breath.
fn rapid_reset(transport: Transport) {
    let mut cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    for at in [cluster.proxies[0].address(), cluster.admin.stream_address()] {
        let mut bytes = frames::preface();
        for stream in 0..20_000 {
            let id = 1 + 2 * stream;
            bytes.extend(frames::headers(id, "/pigeon.demo.v1.Echo/Ping", true));
            bytes.extend(frames::reset(id, 8));
        }
        throw(at, &bytes);
        check_well(&mut cluster, "20,000 resets");
    }
    cluster.until_engine("demo", "nothing is held", |status| status["in_use"] == 0);
}

/// Headers that never end.
fn continuation_flood(transport: Transport) {
    let mut cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    for at in [cluster.proxies[0].address(), cluster.admin.stream_address()] {
        let mut bytes = frames::preface();
        bytes.extend(frames::headers(1, "/x", false));
        for _ in 0..3_000 {
            bytes.extend(frames::continuation(1, 16_000));
        }
        throw(at, &bytes);
        check_well(&mut cluster, "48 MB of headers");
    }
}

/// Frames that must be answered or looked at, as many as fit into some seconds, and nothing read.
fn floods_of_frames_that_cost_the_sender_little(transport: Transport) {
    let mut cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let to = cluster.proxies[0].address();
    let open = frames::headers(1, "/pigeon.demo.v1.Speech/Recognize", true);
    let after_open = |flood: Vec<u8>| [open.clone(), flood].concat();
    let priority: Vec<u8> = frames::frame(2, 0, 3, &[0, 0, 0, 1, 7]);
    for (what, bytes) in [
        ("PING", frames::frame(frames::PING, 0, 0, &[7; 8]).repeat(300_000)),
        ("SETTINGS", frames::settings(&[]).repeat(300_000)),
        ("SETTINGS with entries", frames::settings(&[(4, 70_000); 100]).repeat(5_000)),
        ("PRIORITY", priority.repeat(300_000)),
        ("WINDOW_UPDATE", after_open(frames::window_update(1, 1).repeat(300_000))),
        ("empty DATA", after_open(frames::data(1, &[], false).repeat(300_000))),
        ("an unknown kind", frames::frame(99, 0, 0, &[]).repeat(300_000)),
        ("GOAWAY", frames::goaway(0, 0).repeat(300_000)),
        ("one byte of DATA", after_open(frames::data(1, b"x", false).repeat(60_000))),
    ] {
        throw(to, &[frames::preface(), bytes].concat());
        check_well(&mut cluster, &format!("a flood of {what}"));
    }
    cluster.until_idle();
}

/// A small block that unfolds to a large one: one field put into the table, then named again and again.
fn header_bombs(transport: Transport) {
    let mut cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let to = cluster.proxies[0].address();
    // A literal that is kept (0x40), with a name of one byte and a value of 3,900.
    let mut block = vec![0x83, 0x86, 0x84, 0x40, 1, b'a', 0x7f, 0xbd, 0x1d];
    block.extend([b'b'; 3_900]);
    // The newest entry of the table, 12,000 times: 47 MB of fields.
    block.resize(block.len() + 12_000, 0xbe);
    assert!(block.len() < 16_384, "one frame");
    let bomb = |id| frames::frame(frames::HEADERS, 5, id, &block);
    let bombs: Vec<u8> = (0..200).flat_map(|n| bomb(1 + 2 * n)).collect();
    for _ in 0..3 {
        throw(to, &[frames::preface(), bombs.clone()].concat());
        check_well(&mut cluster, "header bombs");
    }
    assert!(cluster.engines[0].stats().calls < 10, "the engine was spared");
}

/// The config stream wants the proxies' token, and the very same error whatever else is offered.
#[test]
fn the_config_stream_without_its_token() {
    let mut cluster = Cluster::with_demo_routes(1, 1);
    let to = cluster.admin.stream_address();
    let admin = format!("Bearer {}", cluster.admin.token());
    for token in ["", "Bearer ", "Bearer nonsense", "nonsense", &admin] {
        let up = ConfigUp { m: Some(config_up::M::Subscribe(Subscribe::default())) };
        let mut request = Request::new(tokio_stream::once(up));
        if !token.is_empty() {
            request.metadata_mut().insert("authorization", token.parse().unwrap());
        }
        let status = grpc::block_on(async {
            let mut config = ConfigClient::new(grpc::channel(to));
            match config.watch(request).await {
                Err(status) => status,
                Ok(mut down) => down.get_mut().message().await.expect_err("it must not answer"),
            }
        });
        assert_eq!(status.code(), Code::Unauthenticated, "{token:?}: {status:?}");
        let proxies = cluster.admin.proxies();
        assert_eq!(proxies.len(), 1, "{proxies:?}");
    }
    check_well(&mut cluster, "wrong tokens");
}

/// Messages that no proxy would send end that stream, and nothing else.
#[test]
fn a_config_stream_that_breaks_the_rules() {
    let mut cluster = Cluster::with_demo_routes(1, 1);
    let to = cluster.admin.stream_address();
    let file = std::fs::read_to_string(cluster.admin.proxy_token_file()).unwrap();
    let bearer = format!("Bearer {}", file.trim());
    let empty = ConfigUp { m: None };
    let bare = ConfigUp { m: Some(config_up::M::Subscribe(Subscribe::default())) };
    let ack = ConfigUp { m: Some(config_up::M::Ack(pigeon_proto::v1::Ack::default())) };
    for (what, ups) in [
        ("nothing set", vec![empty]),
        ("an ack first", vec![ack]),
        ("a subscription of nobody", vec![bare]),
    ] {
        // The upload stays open: only the admin ends this.
        let upload =
            tokio_stream::StreamExt::chain(tokio_stream::iter(ups), tokio_stream::pending());
        let mut request = Request::new(upload);
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        let ended = grpc::block_on(async {
            let mut config = ConfigClient::new(grpc::channel(to));
            let whole = async {
                let mut down = config.watch(request).await?.into_inner();
                while down.message().await?.is_some() {}
                Ok::<_, tonic::Status>(())
            };
            tokio::time::timeout(Duration::from_secs(20), whole).await
        });
        let status = ended.unwrap_or_else(|_| panic!("{what}: the stream goes on"));
        let status = status.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
    }
    check_well(&mut cluster, "broken rules");
    cluster.in_sync();
}

/// A caller that does not read: the proxy holds back the engine instead of filling its memory.
fn a_caller_that_does_not_read(transport: Transport) {
    let mut cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let to = cluster.proxies[0].address();
    let before = cluster.proxies[0].process.memory_kib();
    let mut socket = TcpStream::connect(to).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let (piece, pieces) = (vec![b'x'; 1 << 20], 1_024);
    let head =
        format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", pieces << 20);
    socket.write_all(head.as_bytes()).unwrap();
    // More than the buffers of all sockets on the way can hold.
    let taken = (0..pieces).take_while(|_| socket.write_all(&piece).is_ok()).count();
    assert!(taken < pieces, "1 GiB was taken though nothing was read");
    let after = cluster.proxies[0].process.memory_kib();
    assert!(after < before + 40 * 1024, "{before} KiB before, {after} KiB after");
    drop(socket);
    check_well(&mut cluster, "a caller that did not read");
    until("nothing is held", || {
        let status = cluster.admin.get("/v1/engines/demo")["status"].clone();
        if status["in_use"] == 0 { Ok(()) } else { Err(status.to_string()) }
    });
}
