//! A proxy is killed with SIGKILL: its calls fail at once, what they held at the engine comes back,
//! and the other proxy goes on.

use pigeon_e2e::{Cluster, Transport, grpc, until};
use tonic::Code;

use crate::streams::Streams;

over_both_transports!(
    calls_fail_at_once_and_the_engine_is_free_again,
    a_proxy_that_starts_again_has_all_its_slots,
);

fn calls_fail_at_once_and_the_engine_is_free_again(transport: Transport) {
    let mut cluster = Cluster::over(transport, 2, 1);
    cluster.add_engine("demo", &["--pool", "strict", "--slots", "8"]);
    cluster.add_demo_routes("demo");
    cluster.in_sync();
    let [dies, lives] = [0, 1].map(|n| grpc::channel(cluster.proxies[n].address()));
    let gap = [("demo-gap-ms", "20")];
    let lost = Streams::open(std::slice::from_ref(&dies), 8, &gap);
    let mut kept = Streams::open(std::slice::from_ref(&lives), 8, &gap);
    cluster.engines[0].until_stats("16 calls run", |stats| stats.concurrent_now == 16);

    cluster.proxies[0].process.kill();
    for end in lost.ended() {
        let status = end.expect_err("its proxy is gone");
        // Nobody is left to say UNAVAILABLE: it is the caller's library that tells, and tonic says UNKNOWN
        // of a stream that had begun.
        assert!([Code::Unavailable, Code::Unknown].contains(&status.code()), "{status:?}");
    }
    cluster.engines[0].until_stats("8 are left", |stats| stats.concurrent_now == 8);
    kept.progress("the other proxy's streams go on");
    for end in kept.finish() {
        end.unwrap();
    }
    cluster.engines[0].until_stats("no call is left", |stats| stats.concurrent_now == 0);
}

fn a_proxy_that_starts_again_has_all_its_slots(transport: Transport) {
    let mut cluster = Cluster::over(transport, 1, 1);
    cluster.add_engine("demo", &["--pool", "strict", "--slots", "4"]);
    cluster.add_demo_routes("demo");
    cluster.in_sync();
    let channel = grpc::channel(cluster.proxies[0].address());
    let gap = [("demo-gap-ms", "20")];
    for _ in 0..2 {
        let lost = Streams::open(std::slice::from_ref(&channel), 4, &gap);
        cluster.proxies[0].process.kill();
        assert!(lost.ended().iter().all(Result::is_err));
        cluster.engines[0].until_stats("no call is left", |stats| stats.concurrent_now == 0);
        cluster.proxies[0].start_again();
        cluster.in_sync();
        until("it serves again", || {
            grpc::block_on(grpc::echo(channel.clone()).ping(grpc::ping())).map(drop)
        });
    }
    let streams = Streams::open(std::slice::from_ref(&channel), 4, &gap);
    for end in streams.finish() {
        end.unwrap();
    }
    let stats = cluster.engines[0].stats();
    assert!(stats.max_concurrent_seen <= 4, "{stats:?}");
}
