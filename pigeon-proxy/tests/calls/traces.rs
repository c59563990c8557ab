//! Traces: what an engine is told, and what a collector, the same on both paths.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use pigeon_proxy::record::{AccessLog, Context};
use pigeon_proxy::traces::{Spans, Tracer, export};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

use super::support::*;
use super::told::{Say, Told, told};

on_both_paths!(
    a_trace_goes_on_at_the_engine_and_is_told_to_the_collector,
    what_the_caller_does_not_keep_passes_untouched,
    a_trace_begins_here_where_there_is_none,
    without_traces_the_header_is_the_callers,
);

const KEPT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_KEPT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// A collector, and everything it got.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(collector.clone());
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        (collector, address)
    }

    fn spans(&self) -> Vec<Span> {
        let all = self.0.lock().unwrap();
        let resources = all.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|r| &r.scope_spans).flat_map(|s| s.spans.clone()).collect()
    }

    async fn span(&self) -> Span {
        eventually(|| !self.spans().is_empty()).await;
        self.spans().remove(0)
    }
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let value = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(n) => n.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = span
        .attributes
        .iter()
        .filter_map(|pair| Some((pair.key.clone(), value(pair.value.as_ref()?.value.as_ref()?))));
    pairs.collect()
}

/// A gateway before `engine` that keeps this part of the traces that begin here.
async fn rig(path: Path, engine_is: &Told, sample: f64) -> (Rig, Spans) {
    let retry = "kind: route\nname: all\nspec: {match: {path: '/*'}, engine: e, retry: {attempts: 2, on: [UNAVAILABLE]}}\n";
    let text = format!("{}---\n{retry}", engine(&[engine_is.address], "protocol: h2c"));
    let rig = Rig::logged(path, &text, AccessLog::off()).await;
    let (tracer, spans) = Tracer::new(sample);
    rig.gateway.set_tracer(tracer);
    rig.install(&text);
    (rig, spans)
}

fn call(rig: &Rig, headers: &[(&str, &str)]) -> http::Request<Bytes> {
    let uri = format!("http://{}/pkg.Service/Do", rig.address);
    let mut request = http::Request::post(uri).header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Bytes::from_static(&[0, 0, 0, 0, 0])).unwrap()
}

fn header(engine: &Told, n: usize, name: &str) -> Vec<String> {
    let seen = engine.seen();
    let values = seen[n].headers.get_all(name).iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

async fn a_trace_goes_on_at_the_engine_and_is_told_to_the_collector(path: Path) {
    let (collector, address) = Collector::start().await;
    // The first attempt fails, the second does not.
    let engine = told(|n| if n == 0 { Say::Grpc(14) } else { Say::Message(3, 0) }).await;
    let (rig, spans) = rig(path, &engine, 0.0).await;
    let to = format!("http://{address}").parse().unwrap();
    let stop = CancellationToken::new();
    let exporting = tokio::spawn(export(to, "edge-1".to_owned(), spans, stop.clone()));
    rig.h2(call(&rig, &[("traceparent", KEPT), ("tracestate", "a=1"), ("user-agent", "ua")])).await;
    let span = collector.span().await;
    for n in 0..2 {
        let [ours] = &header(&engine, n, "traceparent")[..] else { panic!("not one") };
        let ours = Context::parse(ours.as_bytes()).unwrap();
        assert_eq!((ours.trace, ours.sampled), (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, true));
        assert_eq!(ours.span.to_be_bytes()[..], span.span_id);
        assert_eq!(header(&engine, n, "tracestate"), ["a=1"]);
    }
    assert_eq!(span.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
    assert_eq!(span.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!((span.name.as_str(), span.trace_state.as_str()), ("pkg.Service/Do", "a=1"));
    assert!(span.start_time_unix_nano > 0 && span.start_time_unix_nano < span.end_time_unix_nano);
    let said = attributes(&span);
    for (key, value) in [
        ("rpc.system", "grpc"),
        ("rpc.service", "pkg.Service"),
        ("rpc.method", "Do"),
        ("rpc.grpc.status_code", "0"),
        ("pigeon.route", "all"),
        ("pigeon.engine", "e"),
        ("pigeon.endpoint", &engine.address.to_string()),
        ("pigeon.attempts", "2"),
        ("user_agent.original", "ua"),
        ("network.protocol.version", "2"),
    ] {
        assert_eq!(said.get(key).map(String::as_str), Some(value), "{key}: {said:?}");
    }
    let events: Vec<_> = span.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(events, ["attempt", "attempt", "first message"]);
    assert!(span.status.is_none_or(|status| status.code == 0));
    stop.cancel();
    exporting.await.unwrap();
}

async fn what_the_caller_does_not_keep_passes_untouched(path: Path) {
    let engine = told(|_| Say::Message(3, 0)).await;
    let (rig, _spans) = rig(path, &engine, 1.0).await;
    rig.h2(call(&rig, &[("traceparent", NOT_KEPT), ("tracestate", "a=1")])).await;
    assert_eq!(header(&engine, 0, "traceparent"), [NOT_KEPT]);
    assert_eq!(header(&engine, 0, "tracestate"), ["a=1"]);
}

async fn a_trace_begins_here_where_there_is_none(path: Path) {
    let (collector, address) = Collector::start().await;
    let engine = told(|_| Say::Grpc(13)).await;
    let (rig, spans) = rig(path, &engine, 1.0).await;
    let to = format!("http://{address}").parse().unwrap();
    let stop = CancellationToken::new();
    let exporting = tokio::spawn(export(to, "edge-1".to_owned(), spans, stop.clone()));
    let attempts: [&[(&str, &str)]; 3] = [
        &[],
        &[("traceparent", "garbage"), ("tracestate", "a=1")],
        &[("traceparent", "ff-1-1-1"), ("tracestate", "b=2")],
    ];
    for headers in attempts {
        rig.h2(call(&rig, headers)).await;
    }
    eventually(|| collector.spans().len() == 3).await;
    for (n, span) in collector.spans().iter().enumerate() {
        let [ours] = &header(&engine, n, "traceparent")[..] else { panic!("not one") };
        let ours = Context::parse(ours.as_bytes()).unwrap();
        assert!(ours.sampled && header(&engine, n, "tracestate").is_empty());
        assert_eq!(
            (&ours.trace.to_be_bytes()[..], span.parent_span_id.len()),
            (&span.trace_id[..], 0)
        );
        let status = span.status.as_ref().unwrap();
        assert_eq!((status.code, status.message.as_str()), (2, "INTERNAL"));
    }
    // What is over when the proxy ends is told, too.
    rig.h2(call(&rig, &[])).await;
    rig.until_free().await;
    stop.cancel();
    exporting.await.unwrap();
    assert_eq!(collector.spans().len(), 4);
}

async fn without_traces_the_header_is_the_callers(path: Path) {
    let engine_is = told(|_| Say::Message(3, 0)).await;
    let route = "kind: route\nname: all\nspec: {match: {path: '/*'}, engine: e}\n";
    let text = format!("{}---\n{route}", engine(&[engine_is.address], "protocol: h2c"));
    let rig = Rig::start(path, &text).await;
    for kept in [KEPT, "garbage"] {
        rig.h2(call(&rig, &[("traceparent", kept), ("tracestate", "a=1")])).await;
    }
    rig.h2(call(&rig, &[])).await;
    assert_eq!(header(&engine_is, 0, "traceparent"), [KEPT]);
    assert_eq!(header(&engine_is, 1, "traceparent"), ["garbage"]);
    assert_eq!(header(&engine_is, 2, "traceparent"), [""; 0]);
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_no_calls() {
    let engine = told(|_| Say::Message(3, 0)).await;
    let (rig, spans) = rig(Path::Relay, &engine, 1.0).await;
    let away = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let to = format!("http://{away}").parse().unwrap();
    tokio::spawn(export(to, "edge-1".to_owned(), spans, CancellationToken::new()));
    for _ in 0..3 {
        let answer = rig.h2(call(&rig, &[])).await;
        assert_eq!(answer.head.status, 200);
    }
    eventually(|| rig.metrics.render().contains("pigeon_trace_spans_dropped_total 3")).await;
}
