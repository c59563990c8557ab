//! Configuration changes while 200 streams run: none of them notices.

use pigeon_e2e::{Cluster, Transport, grpc, http, until};

use crate::streams::Streams;

over_both_transports!(a_route_added_while_200_streams_run_disturbs_none,);

const STREAMS: usize = 200;

fn a_route_added_while_200_streams_run_disturbs_none(transport: Transport) {
    let cluster = Cluster::over(transport, 2, 2);
    cluster.add_engine("demo", &[]);
    let ctl = &cluster.ctl;
    let speech = ["--grpc", "pigeon.demo.v1.Speech", "--engine", "demo"];
    ctl.ok(&[&["route", "add", "speech"], speech.as_slice()].concat());
    cluster.in_sync();

    // Several connections to each proxy, so that both of its workers carry some.
    let channels: Vec<_> =
        (0..8).map(|n| grpc::channel(cluster.proxies[n % 2].address())).collect();
    let mut streams = Streams::open(&channels, STREAMS, &[("demo-gap-ms", "100")]);
    let open = |what: &str| {
        let now: u32 = cluster.engines.iter().map(|engine| engine.stats().concurrent_now).sum();
        assert_eq!(now as usize, STREAMS, "{what}: calls open at the engines");
    };
    open("before");

    for proxy in &cluster.proxies {
        assert_eq!(http::get(proxy.address(), "/hello").unwrap().status, 404);
    }
    ctl.ok(&["route", "add", "hello", "--path", "/hello", "--engine", "demo"]);
    for proxy in &cluster.proxies {
        until("the new route serves", || match http::get(proxy.address(), "/hello") {
            Ok(reply) if reply.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    streams.progress("every stream goes on after a route was added");

    // Also what concerns the very route and engine that the streams use.
    ctl.ok(&["route", "set", "speech", "--priority", "7"]);
    streams.progress("every stream goes on after its route changed");
    ctl.ok(&["engine", "set", "demo", "--lb", "random"]);
    streams.progress("every stream goes on after its engine changed");
    let address = cluster.engines[0].address().to_string();
    ctl.ok(&["engine", "set", "demo", "--static", &address]);
    streams.progress("every stream goes on after its endpoint left the engine");
    ctl.ok(&["route", "rm", "speech", "-y"]);
    streams.progress("every stream goes on after its route was removed");
    open("after");

    let ends = streams.finish();
    let failed: Vec<_> = ends.iter().filter_map(|end| end.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of {STREAMS} streams failed: {:?}", failed.len(), failed[0]);
    for engine in &cluster.engines {
        let stats = engine.until_stats("no call is left", |stats| stats.concurrent_now == 0);
        assert_eq!(stats.cancelled, 0, "{stats:?}");
    }
}
