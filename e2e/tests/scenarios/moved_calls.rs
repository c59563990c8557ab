//! Calls that an engine certainly has not seen go elsewhere: nobody notices that it refused them, or is
//! about to leave.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pigeon_e2e::{Cluster, Scripted, Transport, Wire, frames, grpc};
use tonic::{Code, Status};

over_both_transports!(
    goaway_under_load_fails_no_call,
    refused_streams_are_tried_elsewhere,
    a_stream_refused_once_is_tried_again_at_the_same_engine,
    an_engine_that_refuses_everything_is_given_up,
    an_engines_limit_of_streams_is_respected,
);

const REFUSED_STREAM: u32 = 7;

/// Calls over several connections, at most `at_once` at a time; those that failed.
fn load(cluster: &Cluster, calls: usize, at_once: usize) -> Vec<Status> {
    let to = cluster.proxies[0].address();
    let left = Arc::new(AtomicUsize::new(calls));
    let tasks: Vec<_> = (0..at_once)
        .map(|_| {
            let (channel, left) = (grpc::channel(to), Arc::clone(&left));
            let take = move || {
                let taken = |n: usize| n.checked_sub(1);
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
            };
            grpc::runtime().spawn(async move {
                let mut failed = Vec::new();
                while take() {
                    let mut request = tonic::Request::new(grpc::ping());
                    request.set_timeout(Duration::from_secs(30));
                    failed.extend(grpc::echo(channel.clone()).ping(request).await.err());
                }
                failed
            })
        })
        .collect();
    grpc::block_on(async {
        let mut failed = Vec::new();
        for task in tasks {
            failed.extend(task.await.unwrap());
        }
        failed
    })
}

fn none_failed(failed: &[Status], calls: usize) {
    assert!(failed.is_empty(), "{} of {calls} calls failed: {:?}", failed.len(), failed[0]);
}

/// The engine says after every twenty calls of a connection that it takes no more there, while more are
/// on their way.
fn goaway_under_load_fails_no_call(transport: Transport) {
    let left = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&left);
    let engine = Scripted::start(move |socket| {
        let mut wire = Wire::accept(socket, &[])?;
        for _ in 0..19 {
            let stream = wire.request()?;
            wire.answer(stream)?;
        }
        let last = wire.request()?;
        count.fetch_add(1, Ordering::Relaxed);
        wire.send(&frames::goaway(last, 0))?;
        wire.answer(last)?;
        // It still owes an answer to what began before; whatever came later is none of its business.
        loop {
            let stream = wire.request()?;
            if stream < last {
                wire.answer(stream)?;
            }
        }
    });
    let cluster = Cluster::over(transport, 1, 1);
    let endpoints = [engine.address(), cluster.engines[0].address()];
    cluster.add_demo_at(&endpoints, &["--lb", "random"]);
    none_failed(&load(&cluster, 1_500, 32), 1_500);
    assert!(left.load(Ordering::Relaxed) > 5, "{left:?} connections were left");
    cluster.until_idle();
    assert!(cluster.engines[0].stats().calls > 100, "{:?}", cluster.engines[0].stats());
}

/// An engine that refuses the streams for which `refuses` says so, and answers the others.
fn refusing(
    refuses: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> (Scripted, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let engine = Scripted::start(move |socket| {
        let mut wire = Wire::accept(socket, &[])?;
        loop {
            let stream = wire.request()?;
            if refuses(count.fetch_add(1, Ordering::Relaxed)) {
                wire.send(&frames::reset(stream, REFUSED_STREAM))?;
            } else {
                wire.answer(stream)?;
            }
        }
    });
    (engine, seen)
}

fn refused_streams_are_tried_elsewhere(transport: Transport) {
    let (engine, seen) = refusing(|_| true);
    let cluster = Cluster::over(transport, 1, 1);
    let endpoints = [engine.address(), cluster.engines[0].address()];
    cluster.add_demo_at(&endpoints, &["--lb", "random"]);
    none_failed(&load(&cluster, 200, 4), 200);
    assert!(seen.load(Ordering::Relaxed) > 10, "it was tried {seen:?} times");
    assert_eq!(cluster.engines[0].stats().calls, 200);
    cluster.until_idle();
}

fn a_stream_refused_once_is_tried_again_at_the_same_engine(transport: Transport) {
    let (engine, seen) = refusing(|n| n % 2 == 0);
    let cluster = Cluster::over(transport, 1, 0);
    let strict = ["--pool", "strict", "--slots", "1", "--queue", "10"];
    cluster.add_demo_at(&[engine.address()], &strict);
    none_failed(&load(&cluster, 20, 1), 20);
    assert_eq!(seen.load(Ordering::Relaxed), 40, "every call was refused once");
    cluster.until_idle();
}

/// With no other engine to go to, and no end of refusals, the caller is told.
fn an_engine_that_refuses_everything_is_given_up(transport: Transport) {
    let (engine, seen) = refusing(|_| true);
    let cluster = Cluster::over(transport, 1, 0);
    cluster.add_demo_at(&[engine.address()], &["--pool", "strict", "--slots", "1"]);
    for status in load(&cluster, 5, 1) {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(grpc::reason(&status), "engine_reset", "{status:?}");
    }
    let seen = seen.load(Ordering::Relaxed);
    assert!((5..=20).contains(&seen), "5 calls, at most 3 more tries each: {seen}");
    cluster.until_idle();
}

/// SETTINGS_MAX_CONCURRENT_STREAMS 2: more calls open more connections or wait, and none fails.
fn an_engines_limit_of_streams_is_respected(transport: Transport) {
    const LIMIT: usize = 2;
    let (most, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, beyond) = (Arc::clone(&most), Arc::clone(&over));
    let engine = Scripted::start(move |socket| {
        let mut wire = Wire::accept(socket, &[(3, 2)])?;
        let (mut open, mut complete, mut told) = (HashSet::new(), Vec::new(), false);
        loop {
            let frame = wire.frame()?;
            // Until it has the SETTINGS, the other side need not know the limit.
            told |= frame.kind == frames::SETTINGS && frame.flags & frames::ACK != 0;
            if frame.kind == frames::HEADERS {
                open.insert(frame.stream);
                if told && open.len() > LIMIT {
                    beyond.fetch_add(1, Ordering::Relaxed);
                }
            }
            if frame.ends() {
                complete.push(frame.stream);
            }
            seen.fetch_max(open.len(), Ordering::Relaxed);
            // Answered only when all that came is read, so that the limit is reached.
            while !wire.has_more()?
                && let Some(stream) = complete.pop()
            {
                open.remove(&stream);
                wire.answer(stream)?;
            }
        }
    });
    let cluster = Cluster::over(transport, 1, 0);
    cluster.add_demo_at(&[engine.address()], &[]);
    none_failed(&load(&cluster, 200, 20), 200);
    assert!(most.load(Ordering::Relaxed) >= LIMIT, "the limit was reached: {most:?}");
    assert_eq!(over.load(Ordering::Relaxed), 0, "at most {most:?} streams at once on a connection");
    cluster.until_idle();
}
