//! The limits of a listener, and that they hold for one proxy's callers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use pigeon_e2e::{Cluster, grpc, http, until};

use crate::streams::Streams;

fn open(cluster: &Cluster) -> TcpStream {
    let socket = TcpStream::connect(cluster.proxies[0].address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

/// What the other side sends until it closes.
fn rest(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_head_that_does_not_end_is_given_up() {
    let cluster = Cluster::with_demo_routes(1, 1);
    cluster.ctl.ok(&["listener", "set", "default", "--header-timeout", "300ms"]);
    cluster.in_sync();
    for beginning in ["", "G", "GET /hello HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        until("it is closed", || {
            // The first connections may still have the limit from before.
            let mut socket = open(&cluster);
            socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
            socket.write_all(beginning.as_bytes()).unwrap();
            let mut byte = [0];
            match socket.read(&mut byte) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    Err(format!("still open after {beginning:?}"))
                }
                _ => Ok(()),
            }
        });
    }
    // A call that takes long is none of this.
    let channel = grpc::channel(cluster.proxies[0].address());
    let slow = grpc::with(grpc::ping(), &[("demo-delay-ms", "1500")]);
    grpc::block_on(grpc::echo(channel).ping(slow)).unwrap();
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let cluster = Cluster::with_demo_routes(1, 1);
    let large = "x".repeat(100_000);
    let mut socket = open(&cluster);
    let head = format!("GET /hello HTTP/1.1\r\nhost: x\r\nx-large: {large}\r\n\r\n");
    let _ = socket.write_all(head.as_bytes());
    let answer = rest(&mut socket);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");

    let channel = grpc::channel(cluster.proxies[0].address());
    let value: &'static str = large.leak();
    let request = grpc::with(grpc::ping(), &[("x-large", value)]);
    grpc::block_on(grpc::echo(channel.clone()).ping(request)).unwrap_err();
    grpc::block_on(grpc::echo(channel).ping(grpc::ping())).unwrap();
    assert_eq!(cluster.engines[0].stats().calls, 1, "the engine was spared");
}

#[test]
fn connections_above_the_limit_are_closed_and_come_back() {
    let cluster = Cluster::with_demo_routes(1, 1);
    cluster.ctl.ok(&["listener", "set", "default", "--max-connections", "10"]);
    cluster.in_sync();
    let mut held: Vec<TcpStream> = (0..10)
        .map(|_| {
            let mut socket = open(&cluster);
            socket.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            let mut some = [0; 12];
            socket.read_exact(&mut some).unwrap();
            assert_eq!(&some, b"HTTP/1.1 200");
            socket
        })
        .collect();
    let refused = http::get(cluster.proxies[0].address(), "/hello");
    assert!(refused.is_err(), "the eleventh: {refused:?}");
    held.truncate(5);
    until("there is room again", || match http::get(cluster.proxies[0].address(), "/hello") {
        Ok(reply) if reply.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// A caller that opens many streams on one connection waits for its own, not for others'.
#[test]
fn streams_above_the_limit_wait_at_the_caller() {
    let cluster = Cluster::with_demo_routes(1, 1);
    cluster.ctl.ok(&["listener", "set", "default", "--max-concurrent-streams", "5"]);
    cluster.in_sync();
    let to = cluster.proxies[0].address();
    let one = grpc::channel(to);
    let mut streams = Streams::open(std::slice::from_ref(&one), 5, &[("demo-gap-ms", "20")]);
    let mut echo = grpc::echo(one);
    let sixth = grpc::runtime().spawn(async move { echo.ping(grpc::ping()).await });
    let other = grpc::channel(to);
    grpc::block_on(grpc::echo(other).ping(grpc::ping())).unwrap();
    streams.progress("the five go on");
    assert!(!sixth.is_finished(), "the sixth waits");
    for end in streams.finish() {
        end.unwrap();
    }
    grpc::block_on(sixth).unwrap().unwrap();
}
