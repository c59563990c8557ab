//! The live stream of the dashboard: server-sent events.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use pigeon_e2e::Cluster;
use serde_json::Value;

/// Reads events until one is as wanted.
fn event(lines: &mut impl Iterator<Item = String>, wanted: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    let mut summaries = 0;
    let mut last = String::new();
    for line in lines.by_ref() {
        // There is a line at least every 15 s, so that this is noticed.
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "{summaries} summaries, the last: {last}"
        );
        let Some(data) = line.strip_prefix("data:") else { continue };
        let data: Value = serde_json::from_str(data.trim()).unwrap();
        summaries += 1;
        last = data.to_string();
        if wanted(&data) {
            return data;
        }
    }
    panic!("the stream ended after {summaries} summaries");
}

#[test]
fn a_change_shows_in_the_stream() {
    let cluster = Cluster::with_demo_routes(1, 1);
    let mut socket = TcpStream::connect(cluster.admin.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let token = cluster.admin.token();
    let head = format!(
        "GET /v1/stream HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut lines = BufReader::new(socket).lines().map(|line| line.unwrap());
    assert_eq!(lines.next().as_deref(), Some("HTTP/1.1 200 OK"));

    let first = event(&mut lines, |_| true);
    assert_eq!(first["revision"], cluster.admin.revision());
    assert_eq!(first["proxies"][0]["name"], "edge-1");
    cluster.ctl.ok(&["route", "add", "new", "--path", "/new", "--engine", "demo"]);
    let revision = cluster.admin.revision();
    let then = event(&mut lines, |summary| summary["revision"] == revision);
    let routes = then["routes"].as_array().unwrap();
    assert!(routes.iter().any(|route| route["name"] == "new"), "{then}");
    assert_eq!(then["recent"][0]["revision"], revision, "{then}");
    let caught_up = |summary: &Value| summary["proxies"][0]["effective_revision"] == revision;
    // At most one summary a second: this one may tell it already.
    if !caught_up(&then) {
        event(&mut lines, caught_up);
    }
}
