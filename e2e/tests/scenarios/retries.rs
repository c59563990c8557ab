//! What a route says about trying again: on which ends of a call, how often, and within which budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pigeon_e2e::{Cluster, Scripted, Transport, Wire, frames, grpc};
use pigeon_proto::demo::v1::PingReply;
use tonic::{Code, Response, Status};

over_both_transports!(
    a_status_that_the_route_lists_is_tried_again,
    a_status_that_it_does_not_list_is_the_callers,
    a_reset_before_the_answer_is_tried_again_if_the_route_says_so,
    a_call_whose_answer_has_begun_is_never_tried_again,
    the_budget_bounds_what_an_engine_that_is_down_gets,
);

/// How the scripted engine ends a call.
#[derive(Clone, Copy)]
enum End {
    Well,
    /// Trailers only.
    Unavailable,
    /// RST_STREAM INTERNAL_ERROR before the head.
    Reset,
    /// The same after the head.
    ResetLate,
}

/// An engine whose n-th call ends as `end` says.
fn engine(end: impl Fn(usize) -> End + Send + Sync + 'static) -> (Scripted, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let engine = Scripted::start(move |socket| {
        let mut wire = Wire::accept(socket, &[])?;
        loop {
            let stream = wire.request()?;
            match end(count.fetch_add(1, Ordering::Relaxed)) {
                End::Well => wire.answer(stream)?,
                End::Unavailable => {
                    let mut block = vec![0x88];
                    frames::literal(&mut block, "content-type", "application/grpc");
                    frames::literal(&mut block, "grpc-status", "14");
                    wire.send(&frames::frame(frames::HEADERS, 5, stream, &block))?;
                }
                End::Reset => wire.send(&frames::reset(stream, 2))?,
                End::ResetLate => {
                    wire.send(&frames::grpc_head(stream, &[]))?;
                    wire.send(&frames::reset(stream, 2))?;
                }
            }
        }
    });
    (engine, seen)
}

/// One proxy, this one engine, and what the route says about trying again.
fn cluster(transport: Transport, engine: &Scripted, retry: &str) -> Cluster {
    let cluster = Cluster::over(transport, 1, 0);
    cluster.add_demo_at(&[engine.address()], &["--pool", "strict", "--slots", "2"]);
    let body = format!("{{\"spec\": {{\"retry\": {retry}}}}}");
    let headers = [("content-type", "application/merge-patch+json")];
    let reply = cluster.admin.send("PATCH", "/v1/routes/echo", &headers, body.as_bytes()).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    cluster.in_sync();
    cluster
}

/// Calls one after the other.
fn calls(cluster: &Cluster, count: usize) -> Vec<Result<Response<PingReply>, Status>> {
    let channel = grpc::channel(cluster.proxies[0].address());
    let call = |_| {
        let mut request = tonic::Request::new(grpc::ping());
        request.set_timeout(Duration::from_secs(30));
        grpc::block_on(grpc::echo(channel.clone()).ping(request))
    };
    let results = (0..count).map(call).collect();
    cluster.until_idle();
    results
}

fn a_status_that_the_route_lists_is_tried_again(transport: Transport) {
    let (engine, seen) = engine(|n| if n % 3 < 2 { End::Unavailable } else { End::Well });
    let retry = r#"{"attempts": 2, "on": ["UNAVAILABLE"], "budget": 100, "backoff": "1ms"}"#;
    // One call: two more tries of every one are above any budget, but three in 10 s are free.
    let cluster = cluster(transport, &engine, retry);
    for result in calls(&cluster, 1) {
        result.unwrap();
    }
    assert_eq!(seen.load(Ordering::Relaxed), 3, "the third try of the call went well");
}

fn a_status_that_it_does_not_list_is_the_callers(transport: Transport) {
    let (engine, seen) = engine(|_| End::Unavailable);
    let retry = r#"{"attempts": 3, "on": ["ABORTED", "reset"], "budget": 100}"#;
    let cluster = cluster(transport, &engine, retry);
    for result in calls(&cluster, 5) {
        let status = result.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(grpc::reason(&status), "", "it is the engine's own: {status:?}");
    }
    assert_eq!(seen.load(Ordering::Relaxed), 5);
}

fn a_reset_before_the_answer_is_tried_again_if_the_route_says_so(transport: Transport) {
    let (engine, seen) = engine(|n| if n % 2 == 0 { End::Reset } else { End::Well });
    let retry = r#"{"attempts": 1, "on": ["reset"], "budget": 100, "backoff": "1ms"}"#;
    let cluster = cluster(transport, &engine, retry);
    for result in calls(&cluster, 20) {
        result.unwrap();
    }
    assert_eq!(seen.load(Ordering::Relaxed), 40, "every call was tried twice");
}

fn a_call_whose_answer_has_begun_is_never_tried_again(transport: Transport) {
    let (engine, seen) = engine(|_| End::ResetLate);
    let retry = r#"{"attempts": 3, "on": ["reset", "INTERNAL", "UNAVAILABLE"], "budget": 100}"#;
    let cluster = cluster(transport, &engine, retry);
    for result in calls(&cluster, 5) {
        assert_eq!(result.unwrap_err().code(), Code::Internal);
    }
    assert_eq!(seen.load(Ordering::Relaxed), 5);
}

/// 20 % of the calls of the last 10 s, and three in any case.
fn the_budget_bounds_what_an_engine_that_is_down_gets(transport: Transport) {
    const CALLS: usize = 100;
    let (engine, seen) = engine(|_| End::Unavailable);
    let retry = r#"{"attempts": 3, "on": ["UNAVAILABLE"], "budget": 20, "backoff": "1ms"}"#;
    let cluster = cluster(transport, &engine, retry);
    let failed = calls(&cluster, CALLS).iter().filter(|result| result.is_err()).count();
    assert_eq!(failed, CALLS);
    let more = seen.load(Ordering::Relaxed) - CALLS;
    assert!((1..=CALLS / 5 + 3).contains(&more), "{more} more tries of {CALLS} calls");
}
