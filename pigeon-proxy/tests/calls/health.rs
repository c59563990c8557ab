//! Checks of endpoints that are well, ill, something else, or silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pigeon_proxy::engine::State;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use super::support::*;

/// A gateway whose endpoints are checked.
async fn checked(text: &str) -> (Rig, DropGuard) {
    let rig = Rig::start(Path::Relay, &(text.to_owned() + ROUTES)).await;
    let stop = CancellationToken::new();
    tokio::spawn(pigeon_proxy::health::run(Arc::clone(&rig.gateway), stop.clone()));
    (rig, stop.drop_guard())
}

fn with_check(endpoints: &[SocketAddr], check: &str) -> String {
    let health = format!("{{check: '{check}', interval: 100ms, timeout: 500ms, down: 2}}");
    engine(endpoints, &format!("health: {health}"))
}

/// A server of grpc.health.v1 alone.
async fn health_server() -> (SocketAddr, HealthReporter, AbortHandle) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reporter, service) = health_reporter();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let served = Server::builder().add_service(service).serve_with_incoming(incoming);
    (address, reporter, tokio::spawn(served).abort_handle())
}

/// What says this to everyone who connects and has sent something, and counts them.
async fn speaker(words: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut bytes = [0; 1024];
                let _ = socket.read(&mut bytes).await;
                let _ = socket.write_all(words.as_bytes()).await;
            });
        }
    });
    (address, count)
}

/// A server of gRPC that has none of the services it is asked for, and how often it was asked.
async fn grpc_without_health() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            let answer = service_fn(move |_: http::Request<Incoming>| {
                counted.fetch_add(1, Ordering::Relaxed);
                let answer = http::Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", "12")
                    .body(Empty::<Bytes>::new());
                std::future::ready(answer)
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(socket), answer);
            tokio::spawn(connection);
        }
    });
    (address, count)
}

fn is(state: State, reason: &str) -> impl FnMut(&pigeon_proxy::gateway::EngineUsage) -> bool {
    move |usage| usage.endpoints[0].state == state && usage.endpoints[0].reason == reason
}

#[tokio::test]
async fn what_grpc_health_says_decides() {
    let (address, reporter, _server) = health_server().await;
    let (rig, _stop) = checked(&with_check(&[address], "grpc")).await;
    rig.until(is(State::Healthy, "")).await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    rig.until(is(State::Unhealthy, "grpc.health.v1 says NOT_SERVING")).await;
    let status = rig.echo().ping(ping()).await.unwrap_err();
    assert_eq!(reason(&status), Some("no_endpoint"));
    let labels =
        format!(r#"{{cause="check",endpoint="{address}",engine="e",state="unhealthy"}} 1"#);
    assert!(rig.metrics.render().contains(&format!("pigeon_endpoint_state{labels}")));
    reporter.set_service_status("", ServingStatus::Serving).await;
    rig.until(is(State::Healthy, "")).await;
    // Another service of the same server, by a change of the settings.
    rig.install(&(with_check(&[address], "grpc:speech") + ROUTES));
    rig.until(is(State::Unhealthy, "grpc.health.v1 does not know the service speech")).await;
    reporter.set_service_status("speech", ServingStatus::Serving).await;
    rig.until(is(State::Healthy, "")).await;
    reporter.set_service_status("speech", ServingStatus::NotServing).await;
    rig.until(is(State::Unhealthy, "grpc.health.v1 says NOT_SERVING")).await;
    // Without checks nothing is held against it any more.
    rig.install(&(with_check(&[address], "none") + ROUTES));
    rig.until(is(State::Healthy, "")).await;
}

#[tokio::test]
async fn auto_asks_grpc_where_it_can() {
    let (address, reporter, server) = health_server().await;
    let (rig, _stop) = checked(&with_check(&[address], "auto")).await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    rig.until(is(State::Unhealthy, "grpc.health.v1 says NOT_SERVING")).await;
    reporter.set_service_status("", ServingStatus::Serving).await;
    rig.until(is(State::Healthy, "")).await;
    server.abort();
    rig.until(|u| u.endpoints[0].reason.contains("cannot be reached")).await;
    assert_eq!(rig.usage().endpoints[0].state, State::Unhealthy);
}

#[tokio::test]
async fn auto_is_content_with_a_connection_where_nothing_else_is_spoken() {
    let (http1, asked) = speaker("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let (mute, asked_too) = speaker("").await;
    let (rig, _stop) = checked(&with_check(&[http1, mute], "auto")).await;
    // Twice as many checks as would be held against them.
    eventually(|| asked.load(Ordering::Relaxed) >= 4 && asked_too.load(Ordering::Relaxed) >= 4)
        .await;
    assert!(rig.usage().endpoints.iter().all(|e| e.state == State::Healthy));
    let (bare, asked) = grpc_without_health().await;
    rig.install(&(with_check(&[bare], "auto") + ROUTES));
    eventually(|| asked.load(Ordering::Relaxed) >= 1).await;
    rig.until(is(State::Healthy, "")).await;
    rig.install(&(with_check(&[bare], "grpc") + ROUTES));
    let words = "grpc.health.v1 answers UNIMPLEMENTED; set health.check to auto or tcp";
    rig.until(is(State::Unhealthy, words)).await;
}

#[tokio::test]
async fn a_path_is_up_by_its_status() {
    let (good, _) = speaker("HTTP/1.1 204 No Content\r\n\r\n").await;
    let (bad, _) = speaker("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
    let (rig, _stop) = checked(&with_check(&[bad, good], "http:/up")).await;
    rig.until(is(State::Unhealthy, "GET /up says 503")).await;
    assert_eq!(rig.usage().endpoints[1].state, State::Healthy);
    rig.install(&(with_check(&[bad, good], "tcp") + ROUTES));
    rig.until(is(State::Healthy, "")).await;
}

#[tokio::test]
async fn a_check_that_gets_no_answer_ends() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let silent = listener.local_addr().unwrap();
    let (rig, _stop) = checked(&with_check(&[silent], "http:/up")).await;
    rig.until(is(State::Unhealthy, "no answer within 500ms")).await;
}

#[tokio::test]
async fn failed_calls_eject_and_are_counted() {
    let (good, bad) = (demo().await, demo().await);
    let text = strict(&[bad.address, good.address], 8, "");
    let text = text.replace("pool:", "balance: round_robin, pool:");
    let (rig, _stop) = checked(&text).await;
    // Whichever has failed five in a row first; the other one must stay.
    for _ in 0..20 {
        rig.echo().ping(with(ping(), &[("demo-fail", "14")])).await.unwrap_err();
    }
    rig.until(|u| u.endpoints.iter().any(|e| e.state == State::Ejected)).await;
    let usage = rig.usage();
    let ejected: Vec<_> = usage.endpoints.iter().filter(|e| e.state == State::Ejected).collect();
    assert_eq!(ejected.len(), 1, "half of two");
    let reason = "5 calls in a row failed, last: gRPC UNAVAILABLE; ejected for 30s";
    assert_eq!((ejected[0].reason.as_str(), ejected[0].failures), (reason, 5));
    assert_eq!(usage.endpoints.iter().map(|e| e.failures).sum::<u64>(), 20);
    assert_eq!(usage.failures, 0, "the gateway did what it should");
    let before = ejected[0].calls;
    for _ in 0..10 {
        rig.echo().ping(ping()).await.unwrap();
    }
    let usage = rig.usage();
    let at = usage.endpoints.iter().find(|e| e.state == State::Ejected).unwrap();
    assert_eq!(at.calls, before);
    assert!(usage.first_message.iter().sum::<u32>() >= 10);
}
