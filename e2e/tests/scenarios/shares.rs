//! Which engine and which endpoint a call goes to: the weights of a route, and `balance: hash`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use pigeon_e2e::{Cluster, Transport, grpc};

use crate::endpoints::who;

over_both_transports!(
    a_route_splits_its_calls_by_weight_and_follows_a_change,
    a_hash_key_stays_with_its_endpoint_on_every_proxy,
);

fn a_route_splits_its_calls_by_weight_and_follows_a_change(transport: Transport) {
    let cluster = Cluster::over(transport, 1, 2);
    for (n, name) in ["old", "new"].iter().enumerate() {
        let address = cluster.engines[n].address().to_string();
        cluster.ctl.ok(&["engine", "add", name, "--static", &address]);
    }
    let service = ["--grpc", "pigeon.demo.v1.Echo"];
    let shares = ["--engine", "old", "--to", "new=25"];
    cluster.ctl.ok(&[&["route", "add", "echo"], &service[..], &shares].concat());
    cluster.in_sync();
    let channel = grpc::channel(cluster.proxies[0].address());
    let new = who(&channel, 400).iter().filter(|engine| *engine == "demo-2").count();
    // 100 expected, and a standard deviation of 8.7: five of them.
    assert!((56..=144).contains(&new), "{new} of 400 at a share of 25 %");

    cluster.ctl.ok(&["route", "set", "echo", "--engine", "new", "--to", ""]);
    cluster.in_sync();
    assert!(who(&channel, 50).iter().all(|engine| engine == "demo-2"));
}

/// The engine that answers each of 40 users.
fn homes(proxy: SocketAddr) -> BTreeMap<usize, String> {
    let channel = grpc::channel(proxy);
    let home = |user: usize| {
        let name = user.to_string();
        let request = grpc::with(grpc::ping(), &[("x-user", &name)]);
        let answer = grpc::block_on(grpc::echo(channel.clone()).ping(request)).unwrap();
        (user, answer.into_inner().engine)
    };
    (0..40).map(home).collect()
}

fn a_hash_key_stays_with_its_endpoint_on_every_proxy(transport: Transport) {
    let cluster = Cluster::with_demo_routes_over(transport, 2, 3);
    cluster.ctl.ok(&["engine", "set", "demo", "--lb", "hash", "--hash-key", "header:x-user"]);
    cluster.in_sync();
    let [one, other] = [0, 1].map(|n| cluster.proxies[n].address());
    let before = homes(one);
    assert_eq!(before, homes(one));
    assert_eq!(before, homes(other), "the proxies agree without a word between them");
    assert_eq!(before.values().collect::<BTreeSet<_>>().len(), 3, "{before:?}");

    // Only those of the endpoint that goes move.
    let address = cluster.engines[1].address().to_string();
    cluster.ctl.ok(&["engine", "drain", "demo", "--endpoint", &address]);
    cluster.in_sync();
    let after = homes(one);
    for (user, home) in &before {
        match home.as_str() {
            "demo-2" => assert_ne!(after[user], "demo-2"),
            home => assert_eq!(after[user], home),
        }
    }
    cluster.ctl.ok(&["engine", "undrain", "demo", "--endpoint", &address]);
    cluster.in_sync();
    assert_eq!(homes(one), before);
}
