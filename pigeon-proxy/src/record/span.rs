//! A call as a span of its trace, by OpenTelemetry's semantic conventions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{LoggedHead, NEVER, Record};
use crate::engine::Endpoint;
use crate::metrics::Code;
use crate::traces::{Attributes, Place, Span, Tracer, Value};

/// What is kept of a call that is part of a trace.
pub(super) struct Traced {
    pub(super) tracer: Arc<Tracer>,
    pub(super) place: Place,
    /// None if the trace is not kept.
    pub(super) head: Option<Arc<LoggedHead>>,
    pub(super) state: String,
    /// When it went where, in microseconds since it began.
    pub(super) attempts: Vec<(u64, Arc<Endpoint>)>,
}

/// The most attempts that are told one by one.
const MOST_ATTEMPTS: usize = 16;

impl Record {
    /// The `traceparent` for the engine, and whether the trace begins here, so that what a caller said about it
    /// does not count; none if both pass as they came.
    pub fn traceparent(&self) -> Option<(String, bool)> {
        let place = &self.traced.as_ref()?.place;
        Some((place.context.to_string(), place.parent.is_none()))
    }

    /// Notes where the call goes.
    pub(super) fn trace_attempt(&mut self, endpoint: &Arc<Endpoint>) {
        let started = self.started;
        if let Some(traced) = self.traced.as_mut().filter(|traced| traced.head.is_some())
            && traced.attempts.len() < MOST_ATTEMPTS
        {
            let at = super::us(Instant::now().saturating_duration_since(started));
            traced.attempts.push((at, Arc::clone(endpoint)));
        }
    }

    /// Tells of the call, at its end.
    pub(super) fn tell(&self, traced: Traced, duration: Duration) {
        let Some(head) = &traced.head else { return };
        let start = u64::try_from(head.at.as_nanosecond()).unwrap_or_default();
        let at = |us: u64| start.saturating_add(us.saturating_mul(1_000));
        let mut events: Vec<(u64, &'static str, Attributes)> = Vec::new();
        if self.waited_us != NEVER {
            let waited = number(self.waited_us);
            events.push((at(self.before_us), "slot", vec![("pigeon.wait_us", waited)]));
        }
        for (us, endpoint) in traced.attempts {
            let address = text(endpoint.address().as_str());
            events.push((at(us), "attempt", vec![("pigeon.endpoint", address)]));
        }
        if self.first_us != NEVER {
            events.push((at(self.first_us), "first message", Vec::new()));
        }
        events.sort_by_key(|(time, ..)| *time);
        let end = start.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        let failure = self.has_failed().then(|| {
            let reason = self.reason.map(crate::reject::Reason::as_str);
            reason.or(self.grpc_name()).unwrap_or_default().to_owned()
        });
        traced.tracer.tell(Span {
            place: traced.place,
            state: traced.state,
            name: self.span_name(head),
            time: (start, end),
            attributes: self.attributes(head),
            events,
            failure,
        });
    }

    fn span_name(&self, head: &LoggedHead) -> String {
        match (self.grpc, &self.route) {
            (true, _) => head.path.trim_start_matches('/').to_owned(),
            // Not the path, of which there may be any number.
            (false, Some(route)) => format!("{} {}", head.method, route.name),
            (false, None) => head.method.clone(),
        }
    }

    fn attributes(&self, head: &LoggedHead) -> Attributes {
        let mut all = vec![
            ("server.address", text(&head.host)),
            ("client.address", text(&head.peer.to_string())),
            ("network.protocol.name", text("http")),
            ("network.protocol.version", text(head.protocol.trim_start_matches("HTTP/"))),
            ("pigeon.listener", text(head.listener.as_str())),
            ("pigeon.request_id", text(&head.request_id)),
        ];
        let mut named = |key, value: Option<&str>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                all.push((key, text(value)));
            }
        };
        named("user_agent.original", Some(&head.agent));
        named("pigeon.tenant", head.tenant.as_deref());
        let about = self.about();
        named("pigeon.route", about.route);
        named("pigeon.engine", about.engine);
        let endpoint = self.endpoint.as_ref().map(|endpoint| endpoint.address().as_str());
        named("pigeon.endpoint", endpoint);
        named("pigeon.reason", self.reason.map(crate::reject::Reason::as_str));
        if self.grpc {
            let (service, method) =
                head.path.trim_start_matches('/').rsplit_once('/').unwrap_or(("", &head.path));
            named("rpc.system", Some("grpc"));
            named("rpc.service", Some(service));
            named("rpc.method", Some(method));
        } else {
            named("http.request.method", Some(&head.method));
            named("url.path", Some(&head.path));
        }
        match self.code() {
            Code::Grpc(code) => all.push(("rpc.grpc.status_code", number(code.into()))),
            Code::Http(status) => all.push(("http.response.status_code", number(status.into()))),
            Code::TcpClosed | Code::TcpFailed | Code::Cancelled => {}
        }
        if self.attempts > 1 {
            all.push(("pigeon.attempts", number(self.attempts.into())));
        }
        all.push(("pigeon.bytes_in", number(self.bytes_in)));
        all.push(("pigeon.bytes_out", number(self.bytes_out)));
        all
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn number(number: u64) -> Value {
    Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
}
