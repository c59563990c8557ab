//! Ten thousand connections that say nothing, or next to nothing, while others call; in the clear, and in the
//! handshake of TLS.

use std::io::Write;
use std::net::TcpStream;

use pigeon_e2e::{Authority, Cluster, Transport, frames, grpc, http, limits, ports, tools, until};

const CONNECTIONS: usize = 10_000;
/// Descriptors for everything else that runs in this process meanwhile.
const OTHERS: usize = 3_000;

/// One test for all, one after the other: their connections are descriptors of this one process.
#[test]
fn ten_thousand_silent_connections_disturb_nobody() {
    let most = limits::raise_open_files().saturating_sub(OTHERS).min(CONNECTIONS);
    assert!(most >= 1_000, "only {most} files can be open: raise the hard limit (ulimit -Hn)");
    if most < CONNECTIONS {
        tools::say(&format!("MEASURED: {most} silent connections: more files cannot be open"));
    }
    for transport in [Transport::Relay, Transport::Hyper] {
        silent(transport, most);
    }
    silent_by_tls(most);
}

/// The first bytes of a ClientHello.
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// Calls go on by another listener, and new ones by TLS on the same. Which transport carries them comes after.
fn silent_by_tls(count: usize) {
    let test = "silent: tls";
    let Some(curl) = tools::find("curl") else {
        return tools::skip(test, "curl", "apt-get install curl");
    };
    let mut cluster = Cluster::with_demo_routes_over(Transport::Relay, 1, 1);
    let Some(authority) = Authority::new(test, cluster.dir.path()) else { return };
    let [certificate, key] = authority.issue("gateway", "localhost");
    let to: std::net::SocketAddr = ([127, 0, 0, 1], ports::free()).into();
    let at = to.to_string();
    let add = ["listener", "add", "tls", "--address", &at, "--max-connections", "20000"];
    let tls = ["--header-timeout", "1h", "--tls-cert", &certificate, "--tls-key", &key];
    cluster.ctl.ok(&[&add[..], &tls].concat());
    cluster.in_sync();
    let before = cluster.proxies[0].process.memory_kib();
    let clear = cluster.proxies[0].address();
    let channel = grpc::channel(clear);
    let url = format!("https://localhost:{}/hello", to.port());
    let by_tls = |n: usize| {
        let arguments = ["-sS", "--max-time", "20", "--cacert", authority.ca(), &url];
        let (code, said, error) = tools::run(&curl, &arguments.map(Into::into));
        assert!(code == 0 && said == "hello from demo-1\n", "beside {n}: {code} {said}{error}");
    };
    let mut held = Vec::with_capacity(count);
    for n in 0..count {
        let mut socket = connect(to, n);
        socket.write_all(&HELLO[..n % (HELLO.len() + 1)]).unwrap();
        held.push(socket);
        if n % 1_000 == 0 {
            well(&channel, clear, n);
            by_tls(n);
        }
    }
    let all = |metrics: &str| {
        let line =
            metrics.lines().find_map(|l| l.strip_prefix("pigeon_connections{listener=\"tls\"} "));
        line.and_then(|n| n.parse::<usize>().ok()).unwrap_or(0)
    };
    until("all are taken", || match all(&cluster.proxies[0].metrics()) {
        open if open >= count => Ok(()),
        open => Err(format!("{open} of {count} connections")),
    });
    well(&channel, clear, count);
    by_tls(count);
    let after = cluster.proxies[0].process.memory_kib();
    let each = (after.saturating_sub(before)) as f64 / count as f64;
    let line = format!("{count} silent handshakes: {each:.1} KiB each");
    tools::say(&format!("MEASURED ({}): {line}", tools::profile_name()));
    drop(held);
    until("they are gone", || match all(&cluster.proxies[0].metrics()) {
        0 => Ok(()),
        open => Err(format!("{open} connections")),
    });
    by_tls(0);
    assert_eq!(cluster.proxies[0].process.exited(), None);
}

fn silent(transport: Transport, count: usize) {
    let mut cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let listener =
        ["listener", "set", "default", "--max-connections", "20000", "--header-timeout", "1h"];
    cluster.ctl.ok(&listener);
    cluster.in_sync();
    let to = cluster.proxies[0].address();
    let before = cluster.proxies[0].process.memory_kib();
    // Connections from before the change have the old limit.
    let channel = grpc::channel(to);
    let mut held = Vec::with_capacity(count);
    for n in 0..count {
        let mut socket = connect(to, n);
        match n % 3 {
            0 => {}
            1 => socket.write_all(&frames::preface()).unwrap(),
            // In the middle of a frame, or of a request line.
            _ => socket.write_all(if n % 2 == 0 { b"PRI * HT" } else { b"GET /he" }).unwrap(),
        }
        held.push(socket);
        if n % 1_000 == 0 {
            well(&channel, to, n);
        }
    }
    until("all are taken", || {
        let metrics = cluster.proxies[0].metrics();
        let open = open_connections(&metrics);
        if open >= count { Ok(()) } else { Err(format!("{open} of {count} connections")) }
    });
    well(&channel, to, count);
    well(&grpc::channel(to), to, count);
    let after = cluster.proxies[0].process.memory_kib();
    let each = (after.saturating_sub(before)) as f64 / count as f64;
    let line = format!("{count} silent connections over {transport}: {each:.1} KiB each");
    tools::say(&format!("MEASURED ({}): {line}", tools::profile_name()));
    drop(held);
    until("they are gone", || {
        let open = open_connections(&cluster.proxies[0].metrics());
        if open < 20 { Ok(()) } else { Err(format!("{open} connections")) }
    });
    well(&channel, to, 0);
    assert_eq!(cluster.proxies[0].process.exited(), None);
}

/// The backlog of the listener may be full for a moment.
fn connect(to: std::net::SocketAddr, n: usize) -> TcpStream {
    until(&format!("connection {n} is made"), || TcpStream::connect(to))
}

fn well(channel: &tonic::transport::Channel, to: std::net::SocketAddr, n: usize) {
    grpc::block_on(grpc::echo(channel.clone()).ping(grpc::ping()))
        .unwrap_or_else(|status| panic!("beside {n} silent connections: {status:?}"));
    let reply = http::get(to, "/hello").unwrap();
    assert_eq!(reply.status, 200, "beside {n} silent connections");
}

fn open_connections(metrics: &str) -> usize {
    let line = metrics.lines().find(|line| line.starts_with("pigeon_connections"));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    value.unwrap_or_else(|| panic!("no pigeon_connections in\n{metrics}")) as usize
}
