//! A line of the access log, as text and as JSON.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::{Beginning, GRPC_NAMES, LoggedHead, Record};
use crate::metrics::Code;

impl LoggedHead {
    pub(super) fn new(call: &Beginning<'_>) -> Self {
        Self {
            at: jiff::Timestamp::now(),
            listener: call.listener.clone(),
            peer: call.peer,
            method: clip(call.method),
            host: clip(call.host),
            path: clip(call.path),
            request_id: clip(call.request_id),
        }
    }
}

/// What a peer sent, cut to a length a log can bear.
fn clip(text: &str) -> String {
    const MOST: usize = 512;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Everything a line shows.
pub(super) struct Line<'r> {
    pub(super) head: &'r LoggedHead,
    pub(super) record: &'r Record,
    pub(super) duration: Duration,
}

/// A value of a line.
enum Value<'r> {
    Text(&'r str),
    Number(u64),
    Ms(Duration),
    Absent,
}

impl Line<'_> {
    /// One line of words: `key=value`, values quoted where they need it.
    pub(super) fn text(&self) -> String {
        let mut line = format!("{}", seconds(self.head.at));
        self.fields(|key, value| {
            // Writing to a string does not fail.
            let _ = match value {
                Value::Text(text) => write!(line, " {key}={}", Word(text)),
                Value::Number(n) => write!(line, " {key}={n}"),
                Value::Ms(time) => write!(line, " {key}={:.3}", time.as_secs_f64() * 1e3),
                Value::Absent => Ok(()),
            };
        });
        line.push('\n');
        line
    }

    /// One JSON object on one line.
    pub(super) fn json(&self) -> String {
        let mut object = serde_json::Map::new();
        object.insert("time".into(), seconds(self.head.at).to_string().into());
        self.fields(|key, value| {
            let value = match value {
                Value::Text(text) => text.into(),
                Value::Number(n) => n.into(),
                Value::Ms(time) => ((time.as_secs_f64() * 1e6).round() / 1e3).into(),
                Value::Absent => return,
            };
            object.insert(key.into(), value);
        });
        let mut line = serde_json::Value::Object(object).to_string();
        line.push('\n');
        line
    }

    fn fields(&self, mut field: impl FnMut(&str, Value<'_>)) {
        let (head, record) = (self.head, self.record);
        let about = record.about();
        let text = |t: Option<&'static str>| t.map_or(Value::Absent, Value::Text);
        field("listener", Value::Text(head.listener.as_str()));
        field("peer", Value::Text(&head.peer.to_string()));
        if record.raw {
            field("protocol", Value::Text("tcp"));
        } else {
            field("method", Value::Text(&head.method));
            field("host", Value::Text(&head.host));
            field("path", Value::Text(&head.path));
        }
        for (key, value) in [("route", about.route), ("engine", about.engine)] {
            field(key, value.map_or(Value::Absent, Value::Text));
        }
        let endpoint = record.endpoint.as_ref();
        field("endpoint", endpoint.map_or(Value::Absent, |e| Value::Text(e.address().as_str())));
        let status = record.http_status.map(u64::from);
        field("status", status.map_or(Value::Absent, Value::Number));
        field("grpc_status", text(self.grpc_name()));
        field("reason", text(record.reason.map(crate::reject::Reason::as_str)));
        let cancelled = !record.complete && record.reason.is_none();
        field("cancelled", if cancelled { Value::Number(1) } else { Value::Absent });
        field("duration_ms", Value::Ms(self.duration));
        let waited = (record.waited_us != super::NEVER).then_some(record.waited_us);
        field("wait_ms", waited.map_or(Value::Absent, |us| Value::Ms(Duration::from_micros(us))));
        field("bytes_in", Value::Number(record.bytes_in));
        field("bytes_out", Value::Number(record.bytes_out));
        let request_id = Value::Text(&head.request_id);
        field("request_id", if record.raw { Value::Absent } else { request_id });
    }

    fn grpc_name(&self) -> Option<&'static str> {
        match self.record.code() {
            Code::Grpc(code) => {
                Some(GRPC_NAMES.get(usize::from(code)).copied().unwrap_or("UNKNOWN"))
            }
            Code::Http(_) | Code::TcpClosed | Code::TcpFailed | Code::Cancelled => None,
        }
    }
}

/// RFC 3339 with milliseconds.
fn seconds(at: jiff::Timestamp) -> impl fmt::Display {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
}

/// A text value: as it is if it is one plain word, else quoted with its odd characters escaped.
struct Word<'t>(&'t str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
        if !self.0.is_empty() && self.0.bytes().all(plain) {
            f.write_str(self.0)
        } else {
            write!(f, "{:?}", self.0)
        }
    }
}
