//! A line of the access log, as text and as JSON. Nothing a peer sends can break a line or reach a terminal as
//! anything but visible characters.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::{Beginning, LoggedHead};

/// What a raw connection has in place of a version of HTTP.
const RAW: &str = "tcp";
/// The most characters of what a peer sent.
const MOST: usize = 512;
/// The most of what only describes the caller.
const MOST_AGENT: usize = 128;

impl LoggedHead {
    pub(super) fn new(call: &Beginning<'_>, grpc: bool) -> Self {
        Self {
            at: jiff::Timestamp::now(),
            listener: call.listener.clone(),
            peer: call.peer,
            protocol: call.protocol,
            method: clip(call.method, MOST),
            host: clip(call.host, MOST),
            path: clip(call.path, MOST),
            agent: clip(call.user_agent, MOST_AGENT),
            request_id: clip(call.request_id, MOST),
            trace_id: None,
            tenant: None,
            grpc,
        }
    }
}

/// What a peer sent, cut to a length a log can bear.
fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Why a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The call has found its engine.
    Start,
    /// It goes on.
    Open,
    /// It has ended.
    End,
}

/// What is known of a call besides its head.
#[derive(Debug, Default)]
pub(super) struct Facts<'r> {
    pub(super) route: Option<&'r str>,
    pub(super) engine: Option<&'r str>,
    pub(super) endpoint: Option<&'r str>,
    pub(super) http_status: Option<u16>,
    pub(super) grpc_status: Option<&'r str>,
    pub(super) reason: Option<&'r str>,
    pub(super) cancelled: bool,
    pub(super) waited_us: Option<u64>,
    pub(super) first_us: Option<u64>,
    pub(super) attempts: u32,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// In and out, of a gRPC call.
    pub(super) messages: Option<(u64, u64)>,
}

/// Everything a line shows.
pub(super) struct Line<'r> {
    pub(super) head: &'r LoggedHead,
    pub(super) event: Event,
    pub(super) facts: &'r Facts<'r>,
    pub(super) duration: Duration,
}

/// A value of a line.
enum Value<'r> {
    Text(&'r str),
    Number(u64),
    Ms(Duration),
}

impl Line<'_> {
    /// One line of words: `key=value`, values quoted where they need it.
    pub(super) fn text(&self) -> String {
        let mut line = String::with_capacity(400);
        // Writing to a string does not fail.
        let _ = write!(line, "{}", seconds(self.head.at));
        self.fields(|key, value| {
            let _ = match value {
                Value::Text(text) => write!(line, " {key}={}", Word(text)),
                Value::Number(n) => write!(line, " {key}={n}"),
                Value::Ms(time) => write!(line, " {key}={:.3}", time.as_secs_f64() * 1e3),
            };
        });
        line.push('\n');
        line
    }

    /// One JSON object on one line.
    pub(super) fn json(&self) -> String {
        let mut line = String::with_capacity(500);
        let _ = write!(line, "{{\"time\":\"{}\"", seconds(self.head.at));
        self.fields(|key, value| {
            let _ = match value {
                Value::Text(text) => write!(line, ",\"{key}\":\"{}\"", Escaped(text)),
                Value::Number(n) => write!(line, ",\"{key}\":{n}"),
                Value::Ms(time) => write!(line, ",\"{key}\":{:.3}", time.as_secs_f64() * 1e3),
            };
        });
        line.push_str("}\n");
        line
    }

    fn fields(&self, mut field: impl FnMut(&str, Value<'_>)) {
        let Self { head, facts, .. } = self;
        if self.event != Event::End {
            field("event", Value::Text(if self.event == Event::Start { "start" } else { "open" }));
        }
        field("listener", Value::Text(head.listener.as_str()));
        field("peer", Value::Text(&head.peer.to_string()));
        field("protocol", Value::Text(head.protocol));
        let raw = head.protocol == RAW;
        if !raw {
            field("method", Value::Text(&head.method));
            field("host", Value::Text(&head.host));
            field("path", Value::Text(&head.path));
        }
        let mut text = |key, value: Option<&str>| {
            if let Some(value) = value {
                field(key, Value::Text(value));
            }
        };
        text("route", facts.route);
        text("engine", facts.engine);
        text("endpoint", facts.endpoint);
        text("tenant", head.tenant.as_deref());
        if let Some(status) = facts.http_status {
            field("status", Value::Number(status.into()));
        }
        let mut text = |key, value: Option<&str>| {
            if let Some(value) = value {
                field(key, Value::Text(value));
            }
        };
        text("grpc_status", facts.grpc_status);
        text("reason", facts.reason);
        if facts.cancelled {
            field("cancelled", Value::Number(1));
        }
        self.measured(&mut field);
        if !head.agent.is_empty() {
            field("user_agent", Value::Text(&head.agent));
        }
        if let Some(id) = &head.trace_id {
            field("trace_id", Value::Text(id));
        }
        if !raw {
            field("request_id", Value::Text(&head.request_id));
        }
    }

    fn measured(&self, field: &mut impl FnMut(&str, Value<'_>)) {
        let facts = self.facts;
        field("duration_ms", Value::Ms(self.duration));
        for (key, us) in [("wait_ms", facts.waited_us), ("first_ms", facts.first_us)] {
            if let Some(us) = us {
                field(key, Value::Ms(Duration::from_micros(us)));
            }
        }
        if facts.attempts > 1 {
            field("attempts", Value::Number(facts.attempts.into()));
        }
        field("bytes_in", Value::Number(facts.bytes_in));
        field("bytes_out", Value::Number(facts.bytes_out));
        if let Some((messages_in, messages_out)) = facts.messages {
            field("messages_in", Value::Number(messages_in));
            field("messages_out", Value::Number(messages_out));
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

/// The inside of a JSON string, in which everything but visible characters is written as a number: also what
/// JSON would let pass, such as the control characters above 127 and those that change the direction of text.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\'' => f.write_char(c)?,
                // One character says that Rust takes it for a visible one.
                _ if c.is_ascii_graphic() || c == ' ' || c.escape_debug().len() == 1 => {
                    f.write_char(c)?;
                }
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(f, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_breaks_a_line_or_reaches_a_terminal(text in any::<String>()) {
            let escaped = format!("\"{}\"", Escaped(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).expect("JSON"), text.clone());
            for shown in [escaped, Word(&text).to_string()] {
                prop_assert!(!shown.chars().any(char::is_control), "{:?}", shown);
            }
        }
    }

    #[test]
    fn escapes_of_terminals_and_directions_are_numbers() {
        let text = "\u{1b}[31m\u{9b}0m\u{202e}\u{2028}ü\r\n\u{7f}";
        let shown = Escaped(text).to_string();
        assert_eq!(shown, "\\u001b[31m\\u009b0m\\u202e\\u2028ü\\u000d\\u000a\\u007f");
        let word = Word(text).to_string();
        assert!(!word.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{2028}', '\r']), "{word}");
    }
}
