//! A proxy is told to end: what runs ends well, nothing new begins.

use std::net::TcpStream;

use pigeon_e2e::{Cluster, Transport, grpc, http, until};

use crate::streams::Streams;

over_both_transports!(sigterm_lets_streams_end_and_takes_no_new_ones,);

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
