//! Storms of calls that end in every way there is, most of them by their callers: no endpoint ever has a
//! call more than slots, and no slot is lost.

use std::time::Duration;

use pigeon_e2e::{Cluster, Engine, Transport, grpc};
use tonic::Code;
use tonic::transport::Channel;

over_both_transports!(slots_are_never_exceeded_and_never_lost);

const SLOTS: u32 = 4;
const ROUNDS: u64 = 6;
const CALLS: u64 = 150;

/// Numbers that repeat on every run (splitmix64), so that a failure does, too.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One call: quick, slow, failing, cut by its deadline, or given up by the caller after some time.
async fn call(channel: Channel, number: u64) -> Option<Code> {
    let dice = mix(number);
    let delay = ((dice >> 8) % 60).to_string();
    let mut knobs = vec![("demo-delay-ms", delay.as_str())];
    if dice.is_multiple_of(5) {
        knobs.push(("demo-fail", "9"));
    }
    let mut request = grpc::with(grpc::ping(), &knobs);
    if dice % 5 == 1 {
        request.set_timeout(Duration::from_millis(1 + (dice >> 16) % 60));
    }
    let mut echo = grpc::echo(channel);
    let ping = echo.ping(request);
    let patience = match dice % 5 {
        // Gives up; at 0 ms before the call is even sent.
        2 | 3 => Duration::from_millis((dice >> 24) % 50),
        _ => Duration::from_secs(60),
    };
    match tokio::time::timeout(patience, ping).await {
        Ok(Ok(_)) => Some(Code::Ok),
        Ok(Err(status)) => Some(status.code()),
        Err(_) => None,
    }
}

fn slots_are_never_exceeded_and_never_lost(transport: Transport) {
    let mut cluster = Cluster::over(transport, 1, 0);
    // The engines refuse a fifth call by themselves, and that is a failure below.
    let refuse = ["--slots", "4"];
    cluster.engines = ["demo-1", "demo-2"].map(|name| Engine::start(name, &refuse)).into();
    let strict = ["--pool", "strict", "--slots", "4", "--queue", "1000", "--queue-timeout", "60s"];
    cluster.add_engine("demo", &strict);
    cluster.add_demo_routes("demo");
    cluster.in_sync();
    let to = cluster.proxies[0].address();
    // These stay open to the end: nothing may be waiting for its connection to be closed.
    let channels: Vec<Channel> = (0..6).map(|_| grpc::channel(to)).collect();
    let mut ends = std::collections::BTreeMap::new();
    for round in 0..ROUNDS {
        let calls =
            channels.iter().cycle().zip(0..CALLS).map(|(channel, n)| {
                grpc::runtime().spawn(call(channel.clone(), round * CALLS + n))
            });
        let calls: Vec<_> = calls.collect();
        for end in calls {
            *ends.entry(format!("{:?}", grpc::block_on(end).unwrap())).or_insert(0) += 1;
        }
        cluster.until_idle();
    }
    for engine in &cluster.engines {
        let stats = engine.until_stats("it is idle", |stats| stats.concurrent_now == 0);
        assert_eq!(stats.max_concurrent_seen, SLOTS, "all slots, and none too many: {stats:?}");
        assert!(stats.cancelled > 0, "{stats:?}");
    }
    // RESOURCE_EXHAUSTED is an engine with a call too many, or a queue that was long enough.
    let known = [
        "Some(Ok)",
        "Some(FailedPrecondition)",
        "Some(Cancelled)",
        "Some(DeadlineExceeded)",
        "None",
    ];
    let strange: Vec<_> = ends.iter().filter(|(end, _)| !known.contains(&end.as_str())).collect();
    assert!(strange.is_empty(), "{ends:?}");
    assert!(ends["Some(Ok)"] > 100 && ends["None"] > 50, "{ends:?}");
    // Every slot is there.
    let all = 2 * SLOTS as usize;
    let streams = crate::streams::Streams::open(&channels, all, &[("demo-gap-ms", "5")]);
    for end in streams.finish() {
        end.unwrap();
    }
}
