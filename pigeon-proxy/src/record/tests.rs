//! Records: what a line shows, and that a call is counted once however it ends.

use std::io;
use std::sync::{Mutex, PoisonError};

use pigeon_proto::model::{Spec, document};

use super::*;
use crate::engine::{CLASSES, Clock};
use crate::logs::Lines;
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
fn logged(
    format: LogFormat,
    settings: LogSettings,
    calls: impl FnOnce(&dyn Fn(bool) -> Record),
) -> String {
    let sink = Sink::default();
    let lines = Lines::start("test", sink.clone()).expect("a thread");
    let log = AccessLog::new(format, lines.clone(), settings);
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
            protocol: "HTTP/1.1",
            user_agent: "",
            traceparent: None,
            tracestate: None,
        };
        let mut record = Record::begin(Arc::clone(&unmatched), Instant::now(), grpc);
        record.watch(&log, None, (u128::MAX, 0), &beginning);
        record
    });
    lines.flush(Duration::from_secs(20));
    let bytes = sink.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    String::from_utf8(bytes).expect("text")
}

#[test]
fn a_json_line_is_one_object_per_call() {
    let text = logged(LogFormat::Json, LogSettings::default(), |begin| {
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
    let text = logged(LogFormat::Text, LogSettings::default(), |begin| drop(begin(false)));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(r#"path="/a b\"\n""#), "{text}");
    assert!(text.contains(" peer=127.0.0.1 protocol=HTTP/1.1 method=GET host=h "), "{text}");
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
    assert!(size_of::<Record>() <= 168, "{}", size_of::<Record>());
}

fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
}

#[test]
fn what_is_not_sampled_is_written_only_if_it_fails() {
    let calls = |begin: &dyn Fn(bool) -> Record| {
        let mut well = begin(true);
        well.answered(200);
        well.grpc_status(0);
        well.complete();
        drop(well);
        let mut not_found = begin(true);
        not_found.answered(200);
        not_found.grpc_status(5);
        not_found.complete();
        drop(not_found);
        let mut failed = begin(true);
        failed.answered(200);
        failed.grpc_status(14);
        failed.complete();
        drop(failed);
        begin(false).rejected(&Rejection::NoRoute);
        // Its caller went away.
        drop(begin(false));
    };
    // The random number of these calls is the largest, so that any part but all leaves them out.
    let settings = LogSettings { sample: 0.99, ..LogSettings::default() };
    let failed = lines(&logged(LogFormat::Json, settings, calls));
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert_eq!(failed[0]["grpc_status"], "UNAVAILABLE");
    assert_eq!(failed[1]["reason"], "no_route");
    let settings = LogSettings { errors: false, ..settings };
    assert_eq!(logged(LogFormat::Json, settings, calls), "");
}

#[test]
fn a_long_call_has_a_line_at_its_start_and_from_time_to_time() {
    let sink = Sink::default();
    let to = Lines::start("test", sink.clone()).expect("a thread");
    let interval = Some(Duration::from_secs(60));
    let settings = LogSettings { start: true, interval, ..LogSettings::default() };
    let log = AccessLog::new(LogFormat::Json, to.clone(), settings);
    let listener: Name = "default".parse().expect("name");
    let call = Beginning {
        listener: &listener,
        peer: IpAddr::from([127, 0, 0, 1]),
        protocol: "HTTP/2",
        method: "POST",
        host: "h",
        path: "/s/m",
        request_id: "id",
        user_agent: "grpc-c++/1",
        traceparent: Some(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        tracestate: None,
    };
    let start = Instant::now();
    let mut record = Record::begin(Metrics::new().unmatched(), start, true);
    record.watch(&log, None, (0, 0), &call);
    record.tenant("team-a");
    record.waits(start);
    record.waited(start + Duration::from_millis(5));
    let inbound = record.inbound();
    inbound.took(10, 2);
    log.write_open(start + Duration::from_secs(59));
    log.write_open(start + Duration::from_secs(61));
    log.write_open(start + Duration::from_secs(62));
    record.sent_at(7, start + Duration::from_secs(70));
    record.messages_sent(3);
    log.write_open(start + Duration::from_secs(600));
    record.received_in_all(&inbound);
    record.grpc_status(0);
    record.complete();
    record.ends(start + Duration::from_secs(601));
    log.write_open(start + Duration::from_secs(900));
    to.flush(Duration::from_secs(20));
    let bytes = sink.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let lines = lines(str::from_utf8(&bytes).expect("text"));
    let events: Vec<_> = lines.iter().map(|l| l["event"].as_str().unwrap_or("end")).collect();
    assert_eq!(events, ["start", "open", "open", "end"]);
    assert_eq!((&lines[1]["messages_in"], &lines[1]["bytes_in"]), (&2.into(), &10.into()));
    assert_eq!((&lines[1]["wait_ms"], &lines[1]["duration_ms"]), (&5.0.into(), &61_000.0.into()));
    assert_eq!((&lines[2]["messages_out"], &lines[2]["bytes_out"]), (&3.into(), &7.into()));
    assert_eq!((&lines[3]["grpc_status"], &lines[3]["first_ms"]), (&"OK".into(), &70_000.0.into()));
    for line in &lines {
        assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(
            (&line["tenant"], &line["user_agent"]),
            (&"team-a".into(), &"grpc-c++/1".into())
        );
    }
}
