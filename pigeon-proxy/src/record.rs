//! One record per call, written once, at its end: metrics and the access log. A call whose future is
//! dropped is written by the drop.

mod line;
mod log;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use pigeon_proto::model::GRPC_NAMES;
use pigeon_proto::model::Name;

pub use self::log::{AccessLog, LogFormat};
use crate::engine::{Endpoint, Engine, Failure, Outcome, Stay};
use crate::filter::Answer;
use crate::metrics::{CallSeries, Code};
use crate::reject::code::UNAVAILABLE;
use crate::reject::{Reason, Rejection};
use crate::retry::Failed;
use crate::table::{RouteEntry, Target};

/// What the access log shows of a call that begins.
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
}

/// The record of one call. 144 bytes; allocates nothing unless there is an access log.
pub struct Record {
    logged: Option<Box<Logged>>,
    series: Arc<CallSeries>,
    route: Option<Arc<RouteEntry>>,
    engine: Option<Arc<Engine>>,
    /// Where the call is, or was last.
    endpoint: Option<Arc<Endpoint>>,
    started: Instant,
    /// When it lined up, while it waits.
    waiting_since: Option<Instant>,
    /// In microseconds, like all that follow; [`NEVER`] if it did not wait.
    waited_us: u64,
    /// What went by before its stay at the endpoint began, counted from `started`.
    before_us: u64,
    /// When the first part of the answer came, counted from `started`.
    first_us: u64,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    http_status: Option<u16>,
    grpc_status: Option<u8>,
    reason: Option<Reason>,
    grpc: bool,
    raw: bool,
    complete: bool,
    /// It has been written.
    ended: bool,
    /// Its stay at the endpoint has been reported.
    stay_over: bool,
}

/// No such moment.
const NEVER: u64 = u64::MAX;

/// What the access log needs.
struct Logged {
    log: AccessLog,
    head: LoggedHead,
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

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(NEVER - 1)
}

impl Record {
    /// Begins the record of a call; until a route is known it counts into `unmatched`.
    pub fn begin(unmatched: Arc<CallSeries>, now: Instant, grpc: bool) -> Self {
        Self {
            logged: None,
            series: unmatched,
            route: None,
            engine: None,
            endpoint: None,
            started: now,
            waiting_since: None,
            waited_us: NEVER,
            before_us: 0,
            first_us: NEVER,
            bytes_in: 0,
            bytes_out: 0,
            http_status: None,
            grpc_status: None,
            reason: None,
            grpc,
            raw: false,
            complete: false,
            ended: false,
            stay_over: false,
        }
    }

    /// Has the call written to an access log that is on. Apart from [`Record::begin`], because where there is
    /// none nobody need find out what it would show.
    pub fn log(&mut self, log: AccessLog, call: &Beginning<'_>) {
        self.logged = Some(Box::new(Logged { head: LoggedHead::new(call), log }));
    }

    /// It is a raw connection: it has no status.
    pub fn is_raw(&mut self) {
        self.raw = true;
    }

    /// Bytes from the client of a raw connection were passed on.
    pub fn received(&mut self, bytes: usize) {
        self.bytes_in += bytes as u64;
        self.series.raw_bytes(false, bytes);
    }

    /// Bytes from the engine of a raw connection were passed on.
    pub fn passed(&mut self, bytes: usize) {
        self.sent(bytes);
        self.series.raw_bytes(true, bytes);
    }

    /// When the call began.
    pub fn started(&self) -> Instant {
        self.started
    }

    fn since_start(&self, now: Instant) -> u64 {
        us(now.saturating_duration_since(self.started))
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
            let before = if self.waited_us == NEVER { 0 } else { self.waited_us };
            self.waited_us = before + us(now.saturating_duration_since(since));
            self.before_us = self.since_start(now);
        }
    }

    /// The call goes to this endpoint. If it was at another before, [`Record::failed_there`] comes first.
    pub fn goes_to(&mut self, endpoint: &Arc<Endpoint>) {
        self.endpoint = Some(Arc::clone(endpoint));
        self.stay_over = false;
    }

    /// The endpoint the call is at has failed it, but the call is to be tried again: this counts against
    /// that endpoint alone. Not for connections that could not be opened; [`Engine::dial_failed`] takes
    /// note of these, and `goes_to` simply follows.
    pub fn failed_there(&mut self, failure: Failure, now: Instant) {
        self.stay_ends(Outcome::Failed(failure), now);
        self.before_us = self.since_start(now);
        (self.http_status, self.grpc_status) = (None, None);
    }

    /// The call is not to be held for or against the endpoint it is at: it did not reach it.
    pub fn not_reached(&mut self) {
        self.stay_over = true;
    }

    /// The call is tried again, because its attempt failed like this.
    pub fn tries_again(&mut self, failed: Option<Failed>, now: Instant) {
        self.series.tried_again();
        let failure = match failed {
            Some(Failed::Reset) => Some(Failure::Reset),
            Some(Failed::Grpc(UNAVAILABLE)) => Some(Failure::Unavailable),
            Some(Failed::Http(status @ 502..=504)) => Some(Failure::Http(status)),
            // The engine has not seen it, or said something that is not held against it.
            Some(Failed::Unseen | Failed::Grpc(_) | Failed::Http(_)) | None => None,
        };
        match failure {
            Some(failure) => self.failed_there(failure, now),
            None => self.not_reached(),
        }
    }

    /// The head of the answer is there.
    pub fn answered(&mut self, http_status: u16) {
        self.http_status = Some(http_status);
    }

    /// Whether the gRPC status is known.
    pub fn has_grpc_status(&self) -> bool {
        self.grpc_status.is_some()
    }

    /// The gRPC status is there.
    pub fn grpc_status(&mut self, status: u8) {
        self.grpc_status = Some(status);
    }

    /// A part of the answer's body is there.
    pub fn sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
        if self.first_us == NEVER {
            self.first_message(Instant::now());
        }
    }

    /// The same, for those who know the time already.
    pub fn sent_at(&mut self, bytes: usize, now: Instant) {
        self.bytes_out += bytes as u64;
        if self.first_us == NEVER {
            self.first_message(now);
        }
    }

    fn first_message(&mut self, now: Instant) {
        self.first_us = self.since_start(now);
        self.series.first_response(Duration::from_micros(self.first_us));
    }

    /// The gateway answers the call itself, or breaks its answer off.
    pub fn rejected(&mut self, rejection: &Rejection) {
        self.reason = Some(rejection.reason());
        if self.grpc {
            self.http_status.get_or_insert(200);
            self.grpc_status = Some(rejection.grpc_code());
        } else if !self.raw {
            self.http_status.get_or_insert(rejection.http_status());
        }
    }

    /// The gateway gives the answer that the route says: no refusal, so without a reason.
    pub fn answered_by_route(&mut self, answer: &Answer) {
        self.http_status = Some(answer.status);
        self.grpc_status = answer.grpc_status;
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
        if self.raw {
            return match (self.reason, self.complete) {
                (Some(_), _) => Code::TcpFailed,
                (None, true) => Code::TcpClosed,
                (None, false) => Code::Cancelled,
            };
        }
        match (self.grpc, self.complete || self.reason.is_some()) {
            (true, true) => Code::Grpc(self.grpc_status.unwrap_or(UNKNOWN)),
            (true, false) => Code::Grpc(self.grpc_status.unwrap_or(CANCELLED)),
            (false, true) => Code::Http(self.http_status.unwrap_or(500)),
            (false, false) => Code::Cancelled,
        }
    }

    /// What its end says about the endpoint. What callers do is not held against it.
    fn outcome(&self) -> Outcome {
        use crate::reject::code::UNAVAILABLE;
        match self.reason {
            Some(Reason::EngineReset) => Outcome::Failed(Failure::Reset),
            Some(Reason::EngineProtocolError) => Outcome::Failed(Failure::Protocol),
            Some(_) => Outcome::Unknown,
            None if !self.complete => Outcome::Unknown,
            None => match (self.grpc, self.grpc_status, self.http_status) {
                (true, Some(UNAVAILABLE), _) => Outcome::Failed(Failure::Unavailable),
                (_, None, Some(status @ 502..=504)) => Outcome::Failed(Failure::Http(status)),
                _ => Outcome::Well,
            },
        }
    }

    /// Reports the stay at the endpoint, once.
    fn stay_ends(&mut self, outcome: Outcome, now: Instant) {
        let (Some(engine), Some(endpoint), false) = (&self.engine, &self.endpoint, self.stay_over)
        else {
            return;
        };
        let held_us = self.since_start(now).saturating_sub(self.before_us);
        let first = self.first_us;
        let first_message_us = (first != NEVER).then(|| first.saturating_sub(self.before_us));
        let stay = Stay { outcome, held_us, first_message_us };
        engine.ended(endpoint, &stay, engine.clock().at_us(now));
        self.stay_over = true;
    }

    /// Writes the record, for those who know the time already; else dropping it does.
    pub fn ends(mut self, now: Instant) {
        self.end(now);
    }

    fn end(&mut self, now: Instant) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.waited(now);
        self.stay_ends(self.outcome(), now);
        let duration = now.saturating_duration_since(self.started);
        self.series.ended(self.code(), self.reason, duration);
        if self.waited_us != NEVER {
            self.series.waited(Duration::from_micros(self.waited_us));
        }
        if let Some(engine) = &self.engine {
            engine.count(self.reason.is_some());
        }
        if let Some(logged) = self.logged.take() {
            logged.log.write(&line::Line { head: &logged.head, record: self, duration });
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
