//! Records: what a line shows, and that a call is counted once however it ends.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::metrics::Metrics;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `calls` leads to.
fn logged(format: LogFormat, calls: impl FnOnce(&dyn Fn(bool) -> Record)) -> String {
    let sink = Sink::default();
    let (writer, guard) = tracing_appender::non_blocking(sink.clone());
    let log = AccessLog::new(format, writer);
    let unmatched = Metrics::new().unmatched();
    let listener: Name = "default".parse().expect("name");
    calls(&|grpc| {
        let beginning = Beginning {
            listener: &listener,
            peer: IpAddr::from([127, 0, 0, 1]),
            method: "GET",
            host: "h",
            path: "/a b\"\n",
            request_id: "id",
            grpc,
        };
        Record::begin(log.clone(), Arc::clone(&unmatched), Instant::now(), &beginning)
    });
    drop(guard);
    let bytes = sink.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    String::from_utf8(bytes).expect("text")
}

#[test]
fn a_json_line_is_one_object_per_call() {
    let text = logged(LogFormat::Json, |begin| {
        let mut record = begin(false);
        let since = Instant::now();
        record.waits(since);
        record.waited(since + Duration::from_millis(2));
        record.answered(200);
        record.sent(5);
        record.complete();
        drop(record);
        begin(false).rejected(&Rejection::NoRoute);
        begin(true).rejected(&Rejection::Deadline);
        drop(begin(true));
    });
    let lines: Vec<serde_json::Value> =
        text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!((&lines[0]["status"], &lines[0]["bytes_out"]), (&200.into(), &5.into()));
    assert_eq!(lines[0]["wait_ms"], 2.0);
    assert_eq!(lines[0]["path"], "/a b\"\n");
    assert!(lines[0].get("cancelled").is_none() && lines[0].get("reason").is_none());
    assert_eq!((&lines[1]["status"], &lines[1]["reason"]), (&404.into(), &"no_route".into()));
    assert_eq!(lines[2]["grpc_status"], "DEADLINE_EXCEEDED");
    assert_eq!(
        (&lines[3]["grpc_status"], &lines[3]["cancelled"]),
        (&"CANCELLED".into(), &1.into())
    );
    let time: jiff::Timestamp = lines[0]["time"].as_str().expect("time").parse().expect("RFC 3339");
    assert!(time <= jiff::Timestamp::now());
}

#[test]
fn a_text_line_stays_one_line() {
    let text = logged(LogFormat::Text, |begin| drop(begin(false)));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(r#"path="/a b\"\n""#), "{text}");
    assert!(text.contains(" peer=127.0.0.1 method=GET host=h "), "{text}");
}

#[test]
fn an_abandoned_call_counts_as_cancelled() {
    let metrics = Metrics::new();
    let listener: Name = "default".parse().expect("name");
    let beginning = Beginning {
        listener: &listener,
        peer: IpAddr::from([127, 0, 0, 1]),
        method: "GET",
        host: "",
        path: "/",
        request_id: "",
        grpc: false,
    };
    for _ in 0..3 {
        drop(Record::begin(AccessLog::off(), metrics.unmatched(), Instant::now(), &beginning));
    }
    let text = metrics.render();
    assert!(
        text.contains(r#"pigeon_calls_total{code="cancelled",engine="",route=""} 3"#),
        "{text}"
    );
}
