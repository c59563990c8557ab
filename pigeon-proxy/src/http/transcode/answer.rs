//! The engine's answer to a JSON call: its messages as they come, and how it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, response};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};

use super::Json;
use crate::http::relay::{CallBody, CutOff};
use crate::reject::{About, PIGEON_REASON, Reason, Rejection, http_of_grpc, problem};
use crate::transcode::frames::{Fault, Frames};
use crate::transcode::message::write;
use crate::transcode::status;

/// UNKNOWN: of a call that ended without saying how.
const UNKNOWN: u8 = 2;

/// Turns the messages of an answer into JSON, one after another.
pub(in crate::http) struct Translator {
    json: Arc<Json>,
    frames: Frames,
    messages: u64,
}

impl Translator {
    pub(in crate::http) fn new(json: &Arc<Json>) -> Self {
        let longest = usize::try_from(json.longest).unwrap_or(usize::MAX);
        Self { json: Arc::clone(json), frames: Frames::new(longest), messages: 0 }
    }

    /// Whether messages go out before the call has ended.
    pub(in crate::http) fn streams(&self) -> bool {
        self.json.streams
    }

    /// The JSON of the messages that `part` completes.
    pub(in crate::http) fn feed(&mut self, part: &[u8]) -> Result<Bytes, Rejection> {
        self.frames.feed(part);
        let mut text = BytesMut::new();
        while let Some(message) = self.frames.message().map_err(|fault| self.fault(fault))? {
            self.messages += 1;
            let message = DynamicMessage::decode(self.json.message.clone(), message);
            let written = message.map_err(|error| error.to_string()).and_then(|message| {
                write(&message, self.json.part.as_deref()).map_err(|fault| fault.to_string())
            });
            let written = written.map_err(|error| {
                tracing::warn!(engine = %self.json.engine.name(), error, "an answer is not what was described");
                Rejection::EngineProtocolError
            })?;
            text.extend_from_slice(&written);
            text.extend_from_slice(b"\n");
        }
        Ok(text.freeze())
    }

    /// Whether the messages so far are those of a call that has ended well.
    pub(in crate::http) fn is_whole(&self) -> bool {
        self.frames.is_whole() && (self.json.streams || self.messages == 1)
    }

    fn fault(&self, fault: Fault) -> Rejection {
        match fault {
            Fault::TooLong => Rejection::MessageTooLarge { limit: self.json.longest },
            Fault::Compressed => Rejection::EngineProtocolError,
        }
    }
}

impl Json {
    /// The answer as the caller gets it. Waits for what its status depends on: the end of a unary call, the first
    /// message or the end of a stream.
    pub(in crate::http) async fn answer(
        self: &Arc<Self>,
        response: Response<CallBody>,
    ) -> Response<CallBody> {
        let (mut parts, mut body) = response.into_parts();
        let ended = status::code(&parts.headers).is_some();
        let end = ended.then(|| parts.headers.clone());
        drop_grpc(&mut parts.headers);
        if let Some(end) = end {
            return self.ends(parts, &end, Bytes::new());
        }
        let mut text = BytesMut::new();
        loop {
            let frame = match body.frame().await {
                Some(Ok(frame)) => frame,
                // gRPC calls end with trailers, also those that we break off.
                Some(Err(CutOff)) | None => {
                    return self.ends(parts, &HeaderMap::new(), text.freeze());
                }
            };
            match frame.into_data() {
                Ok(first) if self.streams => {
                    if first.is_empty() {
                        continue;
                    }
                    parts
                        .headers
                        .insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
                    let body =
                        Lines { first: Some(first), body, json: Arc::clone(self), ended: false };
                    return Response::from_parts(parts, CallBody::translated(Box::pin(body)));
                }
                Ok(data) => text.extend_from_slice(&data),
                Err(frame) => {
                    let end = frame.into_trailers().unwrap_or_default();
                    return self.ends(parts, &end, text.freeze());
                }
            }
        }
    }

    /// The answer of a call that has ended, before anything of it went out.
    fn ends(&self, mut parts: response::Parts, end: &HeaderMap, text: Bytes) -> Response<CallBody> {
        let code = status::code(end).unwrap_or(UNKNOWN);
        let headers = &mut parts.headers;
        for (name, value) in end.iter().filter(|(name, _)| !is_of_grpc(name)) {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        let kind =
            if code == 0 && self.streams { "application/x-ndjson" } else { "application/json" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let text = match end.get(PIGEON_REASON).and_then(|reason| reason.to_str().ok()) {
            Some(reason) => {
                let own = Reason::ALL.into_iter().find(|known| known.as_str() == reason);
                let http = own.map_or(http_of_grpc(code), Reason::http_status);
                parts.status = StatusCode::from_u16(http).unwrap_or(StatusCode::BAD_GATEWAY);
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                headers.insert(
                    PIGEON_REASON,
                    HeaderValue::from_str(reason).unwrap_or(HeaderValue::from_static("")),
                );
                let about = About {
                    route: Some(self.route.name.as_str()),
                    engine: Some(self.engine.name().as_str()),
                };
                problem(parts.status, reason, &status::message(end), about)
            }
            None if code == 0 => text,
            None => {
                parts.status = StatusCode::from_u16(http_of_grpc(code))
                    .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                line(&self.status(code, end))
            }
        };
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
        Response::from_parts(parts, CallBody::full(text))
    }

    fn status(&self, code: u8, end: &HeaderMap) -> Value {
        status::json(code, end, &self.described.pool)
    }

    /// What a stream ends with; nothing if it ended well.
    fn last_line(&self, end: &HeaderMap) -> Option<Bytes> {
        let code = status::code(end).unwrap_or(UNKNOWN);
        let mut error = self.status(code, end);
        if let Some(reason) = end.get(PIGEON_REASON).and_then(|reason| reason.to_str().ok()) {
            error["reason"] = reason.into();
        }
        (code != 0).then(|| line(&json!({ "error": error })))
    }
}

fn line(value: &Value) -> Bytes {
    format!("{value}\n").into()
}

/// What of a gRPC answer's head means nothing to a JSON caller.
fn drop_grpc(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_of_grpc(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn is_of_grpc(name: &HeaderName) -> bool {
    name.as_str().starts_with("grpc-")
        || [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, TRAILER, PIGEON_REASON].contains(name)
}

/// A stream of messages, one a line, and at its end the error if there is one.
struct Lines {
    first: Option<Bytes>,
    body: CallBody,
    json: Arc<Json>,
    ended: bool,
}

impl Body for Lines {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        while !self.ended {
            let end = match ready!(Pin::new(&mut self.body).poll_frame(cx)?) {
                Some(frame) => match frame.into_data() {
                    Ok(data) if data.is_empty() => continue,
                    Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(frame) => frame.into_trailers().unwrap_or_default(),
                },
                None => HeaderMap::new(),
            };
            self.ended = true;
            if let Some(last) = self.json.last_line(&end) {
                return Poll::Ready(Some(Ok(Frame::data(last))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
