//! One record per call, written once, at its end: metrics and the access log. A call whose future is
//! dropped is written by the drop.

mod line;
mod log;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pigeon_proto::model::{Address, Name};

pub use self::log::{AccessLog, LogFormat};
use crate::engine::{Endpoint, Engine};
use crate::metrics::{CallSeries, Code};
use crate::reject::{Reason, Rejection};
use crate::table::{RouteEntry, Target};

/// The names of gRPC's status codes, by number.
pub const GRPC_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What is known of a call when it begins; copied only if there is an access log.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'c> {
    /// The listener it came in on.
    pub listener: &'c Name,
    /// Who called.
    pub peer: IpAddr,
    /// HTTP method.
    pub method: &'c str,
    /// Host, without port.
    pub host: &'c str,
    /// Path, without the query: a query may carry secrets.
    pub path: &'c str,
    /// The caller's or the gateway's `x-request-id`.
    pub request_id: &'c str,
    /// Whether it is a gRPC call.
    pub grpc: bool,
}

/// The record of one call.
pub struct Record {
    log: AccessLog,
    head: Option<Box<LoggedHead>>,
    grpc: bool,
    started: Instant,
    series: Arc<CallSeries>,
    route: Option<Arc<RouteEntry>>,
    engine: Option<Arc<Engine>>,
    endpoint: Option<Address>,
    waiting_since: Option<Instant>,
    waited: Option<Duration>,
    first_response: bool,
    http_status: Option<u16>,
    grpc_status: Option<u8>,
    reason: Option<Reason>,
    complete: bool,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
}

/// What of the head the access log shows.
struct LoggedHead {
    at: jiff::Timestamp,
    listener: Name,
    peer: IpAddr,
    method: String,
    host: String,
    path: String,
    request_id: String,
}

impl Record {
    /// Begins the record of a call; until a route is known it counts into `unmatched`.
    pub fn begin(
        log: AccessLog,
        unmatched: Arc<CallSeries>,
        now: Instant,
        call: &Beginning<'_>,
    ) -> Self {
        let head = log.is_on().then(|| Box::new(LoggedHead::new(call)));
        Self {
            log,
            head,
            grpc: call.grpc,
            started: now,
            series: unmatched,
            route: None,
            engine: None,
            endpoint: None,
            waiting_since: None,
            waited: None,
            first_response: false,
            http_status: None,
            grpc_status: None,
            reason: None,
            complete: false,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// When the call began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The call took this route, and goes to this engine of it.
    pub fn routed(&mut self, route: &Arc<RouteEntry>, target: &Target) {
        self.series = Arc::clone(&target.series);
        self.engine.clone_from(&target.engine);
        self.route = Some(Arc::clone(route));
    }

    /// The call lines up for a slot.
    pub fn waits(&mut self, now: Instant) {
        self.waiting_since = Some(now);
    }

    /// The call waits no longer, whether it got a slot or not.
    pub fn waited(&mut self, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            *self.waited.get_or_insert_default() += now.saturating_duration_since(since);
        }
    }

    /// The call goes to this endpoint.
    pub fn goes_to(&mut self, endpoint: &Endpoint) {
        self.endpoint = Some(endpoint.address().clone());
    }

    /// The call is tried again.
    pub fn tries_again(&self) {
        self.series.tried_again();
    }

    /// The head of the answer is there.
    pub fn answered(&mut self, http_status: u16) {
        self.http_status = Some(http_status);
    }

    /// The gRPC status is there.
    pub fn grpc_status(&mut self, status: u8) {
        self.grpc_status = Some(status);
    }

    /// A part of the answer's body is there.
    pub fn sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
        if !self.first_response {
            self.first_response = true;
            self.series.first_response(self.started.elapsed());
        }
    }

    /// The gateway answers the call itself, or breaks its answer off.
    pub fn rejected(&mut self, rejection: &Rejection) {
        self.reason = Some(rejection.reason());
        if self.grpc {
            self.http_status.get_or_insert(200);
            self.grpc_status = Some(rejection.grpc_code());
        } else {
            self.http_status.get_or_insert(rejection.http_status());
        }
    }

    /// The answer is complete. Without this the caller went away before.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// The name of the route and of the engine, for answers.
    pub fn about(&self) -> crate::reject::About<'_> {
        crate::reject::About {
            route: self.route.as_ref().map(|r| r.name.as_str()),
            engine: self.engine.as_ref().map(|e| e.name().as_str()),
        }
    }

    fn code(&self) -> Code {
        use crate::reject::code::{CANCELLED, UNKNOWN};
        match (self.grpc, self.complete || self.reason.is_some()) {
            (true, true) => Code::Grpc(self.grpc_status.unwrap_or(UNKNOWN)),
            (true, false) => Code::Grpc(self.grpc_status.unwrap_or(CANCELLED)),
            (false, true) => Code::Http(self.http_status.unwrap_or(500)),
            (false, false) => Code::HttpCancelled,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let now = Instant::now();
        let duration = now.saturating_duration_since(self.started);
        self.waited(now);
        self.series.ended(self.code(), self.reason, duration);
        if let Some(waited) = self.waited {
            self.series.waited(waited);
        }
        if let Some(engine) = &self.engine {
            engine.count(self.reason.is_some());
        }
        if let Some(head) = self.head.take() {
            self.log.write(&line::Line { head: &head, record: self, duration });
        }
    }
}

#[cfg(test)]
mod tests;
