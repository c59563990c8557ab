//! What is told about calls: lines of the access log and numbers, the same on both paths.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use pigeon_proxy::logs::Lines;
use pigeon_proxy::record::{AccessLog, LogFormat, LogSettings};
use serde_json::Value;

use super::support::*;

on_both_paths!(
    a_stream_is_counted_message_by_message,
    lines_say_what_happened_on_the_way,
    nothing_a_caller_sends_breaks_a_line,
);

/// Lines as they were written.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Log {
    sink: Sink,
    lines: Lines,
}

impl Log {
    fn new() -> Self {
        let sink = Sink::default();
        Self { lines: Lines::start("test", sink.clone()).unwrap(), sink }
    }

    fn access(&self, format: LogFormat, settings: LogSettings) -> AccessLog {
        AccessLog::new(format, self.lines.clone(), settings)
    }

    fn text(&self) -> String {
        self.lines.flush(FOR_EVER);
        String::from_utf8(self.sink.0.lock().unwrap().clone()).unwrap()
    }

    async fn json(&self, count: usize) -> Vec<Value> {
        eventually(|| self.text().lines().count() >= count).await;
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn a_stream_is_counted_message_by_message(path: Path) {
    let demo = demo().await;
    let log = Log::new();
    let text = format!("{}{ROUTES}", engine(&[demo.address], ""));
    let settings = LogSettings { start: true, ..LogSettings::default() };
    let rig = Rig::logged(path, &text, log.access(LogFormat::Json, settings)).await;
    rig.install(&text);
    let (send, chunks) = upload();
    for _ in 0..3 {
        send.send(chunk(b"abcd")).await.unwrap();
    }
    let mut answer = rig.speech().recognize(chunks).await.unwrap().into_inner();
    for _ in 0..3 {
        answer.message().await.unwrap().unwrap();
    }
    // While it runs.
    let seen = |direction: &str, n: u32| {
        let line = format!(
            "pigeon_messages_total{{direction=\"{direction}\",engine=\"e\",route=\"grpc\"}} {n}"
        );
        rig.metrics.render().contains(&line)
    };
    eventually(|| seen("in", 3)).await;
    let open = "pigeon_route_calls_open{engine=\"e\",route=\"grpc\"}";
    assert!(rig.metrics.render().contains(&format!("{open} 1")), "{}", rig.metrics.render());
    let first = log.json(1).await.remove(0);
    assert_eq!((&first["event"], &first["route"]), (&"start".into(), &"grpc".into()), "{first}");
    drop(send);
    let mut messages = 3;
    while answer.message().await.unwrap().is_some() {
        messages += 1;
    }
    let line = log.json(2).await.remove(1);
    assert_eq!(
        (&line["messages_in"], &line["messages_out"]),
        (&3.into(), &messages.into()),
        "{line}"
    );
    assert!(line["bytes_in"].as_u64() > Some(15) && line["first_ms"].is_number(), "{line}");
    assert_eq!((&line["protocol"], &line["engine"]), (&"HTTP/2".into(), &"e".into()), "{line}");
    assert_eq!(line["endpoint"], demo.address.to_string());
    assert!(line.get("event").is_none() && line.get("attempts").is_none(), "{line}");
    rig.until_free().await;
    let metrics = rig.metrics.render();
    assert!(metrics.contains(&format!("{open} 0")), "{metrics}");
    let latency = "pigeon_call_duration_seconds_count{engine=\"e\",route=\"grpc\"}";
    assert!(!metrics.contains(latency), "a stream's duration is no latency: {metrics}");
    rig.echo().ping(ping()).await.unwrap();
    let latency = "pigeon_call_duration_seconds_count{engine=\"e\",route=\"echo\"} 1";
    eventually(|| rig.metrics.render().contains(latency)).await;
}

async fn lines_say_what_happened_on_the_way(path: Path) {
    let demo = demo().await;
    let log = Log::new();
    let text = format!("{}{ROUTES}", engine(&[demo.address], "protocol: http1"));
    let rig = Rig::logged(path, &text, log.access(LogFormat::Json, LogSettings::default())).await;
    rig.install(&text);
    let get = |uri: &str| {
        let uri = format!("http://{}{uri}", rig.address);
        let get = http::Request::get(uri).header("user-agent", "curl/8");
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        get.header("traceparent", trace).body(Bytes::new()).unwrap()
    };
    // The engine speaks HTTP/1.1: this crosses over from the relay to the general path.
    rig.h2(get("/hello?secret=1")).await;
    let line = log.json(1).await.remove(0);
    assert_eq!((&line["path"], &line["status"]), (&"/hello".into(), &200.into()), "{line}");
    assert_eq!((&line["user_agent"], &line["protocol"]), (&"curl/8".into(), &"HTTP/2".into()));
    assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(!log.text().contains("secret"));
    rig.raw("GET /hello HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    let line = log.json(2).await.remove(1);
    assert_eq!((&line["protocol"], &line["host"]), (&"HTTP/1.1".into(), &"h".into()), "{line}");
}

/// An attack: control characters, quotes and line ends wherever a caller can put them.
async fn nothing_a_caller_sends_breaks_a_line(path: Path) {
    let demo = demo().await;
    for format in [LogFormat::Text, LogFormat::Json] {
        let log = Log::new();
        let text = format!("{}{ROUTES}", engine(&[demo.address], ""));
        let rig = Rig::logged(path, &text, log.access(format, LogSettings::default())).await;
        rig.install(&text);
        let nasty = "\" reason=none\\n{\"status\":200}\u{202e}\u{9b}31m";
        let uri = format!("http://{}/%0a%1b[31m\"x'y", rig.address);
        let request = http::Request::get(uri)
            .header("user-agent", http::HeaderValue::from_bytes(nasty.as_bytes()).unwrap())
            .header("x-request-id", "a\tb\"c");
        rig.h2(request.body(Bytes::new()).unwrap()).await;
        rig.raw("GET /\"\\ HTTP/1.1\r\nhost: h\r\nuser-agent: a\tb\r\nconnection: close\r\n\r\n")
            .await;
        eventually(|| log.text().lines().count() >= 2).await;
        let text = log.text();
        assert_eq!(text.lines().count(), 2, "{text}");
        let plain = |c: char| c == '\n' || !c.is_control() && c != '\u{202e}';
        assert!(text.chars().all(plain), "{text:?}");
        if format == LogFormat::Json {
            for line in text.lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                assert!(line["listener"] == "default" && line["status"].is_number(), "{line}");
            }
        }
    }
}
