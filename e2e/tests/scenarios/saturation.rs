//! More calls than slots: they wait in order, and those that wait too long are told so.

use std::time::Duration;

use pigeon_e2e::{Cluster, Engine, Transport, grpc};
use pigeon_proto::demo::v1::PingReply;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

over_both_transports!(
    forty_calls_share_four_slots_and_all_succeed,
    calls_that_wait_too_long_are_told_saturated,
    a_full_queue_refuses_at_once,
    callers_that_give_up_hold_nothing,
);

const CALLS: usize = 40;

fn cluster(transport: Transport) -> Cluster {
    let mut cluster = Cluster::over(transport, 1, 0);
    // The engine itself refuses a fifth call, so one slot too many would also fail a call.
    cluster.engines.push(Engine::start("demo-1", &["--slots", "4"]));
    let strict = ["--pool", "strict", "--slots", "4", "--queue", "64", "--queue-timeout", "20s"];
    cluster.add_engine("demo", &strict);
    cluster.add_demo_routes("demo");
    cluster.in_sync();
    cluster
}

/// Calls at once, over several connections.
fn calls(cluster: &Cluster, delay_ms: &'static str) -> Vec<Result<Response<PingReply>, Status>> {
    let to = cluster.proxies[0].address();
    let channels: Vec<_> = (0..4).map(|_| grpc::channel(to)).collect();
    let tasks: Vec<_> = channels
        .iter()
        .cycle()
        .take(CALLS)
        .map(|channel| {
            let mut echo = grpc::echo(channel.clone());
            let request = grpc::with(grpc::ping(), &[("demo-delay-ms", delay_ms)]);
            grpc::runtime().spawn(async move { echo.ping(request).await })
        })
        .collect();
    grpc::block_on(async {
        let mut results = Vec::new();
        for task in tasks {
            let waited = tokio::time::timeout(Duration::from_secs(30), task).await;
            results.push(waited.expect("a call ends").unwrap());
        }
        results
    })
}

fn check_refused(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(grpc::reason(status), "saturated", "{status:?}");
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert!(!info.reason.is_empty() && !info.domain.is_empty(), "{info:?}");
}

fn forty_calls_share_four_slots_and_all_succeed(transport: Transport) {
    let cluster = cluster(transport);
    for result in calls(&cluster, "50") {
        result.unwrap();
    }
    let stats = cluster.engines[0].stats();
    assert_eq!(stats.calls, CALLS as u64, "{stats:?}");
    assert_eq!(stats.max_concurrent_seen, 4, "all slots are used, and none too many: {stats:?}");
    let status = cluster.until_engine("demo", "nothing is held", |status| {
        status["in_use"] == 0 && status["calls"] == CALLS
    });
    assert_eq!(status["slots"], 4, "{status}");
    assert_eq!(status["waiting"], 0, "{status}");
}

fn calls_that_wait_too_long_are_told_saturated(transport: Transport) {
    let cluster = cluster(transport);
    cluster.ctl.ok(&["engine", "set", "demo", "--queue-timeout", "100ms"]);
    cluster.in_sync();
    let results = calls(&cluster, "1500");
    let refused: Vec<&Status> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!(refused.len(), CALLS - 4, "four have a slot, the others wait in vain");
    for status in refused {
        check_refused(status);
    }
    let stats = cluster.engines[0].until_stats("it is idle", |stats| stats.concurrent_now == 0);
    assert_eq!((stats.calls, stats.max_concurrent_seen), (4, 4), "{stats:?}");
    let none = |status: &serde_json::Value| status["in_use"] == 0 && status["waiting"] == 0;
    cluster.until_engine("demo", "nobody holds or waits", none);
    for result in calls(&cluster, "0") {
        result.unwrap();
    }
}

fn a_full_queue_refuses_at_once(transport: Transport) {
    let cluster = cluster(transport);
    cluster.ctl.ok(&["engine", "set", "demo", "--queue", "2"]);
    cluster.in_sync();
    let results = calls(&cluster, "500");
    let (done, refused): (Vec<_>, Vec<_>) = results.iter().partition(|result| result.is_ok());
    assert_eq!((done.len(), refused.len()), (6, CALLS - 6), "4 slots, 2 waiters");
    for result in refused {
        check_refused(result.as_ref().unwrap_err());
    }
}

/// Callers that give up leave the queue, and the slots of those cancelled come back.
fn callers_that_give_up_hold_nothing(transport: Transport) {
    let cluster = cluster(transport);
    let channel = grpc::channel(cluster.proxies[0].address());
    let tasks: Vec<_> = (0..CALLS)
        .map(|_| {
            let mut echo = grpc::echo(channel.clone());
            let request = grpc::with(grpc::ping(), &[("demo-delay-ms", "60000")]);
            grpc::runtime().spawn(async move { echo.ping(request).await })
        })
        .collect();
    cluster.until_engine("demo", "4 have a slot, the others wait", |status| {
        status["in_use"] == 4 && status["waiting"] == CALLS - 4
    });
    for task in &tasks {
        task.abort();
    }
    cluster.until_engine("demo", "nobody holds or waits", |status| {
        status["in_use"] == 0 && status["waiting"] == 0
    });
    let stats = cluster.engines[0].until_stats("it is idle", |stats| stats.concurrent_now == 0);
    assert_eq!(stats.max_concurrent_seen, 4, "{stats:?}");
    for result in calls(&cluster, "0") {
        result.unwrap();
    }
    assert_eq!(cluster.engines[0].stats().max_concurrent_seen, 4);
}
