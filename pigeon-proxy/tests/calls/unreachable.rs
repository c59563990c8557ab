//! Endpoints that cannot be reached, and engines without any.

use std::net::SocketAddr;

use tonic::Code;

use super::support::*;

on_both_paths! {
    a_call_goes_on_to_the_endpoint_that_answers,
    a_call_with_one_endpoint_full_and_the_other_gone_waits_for_the_first,
    nothing_reachable_is_connect_failed,
    a_dial_that_hangs_ends_with_its_timeout,
    an_engine_without_endpoints,
    an_engine_that_comes_back_is_found_again,
}

/// An address nobody listens on.
fn nobody() -> SocketAddr {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    socket.local_addr().unwrap()
}

async fn a_call_goes_on_to_the_endpoint_that_answers(path: Path) {
    let demo = demo().await;
    let endpoints = [nobody(), demo.address, nobody()];
    let rig = Rig::start(path, &(strict(&endpoints, 2, ", queue: 9") + ROUTES)).await;
    for _ in 0..20 {
        rig.echo().ping(ping()).await.unwrap();
        let hello = rig.raw("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(hello.starts_with("HTTP/1.1 200 "), "{hello}");
    }
    rig.until_free().await;
    assert_eq!(rig.usage().failures, 0);
}

async fn a_call_with_one_endpoint_full_and_the_other_gone_waits_for_the_first(path: Path) {
    let demo = demo().await;
    let pool = ", queue: 9, queue_timeout: 20s";
    let rig = Rig::start(path, &(strict(&[nobody(), demo.address], 1, pool) + ROUTES)).await;
    let calls: Vec<_> = (0..6)
        .map(|_| {
            let mut client = rig.echo();
            tokio::spawn(async move { client.ping(with(ping(), &[("demo-delay-ms", "20")])).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(demo.stats.read().max_concurrent_seen, 1);
    rig.until_free().await;
}

async fn nothing_reachable_is_connect_failed(path: Path) {
    let rig = Rig::start(path, &(strict(&[nobody(), nobody()], 1, "") + ROUTES)).await;
    let status = rig.echo().ping(ping()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::Unavailable, Some("connect_failed")));
    let answer = rig.raw("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("pigeon-reason: connect_failed"), "{answer}");
    rig.until_free().await;
    assert_eq!(rig.usage().failures, 2);
}

async fn a_dial_that_hangs_ends_with_its_timeout(path: Path) {
    // A full backlog: the system answers no more.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut fillers = Vec::new();
    for _ in 0..4 {
        let filler = tokio::net::TcpStream::connect(address);
        fillers.push(tokio::time::timeout(std::time::Duration::from_millis(50), filler).await);
    }
    let rig = Rig::start(path, &(strict(&[address], 1, ", dial_timeout: 100ms") + ROUTES)).await;
    let status = rig.echo().ping(ping()).await.unwrap_err();
    assert_eq!(reason(&status), Some("connect_failed"));
    rig.until_free().await;
}

async fn an_engine_without_endpoints(path: Path) {
    let rig = Rig::start(path, &(engine(&[], "") + ROUTES)).await;
    let status = rig.echo().ping(ping()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::Unavailable, Some("no_endpoint")));
    let answer = rig.raw("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

async fn an_engine_that_comes_back_is_found_again(path: Path) {
    let mut first = demo().await;
    let rig = Rig::start(path, &(strict(&[first.address], 2, "") + ROUTES)).await;
    rig.echo().ping(ping()).await.unwrap();
    first.die().await;
    assert!(rig.echo().ping(ping()).await.is_err());
    let config = pigeon_demo_engine::Config {
        name: "again".into(),
        listen: first.address,
        delay: std::time::Duration::ZERO,
        slots: None,
    };
    let again = pigeon_demo_engine::bind(config).await.unwrap();
    tokio::spawn(again.run(std::future::pending()));
    let found = tokio::time::timeout(FOR_EVER, async {
        while rig.echo().ping(ping()).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    found.await.unwrap();
    rig.until_free().await;
}
