//! Spans on their way to a collector (OTLP over gRPC), in batches.

use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Exported, Status};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::{Attributes, Span, Spans, Value};

/// Most spans of one message.
const BATCH: usize = 512;
/// How long the first of them waits for others.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a collector may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Exports spans to a collector until told to stop, and then what is left. `name` = of this proxy.
pub async fn export(to: http::Uri, name: String, mut spans: Spans, stop: CancellationToken) {
    let channel = Endpoint::from(to.clone()).timeout(TIMEOUT).connect_timeout(TIMEOUT);
    let mut client = TraceServiceClient::new(channel.connect_lazy());
    let mut well = true;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let first = tokio::select! {
            biased;
            first = spans.receiver.recv() => first,
            () = stop.cancelled() => None,
        };
        let Some(first) = first else { return };
        batch.push(first);
        let last = tokio::time::sleep(PERIOD);
        tokio::pin!(last);
        while batch.len() < BATCH {
            tokio::select! {
                biased;
                more = spans.receiver.recv() => match more {
                    Some(span) => batch.push(span),
                    None => break,
                },
                () = &mut last => break,
                () = stop.cancelled() => break,
            }
        }
        let count = batch.len() as u64;
        let sent = send(&mut client, &name, std::mem::take(&mut batch)).await;
        match (&sent, well) {
            // One line when it stops working, one when it works again.
            (Err(error), true) => {
                tracing::warn!(%error, "the traces do not reach {to}; they are dropped and counted");
            }
            (Ok(()), false) => tracing::info!("the traces reach {to} again"),
            _ => {}
        }
        well = sent.is_ok();
        if !well {
            spans.lost.fetch_add(count, Ordering::Relaxed);
        }
    }
}

async fn send(
    client: &mut TraceServiceClient<Channel>,
    name: &str,
    batch: Vec<Span>,
) -> Result<(), String> {
    let attributes = vec![
        ("service.name", Value::Text("pigeon-proxy".to_owned())),
        ("service.version", Value::Text(env!("CARGO_PKG_VERSION").to_owned())),
        ("service.instance.id", Value::Text(name.to_owned())),
    ];
    let resource = Resource { attributes: pairs(attributes), ..Resource::default() };
    let scope = InstrumentationScope { name: "pigeon".to_owned(), ..Default::default() };
    let spans = batch.into_iter().map(span).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }];
    let all = ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![all] };
    match client.export(request).await {
        Ok(answer) => match answer.into_inner().partial_success {
            Some(partial) if partial.rejected_spans > 0 => {
                Err(format!("it refused some: {}", partial.error_message.escape_debug()))
            }
            _ => Ok(()),
        },
        Err(status) => Err(format!("{:?}: {}", status.code(), status.message().escape_debug())),
    }
}

fn span(span: Span) -> Exported {
    let context = span.place.context;
    let event = |(time, name, attributes): (u64, &str, Attributes)| Event {
        time_unix_nano: time,
        name: name.to_owned(),
        attributes: pairs(attributes),
        ..Event::default()
    };
    let status = span.failure.map(|message| Status { message, code: StatusCode::Error.into() });
    Exported {
        trace_id: context.trace.to_be_bytes().to_vec(),
        span_id: context.span.to_be_bytes().to_vec(),
        parent_span_id: span.place.parent.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
        trace_state: span.state,
        flags: u32::from(context.sampled),
        name: span.name,
        kind: SpanKind::Server.into(),
        start_time_unix_nano: span.time.0,
        end_time_unix_nano: span.time.1,
        attributes: pairs(span.attributes),
        events: span.events.into_iter().map(event).collect(),
        status,
        ..Exported::default()
    }
}

fn pairs(attributes: Attributes) -> Vec<KeyValue> {
    let pair = |(key, value): (&str, Value)| {
        let value = match value {
            Value::Text(text) => any_value::Value::StringValue(text),
            Value::Number(n) => any_value::Value::IntValue(n),
        };
        let value = Some(AnyValue { value: Some(value) });
        KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
    };
    attributes.into_iter().map(pair).collect()
}
