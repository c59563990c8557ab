//! One endpoint of an engine is drained: new calls go to the others, what runs goes on.

use pigeon_e2e::{Cluster, Transport, grpc};
use serde_json::Value;

use crate::streams::Streams;

over_both_transports!(a_drained_endpoint_gets_no_new_calls_and_keeps_those_it_has);

/// The engine that answers each of some calls.
pub fn who(channel: &tonic::transport::Channel, calls: usize) -> Vec<String> {
    let one = |_| grpc::block_on(grpc::echo(channel.clone()).ping(grpc::ping())).unwrap();
    (0..calls).map(one).map(|answer| answer.into_inner().engine).collect()
}

fn a_drained_endpoint_gets_no_new_calls_and_keeps_those_it_has(transport: Transport) {
    let cluster = Cluster::with_demo_routes_over(transport, 1, 2);
    cluster.ctl.ok(&["engine", "set", "demo", "--lb", "random"]);
    cluster.in_sync();
    let channel = grpc::channel(cluster.proxies[0].address());
    let gap = [("demo-gap-ms", "20")];
    let mut streams = Streams::open(std::slice::from_ref(&channel), 20, &gap);
    let at = |n: usize| cluster.engines[n].stats().concurrent_now;
    let before = at(0);
    assert!(before > 0 && at(1) > 0, "{before} of 20 calls are at the first");

    let address = cluster.engines[0].address().to_string();
    cluster.ctl.ok(&["engine", "drain", "demo", "--endpoint", &address]);
    cluster.in_sync();
    assert!(who(&channel, 50).iter().all(|engine| engine == "demo-2"));
    streams.progress("the calls of the drained endpoint go on");
    assert_eq!(at(0), before);

    let listed = cluster.ctl.ok(&["engine", "endpoints", "demo", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert!(listed.to_string().contains(&address), "{listed}");
    cluster.until_engine("demo", "the endpoint is shown as draining", |status| {
        let all = status["endpoints"].as_array().unwrap();
        all.iter().any(|one| one["address"] == address.as_str() && one["state"] == "draining")
    });

    // Listing the endpoints anew does not put it back to work.
    let both = format!("{},{address}", cluster.engines[1].address());
    cluster.ctl.ok(&["engine", "set", "demo", "--static", &both]);
    cluster.in_sync();
    assert!(who(&channel, 50).iter().all(|engine| engine == "demo-2"));

    cluster.ctl.ok(&["engine", "undrain", "demo", "--endpoint", &address]);
    cluster.in_sync();
    assert!(who(&channel, 60).iter().any(|engine| engine == "demo-1"));
    for end in streams.finish() {
        end.unwrap();
    }
    cluster.until_idle();
}
