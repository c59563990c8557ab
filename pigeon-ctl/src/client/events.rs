//! Server-sent events: from the bytes of an answer that does not end to one event after the other.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::timeout;

use super::LARGEST;

/// The longest silence of a server that is there: it says something every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What kind.
    pub name: String,
    /// Where to go on after it.
    pub id: Option<String>,
    /// What it says.
    pub data: Value,
}

/// The events of an open answer.
pub struct Events {
    body: Incoming,
    parser: Parser,
}

impl Events {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, parser: Parser::default() }
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// Why there will be no more.
    pub async fn next(&mut self) -> Result<Event, String> {
        loop {
            if let Some(event) = self.parser.event()? {
                return Ok(event);
            }
            let frame = match timeout(SILENCE, self.body.frame()).await {
                Ok(Some(frame)) => frame.map_err(|e| e.to_string())?,
                Ok(None) => return Err("it has ended".into()),
                Err(_) => return Err(format!("nothing came for {} s", SILENCE.as_secs())),
            };
            if let Ok(bytes) = frame.into_data() {
                self.parser.rest.extend_from_slice(&bytes);
            }
        }
    }
}

/// The lines of an event that is not whole yet.
#[derive(Default)]
struct Parser {
    /// Bytes that came and were not read yet.
    rest: Vec<u8>,
    /// How many of them are known to have no end of a line.
    seen: usize,
    name: String,
    id: Option<String>,
    data: String,
}

impl Parser {
    /// The next event, if it is there as a whole.
    fn event(&mut self) -> Result<Option<Event>, String> {
        while let Some(end) = self.rest[self.seen..].iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=self.seen + end).collect();
            self.seen = 0;
            let line = String::from_utf8(line).map_err(|_| "it is not UTF-8")?;
            match line.trim_end_matches(['\r', '\n']) {
                "" if self.data.is_empty() => *self = self.without_lines(),
                "" => return self.whole().map(Some),
                line => self.line(line),
            }
        }
        self.seen = self.rest.len();
        match self.seen + self.data.len() > LARGEST {
            true => Err(format!("an event is larger than {} MiB", LARGEST >> 20)),
            false => Ok(None),
        }
    }

    fn line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "id" => self.id = Some(value.to_owned()),
            // JSON has no line breaks of its own that would matter.
            "data" => self.data.push_str(value),
            // A comment, or a field that says nothing to this program.
            _ => {}
        }
    }

    fn whole(&mut self) -> Result<Event, String> {
        let rest = self.without_lines();
        let Self { name, id, data, .. } = std::mem::replace(self, rest);
        let data = serde_json::from_str(&data).map_err(|e| format!("an event is no JSON: {e}"))?;
        Ok(Event { name, id, data })
    }

    /// The same at the beginning of an event.
    fn without_lines(&mut self) -> Self {
        Self { rest: std::mem::take(&mut self.rest), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_however_they_come() {
        let text = "retry: 2000\nid: 1-7\nevent: bookmark\ndata: {\"revision\":7}\n\n: quiet\n\n\
                    event:config\r\ndata:{\"kind\":\r\ndata: \"ä\"}\r\n\r\nevent: half\ndata: {}\n";
        for size in [1, 2, 7, 1_000] {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                parser.rest.extend_from_slice(piece);
                while let Some(event) = parser.event().expect("good events") {
                    events.push((event.name, event.id, event.data.to_string()));
                }
            }
            let event = |name: &str, id: Option<&str>, data: &str| {
                (name.to_owned(), id.map(str::to_owned), data.to_owned())
            };
            let wanted = [
                event("bookmark", Some("1-7"), "{\"revision\":7}"),
                event("config", None, "{\"kind\":\"ä\"}"),
            ];
            assert_eq!(events, wanted, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for bad in [&b"data: nonsense\n\n"[..], b"data: \xff\n\n"] {
            let mut parser = Parser { rest: bad.to_vec(), ..Parser::default() };
            assert!(parser.event().is_err(), "{bad:?}");
        }
    }
}
