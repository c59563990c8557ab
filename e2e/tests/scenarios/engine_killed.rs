//! An engine dies in the middle of calls: the callers are told, and its slots come back.

use pigeon_e2e::{Cluster, Transport, grpc};
use tonic::Code;

use crate::streams::Streams;

over_both_transports!(
    an_engine_killed_mid_stream_gives_unavailable_and_its_slots_come_back,
    the_other_engine_takes_over,
);

fn an_engine_killed_mid_stream_gives_unavailable_and_its_slots_come_back(transport: Transport) {
    let mut cluster = Cluster::over(transport, 1, 1);
    cluster.add_engine("demo", &["--pool", "strict", "--slots", "4"]);
    cluster.add_demo_routes("demo");
    cluster.in_sync();
    let channel = grpc::channel(cluster.proxies[0].address());
    let open = || Streams::open(std::slice::from_ref(&channel), 4, &[("demo-gap-ms", "20")]);

    for round in 0..3 {
        let streams = open();
        cluster.until_engine("demo", "4 slots are in use", |status| status["in_use"] == 4);
        cluster.engines[0].process.kill();
        for end in streams.ended() {
            let status = end.expect_err("the engine is gone");
            assert_eq!(status.code(), Code::Unavailable, "round {round}: {status:?}");
        }
        cluster.until_engine("demo", "no slot is in use", |status| status["in_use"] == 0);

        // While it is away calls fail at once, with the reason, and hold nothing.
        let status = grpc::block_on(grpc::echo(channel.clone()).ping(grpc::ping())).unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(
            ["connect_failed", "no_endpoint"].contains(&grpc::reason(&status)),
            "the reason is {:?}",
            grpc::reason(&status)
        );

        // All four slots are there again.
        cluster.engines[0].start_again();
        pigeon_e2e::until("calls succeed again", || {
            grpc::block_on(grpc::echo(channel.clone()).ping(grpc::ping())).map(drop)
        });
        for end in open().finish() {
            end.unwrap();
        }
    }
    let status = cluster.until_engine("demo", "nothing is held", |status| status["in_use"] == 0);
    assert_eq!(status["waiting"], 0, "{status}");
}

/// With a second engine the calls that come after go there.
fn the_other_engine_takes_over(transport: Transport) {
    let mut cluster = Cluster::with_demo_routes_over(transport, 1, 2);
    let channel = grpc::channel(cluster.proxies[0].address());
    cluster.engines[0].process.kill();
    let mut refused = 0;
    for _ in 0..50 {
        match grpc::block_on(grpc::echo(channel.clone()).ping(grpc::ping())) {
            Ok(reply) => assert_eq!(reply.into_inner().engine, "demo-2"),
            // A call that was on its way when the connection broke may fail; one that was never sent
            // must not.
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                refused += 1;
            }
        }
    }
    assert!(refused <= 1, "{refused} of 50 calls failed though demo-2 is well");
}
