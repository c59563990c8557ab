//! The gateway's own answers, on a client's stream.

use std::time::Duration;

use http::HeaderMap;

use super::call::{Side, Stage};
use super::state::State;
use crate::filter::{Answer, Stop};
use crate::h2::Key;
use crate::h2::error as code;
use crate::h2::fields::{Fields, Indexing};
use crate::reject::{Rejection, grpc_headers, grpc_trailers, http_answer};

/// Up to this announced length a body is read before it is refused: an answer that ends a stream while its
/// client still writes is legal (RFC 9113, section 8.1), but curl 7.88 fails or hangs on it.
const SHORT: u64 = 65_536;
/// As long as a short body may take to come.
const PATIENCE: Duration = Duration::from_secs(1);

impl State {
    /// The gateway refuses the call, or ends its answer.
    pub(super) fn reject(&mut self, at: u32, rejection: &Rejection) {
        self.stop(at, Stop::Reject(rejection.clone()));
    }

    /// The gateway answers the call itself.
    pub(super) fn stop(&mut self, at: u32, stop: Stop) {
        self.stop_waiting(at);
        self.leave_engine(at, code::CANCEL);
        let now = self.now;
        let Some(call) = self.calls.get_mut(at) else { return };
        call.stage = Stage::Over;
        call.permit = None;
        if let Some(record) = &mut call.record {
            match &stop {
                Stop::Reject(rejection) => record.rejected(rejection),
                Stop::Answer(answer) => record.answered_by_route(answer),
            }
        }
        let length = call.head.request().and_then(|request| request.content_length);
        let short = length.is_some_and(|length| length <= SHORT);
        let patient = short && !call.request_ended && !call.answered;
        let held = call.held.take().map_or(0, |held| held.owed());
        let down = (call.down.conn, call.down.key);
        self.release_on(down.0, down.1, held, false);
        if !patient {
            return self.send_own(at, &stop);
        }
        if let Some(call) = self.calls.get_mut(at) {
            call.stage = Stage::Dismissed(Box::new(stop));
            self.set_timer(at, Some(now + PATIENCE));
        }
    }

    pub(super) fn send_own(&mut self, at: u32, stop: &Stop) {
        match stop {
            Stop::Reject(rejection) => self.send_rejection(at, rejection),
            Stop::Answer(answer) => self.send_answer(at, answer),
        }
    }

    /// The answer that the route says.
    fn send_answer(&mut self, at: u32, answer: &Answer) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let (conn, key) = (call.down.conn, call.down.key);
        let bodiless = answer.body.is_empty() || call.head.method() == "HEAD";
        call.stage = Stage::Over;
        call.answered = true;
        let mut head = fields(Some(&answer.status.to_string()), &answer.headers);
        if answer.has_length() {
            let length = answer.body.len().to_string();
            head.push(b"content-length", length.as_bytes(), Indexing::Plain);
        }
        if let Some(record) = call.record.as_mut().filter(|_| !bodiless) {
            record.sent(answer.body.len());
        }
        self.send_fields(conn, key, &head, bodiless);
        if bodiless {
            self.ended(at, Side::Down);
        } else {
            self.forward(at, Side::Down, &answer.body, true, 0);
        }
    }

    fn send_rejection(&mut self, at: u32, rejection: &Rejection) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let (conn, key) = (call.down.conn, call.down.key);
        let (grpc, answered, bodiless) = (call.grpc, call.answered, call.head.method() == "HEAD");
        call.stage = Stage::Over;
        call.down.pending = None;
        let about = call.record.as_ref().map(|record| record.about()).unwrap_or_default();
        if grpc {
            let headers = if answered {
                grpc_trailers(rejection, about)
            } else {
                grpc_headers(rejection, about)
            };
            let status = (!answered).then_some("200");
            self.send_fields(conn, key, &fields(status, &headers), true);
            self.ended(at, Side::Down);
        } else if answered {
            // The caller must not take it for complete.
            self.remove(at, code::INTERNAL_ERROR);
        } else {
            let mut answer = http_answer(rejection, about);
            answer.headers.insert(http::header::CONTENT_LENGTH, answer.body.len().into());
            call.answered = true;
            self.send_fields(
                conn,
                key,
                &fields(Some(answer.status.as_str()), &answer.headers),
                bodiless,
            );
            if bodiless {
                self.ended(at, Side::Down);
            } else {
                self.forward(at, Side::Down, &answer.body, true, 0);
            }
        }
    }

    /// Sends fields that nobody will send again.
    pub(super) fn send_fields(&mut self, conn: u32, key: Key, fields: &Fields, end: bool) {
        let Some(h2) = self.h2(conn) else { return };
        h2.send_headers(key, end, |encoder, out| {
            for (name, value, indexing) in fields.iter() {
                encoder.field(name, value, indexing, out);
            }
        });
    }
}

/// A map as a list; with a status it is the head of an answer.
pub(super) fn fields(status: Option<&str>, headers: &HeaderMap) -> Fields {
    let mut fields = Fields::new();
    if let Some(status) = status {
        fields.push(b":status", status.as_bytes(), Indexing::Indexed);
    }
    for (name, value) in headers {
        let indexing = if value.is_sensitive() { Indexing::Never } else { Indexing::Plain };
        fields.push(name.as_str().as_bytes(), value.as_bytes(), indexing);
    }
    fields
}
