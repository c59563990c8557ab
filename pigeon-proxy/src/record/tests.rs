//! Records: what a line shows, and that a call is counted once however it ends.

use std::io;
use std::sync::{Mutex, PoisonError};

use pigeon_proto::model::{Spec, document};

use super::*;
use crate::engine::{CLASSES, Clock};
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
        };
        let mut record = Record::begin(Arc::clone(&unmatched), Instant::now(), grpc);
        record.log(log.clone(), &beginning);
        record
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
    for _ in 0..3 {
        drop(Record::begin(metrics.unmatched(), Instant::now(), false));
    }
    let text = metrics.render();
    assert!(
        text.contains(r#"pigeon_calls_total{code="cancelled",engine="",route=""} 3"#),
        "{text}"
    );
}

/// What an endpoint is told of a call that `ends` so.
fn told(grpc: bool, ends: impl FnOnce(&mut Record)) -> (u64, u64, [u32; CLASSES]) {
    let text = "kind: engine\nname: e\nspec: {endpoints: [{address: 'a:1'}]}\n";
    let spec = document::parse(text).expect("an engine").remove(0).spec;
    let Spec::Engine(spec) = spec else { panic!("not an engine") };
    let engine = Arc::new(Engine::new("e".parse().expect("name"), Clock::monotonic()));
    engine.update(&spec);
    let endpoint = Arc::clone(&engine.settings().members[0].endpoint);
    let unmatched = Metrics::new().unmatched();
    let mut record = Record::begin(unmatched, Instant::now(), grpc);
    record.engine = Some(Arc::clone(&engine));
    record.goes_to(&endpoint);
    ends(&mut record);
    drop(record);
    let (calls, failures) = endpoint.counted();
    let first = endpoint.first_messages(engine.clock().now_us());
    engine.remove();
    (calls, failures, first)
}

#[test]
fn only_what_the_engine_did_is_held_against_it() {
    let answer = |status: u16, grpc_status: Option<u8>| {
        move |record: &mut Record| {
            record.answered(status);
            grpc_status.into_iter().for_each(|status| record.grpc_status(status));
            record.complete();
        }
    };
    for (grpc, status, grpc_status, failures) in [
        (true, 200, Some(0), 0),
        (true, 200, Some(14), 1),
        (true, 200, Some(4), 0),
        (true, 503, None, 1),
        (false, 500, None, 0),
        (false, 502, None, 1),
        (false, 504, None, 1),
        (false, 200, None, 0),
    ] {
        let (calls, failed, _) = told(grpc, answer(status, grpc_status));
        assert_eq!((calls, failed), (1, failures), "{grpc} {status} {grpc_status:?}");
    }
    for (rejection, failures) in [
        (Rejection::EngineReset { code: Some(2) }, 1),
        (Rejection::EngineProtocolError, 1),
        (Rejection::Deadline, 0),
        (Rejection::BadRequest { why: "" }, 0),
    ] {
        let (calls, failed, _) = told(true, |record| record.rejected(&rejection));
        assert_eq!((calls, failed), (1, failures), "{rejection:?}");
    }
    // The caller goes away.
    assert_eq!(told(true, |_| ()).1, 0);
    // It was not reached, or it failed and the call goes well elsewhere.
    assert_eq!(told(true, |record| record.not_reached()).0, 0);
    let again = |record: &mut Record| {
        record.failed_there(Failure::Reset, Instant::now());
        let endpoint = record.endpoint.clone().expect("there");
        record.goes_to(&endpoint);
        record.answered(200);
        record.grpc_status(0);
        record.complete();
    };
    let (calls, failures, _) = told(true, again);
    assert_eq!((calls, failures), (2, 1));
}

#[test]
fn the_first_message_is_timed_from_when_the_call_was_sent() {
    let (.., first) = told(true, |record| {
        let start = record.started();
        record.waits(start);
        record.waited(start + Duration::from_secs(1));
        record.sent_at(3, start + Duration::from_millis(1_001));
        record.sent_at(3, start + Duration::from_secs(9));
    });
    // 1 ms: below 2⁴ × 64 µs.
    assert_eq!((first[4], first.iter().sum::<u32>()), (1, 1));
}

#[test]
fn a_record_stays_small() {
    assert!(size_of::<Record>() <= 144, "{}", size_of::<Record>());
}
