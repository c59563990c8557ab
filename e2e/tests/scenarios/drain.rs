//! A proxy is told to end: what runs ends well, nothing new begins.

use std::net::TcpStream;
use std::process::Command;

use pigeon_e2e::wire::Frame;
use pigeon_e2e::{Cluster, Process, Proxy, Transport, Wire, frames, grpc, http, tools, until};

use crate::streams::Streams;

over_both_transports!(
    sigterm_lets_streams_end_and_takes_no_new_ones,
    a_draining_proxy_says_goaway_and_ends_what_it_has,
    a_rolling_restart_of_all_proxies_fails_no_call,
);

fn sigterm_lets_streams_end_and_takes_no_new_ones(transport: Transport) {
    let mut cluster = Cluster::with_demo_routes_over(transport, 2, 1);
    let channels = [(); 3].map(|()| grpc::channel(cluster.proxies[0].address()));
    let mut streams = Streams::open(&channels, 30, &[("demo-gap-ms", "20")]);

    let proxy = &mut cluster.proxies[0];
    let (calls, status) = (proxy.address(), proxy.status_address());
    proxy.process.signal("TERM");
    until("new connections are refused", || match TcpStream::connect(calls) {
        Err(_) => Ok(()),
        Ok(_) => Err("one was taken"),
    });
    // While it drains its status port says so.
    if let Ok(ready) = http::get(status, "/readyz") {
        assert_eq!(ready.status, 503, "{}", ready.text());
    }
    for round in 0..3 {
        assert_eq!(proxy.process.exited(), None, "it runs while streams do");
        streams.progress(&format!("every stream goes on while draining, round {round}"));
    }
    for end in streams.finish() {
        end.unwrap();
    }
    let ended = cluster.proxies[0].process.ended();
    assert_eq!(ended.code(), Some(0), "{ended}");

    // The other one was not concerned.
    let reply = http::get(cluster.proxies[1].address(), "/hello").unwrap();
    assert_eq!(reply.status, 200);
}

#[test]
fn every_program_ends_at_sigterm_with_code_0() {
    let mut cluster = Cluster::with_demo_routes(1, 1);
    let ended = |name: &str, process: &mut pigeon_e2e::Process| {
        process.signal("TERM");
        let status = process.ended();
        assert_eq!(status.code(), Some(0), "{name}: {status}\n{}", process.stderr());
    };
    ended("proxy", &mut cluster.proxies[0].process);
    ended("admin", &mut cluster.admin.process);
    ended("engine", &mut cluster.engines[0].process);
}

/// Seen by the frame: GOAWAY that leaves room for what is on its way, the open call goes on to its end,
/// then the connection is closed.
fn a_draining_proxy_says_goaway_and_ends_what_it_has(transport: Transport) {
    let mut cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let mut wire = Wire::connect(cluster.proxies[0].address(), &[]).unwrap();
    wire.send(&frames::grpc_call(1, "/pigeon.demo.v1.Echo/Ping", &[])).unwrap();
    cluster.engines[0].until_stats("the call is there", |stats| stats.concurrent_now == 1);
    cluster.proxies[0].process.signal("TERM");
    let first = goaway(&mut wire);
    assert!(first.number(0) >= 1, "the call that runs is not cut: {first:?}");
    assert_eq!(first.number(4), 0, "NO_ERROR: {first:?}");
    assert_eq!(cluster.proxies[0].process.exited(), None, "it waits for the call");

    // The rest of the request only now; PingRequest: field 1, the payload.
    let message = frames::grpc_message(false, b"\x0a\x04late");
    wire.send(&frames::data(1, &message, true)).unwrap();
    let answer = wire.until_end(1).unwrap();
    let said = |frame: &Frame| frame.payload.windows(4).any(|four| four == b"late");
    assert!(answer.iter().any(|frame| frame.kind == frames::DATA && said(frame)), "{answer:?}");
    assert_eq!(answer.last().map(|frame| frame.kind), Some(frames::HEADERS), "{answer:?}");
    wire.rest();
    let ended = cluster.proxies[0].process.ended();
    assert_eq!(ended.code(), Some(0), "{ended}");
}

fn goaway(wire: &mut Wire) -> Frame {
    loop {
        let frame = wire.frame().expect("GOAWAY before the connection is closed");
        if frame.kind == frames::GOAWAY {
            return frame;
        }
    }
}

/// grpcio with both proxies as its targets calls without a pause, while one after the other is restarted.
fn a_rolling_restart_of_all_proxies_fails_no_call(transport: Transport) {
    let name = "drain: a rolling restart";
    let Some(python) = tools::python() else {
        return tools::skip(name, "Python with grpcio", tools::PYTHON_INSTALL);
    };
    let mut cluster = Cluster::with_demo_routes_over(transport, 2, 1);
    let [one, two] = [0, 1].map(|n| cluster.proxies[n].address().to_string());
    let stop = cluster.dir.path().join("stop");
    let mut command = Command::new(python);
    command.arg(tools::script("rolling_client.py")).args(["--target", &one, "--target", &two]);
    command.arg("--until").arg(&stop);
    let mut caller = Process::start("rolling client", command);
    caller.line("calling");
    let calls = |cluster: &Cluster| cluster.engines[0].stats().calls;
    for _ in 0..2 {
        for n in 0..2 {
            let before = calls(&cluster);
            cluster.engines[0].until_stats("calls run", |stats| stats.calls > before + 50);
            cluster.proxies[n].process.signal("TERM");
            let ended = cluster.proxies[n].process.ended();
            assert_eq!(ended.code(), Some(0), "{ended}");
            cluster.proxies[n].start_again();
            // Its callers come back: nobody else is there when the other one goes.
            until("it has calls again", || match served(&cluster.proxies[n]) {
                0 => Err("none yet"),
                _ => Ok(()),
            });
        }
    }
    std::fs::write(&stop, "").unwrap();
    let ended = caller.ended();
    assert!(ended.success(), "{}{}", caller.stdout(), caller.stderr());
}

/// The calls that a proxy has carried since it was started.
fn served(proxy: &Proxy) -> u64 {
    let metrics = proxy.metrics();
    let counts = metrics.lines().filter(|line| line.starts_with("pigeon_calls_total{"));
    let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    counts.sum::<f64>() as u64
}
