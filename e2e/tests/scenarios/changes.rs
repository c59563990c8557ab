//! Ten thousand routes, changed as fast as the admin takes it, under load: not one call fails.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pigeon_e2e::{Cluster, Transport, grpc, until};
use tonic::Status;

use crate::streams::Streams;

over_both_transports!(ten_thousand_routes_that_change_under_load_fail_no_call);

const ROUTES: usize = 10_000;
const CHANGES: usize = 60;
const CALLERS: usize = 8;

fn ten_thousand_routes_that_change_under_load_fail_no_call(transport: Transport) {
    let cluster = Cluster::with_demo_routes_over(transport, 1, 2);
    add_routes(&cluster);
    let channels: Vec<_> = (0..4).map(|_| grpc::channel(cluster.proxies[0].address())).collect();
    let mut streams = Streams::open(&channels, 20, &[("demo-gap-ms", "50")]);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = channels
        .iter()
        .cycle()
        .take(CALLERS)
        .map(|channel| {
            let (channel, stop, done) = (channel.clone(), Arc::clone(&stop), Arc::clone(&done));
            grpc::runtime().spawn(call_until(channel, stop, done))
        })
        .collect();
    until("calls run", || {
        let calls = done.load(Ordering::Relaxed);
        if calls > 50 { Ok(()) } else { Err(calls) }
    });

    let before = done.load(Ordering::Relaxed);
    change(&cluster);
    cluster.in_sync();
    let during = done.load(Ordering::Relaxed) - before;
    streams.progress("every stream goes on");
    stop.store(true, Ordering::Relaxed);
    let failed: Vec<Status> =
        callers.into_iter().flat_map(|caller| grpc::block_on(caller).unwrap()).collect();
    assert!(failed.is_empty(), "{} of {during} calls failed: {:?}", failed.len(), failed[0]);
    assert!(during > CHANGES, "{during} calls during {CHANGES} changes");
    for end in streams.finish() {
        end.unwrap();
    }
    cluster.until_idle();
}

fn add_routes(cluster: &Cluster) {
    let mut text = String::new();
    for n in 0..ROUTES {
        let _ = writeln!(
            text,
            "---\nkind: route\nname: r{n}\nspec: {{match: {{path: /r/{n}}}, engine: demo}}"
        );
    }
    let file = cluster.dir.path().join("routes.yaml");
    std::fs::write(&file, text).unwrap();
    cluster.ctl.ok(&["apply", "-f", file.to_str().unwrap()]);
    cluster.in_sync();
}

/// The routes and the engine that the calls use, too, and not only their neighbours.
fn change(cluster: &Cluster) {
    let patch = |path: String, spec: &str| {
        let body = format!("{{\"spec\": {spec}}}");
        let headers = [("content-type", "application/merge-patch+json")];
        let reply = cluster.admin.send("PATCH", &path, &headers, body.as_bytes()).unwrap();
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    };
    for n in 0..CHANGES {
        match n % 4 {
            0 => patch(format!("/v1/routes/r{n}"), &format!("{{\"priority\": {n}}}")),
            1 => patch("/v1/routes/echo".to_owned(), &format!("{{\"priority\": {n}}}")),
            2 => {
                let balance = if n % 8 < 4 { "random" } else { "least_connections" };
                patch("/v1/engines/demo".to_owned(), &format!("{{\"balance\": \"{balance}\"}}"));
            }
            _ => {
                let seconds = 100 + n;
                patch("/v1/routes/echo".to_owned(), &format!("{{\"timeout\": \"{seconds}s\"}}"));
            }
        }
    }
}

async fn call_until(
    channel: tonic::transport::Channel,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> Vec<Status> {
    let mut failed = Vec::new();
    let mut echo = grpc::echo(channel);
    while !stop.load(Ordering::Relaxed) {
        let mut request = tonic::Request::new(grpc::ping());
        request.set_timeout(Duration::from_secs(60));
        failed.extend(echo.ping(request).await.err());
        done.fetch_add(1, Ordering::Relaxed);
    }
    failed
}
