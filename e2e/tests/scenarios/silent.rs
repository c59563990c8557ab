//! Ten thousand connections that say nothing, or next to nothing, while others call.

use std::io::Write;
use std::net::TcpStream;

use pigeon_e2e::{Cluster, Transport, frames, grpc, http, limits, tools, until};

const CONNECTIONS: usize = 10_000;
/// Descriptors for everything else that runs in this process meanwhile.
const OTHERS: usize = 3_000;

/// One test for both, one after the other: their connections are descriptors of this one process.
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
