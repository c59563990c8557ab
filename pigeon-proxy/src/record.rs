//! One record per call, written once, at its end: metrics and the access log. A call whose future is
//! dropped is written by the drop.

mod inbound;
mod line;
mod log;
mod open;
mod span;
mod trace;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub use pigeon_proto::model::GRPC_NAMES;
use pigeon_proto::model::Name;

pub use self::inbound::Inbound;
use self::line::{Event, Facts, Line};
use self::log::Chosen;
pub use self::log::{AccessLog, LogFormat, LogSettings};
use self::open::Open;
use self::span::Traced;
pub use self::trace::Context;
use crate::engine::{Endpoint, Engine, Failure, Outcome, Stay};
use crate::filter::Answer;
use crate::metrics::{CallSeries, Code};
use crate::reject::code::UNAVAILABLE;
use crate::reject::{Reason, Rejection};
use crate::retry::Failed;
use crate::table::{RouteEntry, Target};
use crate::traces::Tracer;

/// What the access log shows of a call that begins.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'c> {
    /// The listener it came in on.
    pub listener: &'c Name,
    /// Who called.
    pub peer: IpAddr,
    /// Version of HTTP, such as `HTTP/2`.
    pub protocol: &'static str,
    /// HTTP method.
    pub method: &'c str,
    /// Host, without port.
    pub host: &'c str,
    /// Path, without the query: a query may carry secrets.
    pub path: &'c str,
    /// The caller's or the gateway's `x-request-id`.
    pub request_id: &'c str,
    /// What the caller says it is; empty if it says nothing.
    pub user_agent: &'c str,
    /// The caller's `traceparent`, whatever it says.
    pub traceparent: Option<&'c [u8]>,
    /// The caller's `tracestate`.
    pub tracestate: Option<&'c str>,
}

/// The record of one call. 168 bytes; allocates nothing unless there is an access log or a trace.
pub struct Record {
    logged: Option<Box<Logged>>,
    traced: Option<Box<Traced>>,
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
    /// Messages of a gRPC call, either way.
    messages_in: u32,
    messages_out: u32,
    /// How often it went to an endpoint.
    attempts: u16,
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
    chosen: Chosen,
    head: Arc<LoggedHead>,
    /// What lines before the end go by, where there are any.
    open: Option<Arc<Open>>,
}

/// What of the head the access log shows.
#[derive(Clone, Debug)]
struct LoggedHead {
    at: jiff::Timestamp,
    listener: Name,
    peer: IpAddr,
    protocol: &'static str,
    method: String,
    host: String,
    path: String,
    agent: String,
    request_id: String,
    trace_id: Option<String>,
    /// Whose call it is, once that is known.
    tenant: Option<String>,
    grpc: bool,
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(NEVER - 1)
}

impl Record {
    /// Begins the record of a call; until a route is known it counts into `unmatched`.
    pub fn begin(unmatched: Arc<CallSeries>, now: Instant, grpc: bool) -> Self {
        Self {
            logged: None,
            traced: None,
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
            messages_in: 0,
            messages_out: 0,
            attempts: 0,
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

    /// Has the call written down: in an access log that is on, if the random `seeds` choose it, and in its trace,
    /// if it is part of one. Apart from [`Record::begin`], because where there is neither nobody need find out
    /// what they would show.
    pub fn watch(
        &mut self,
        log: &AccessLog,
        tracer: Option<&Arc<Tracer>>,
        seeds: (u128, u64),
        call: &Beginning<'_>,
    ) {
        let chosen = log.choose((seeds.0 >> 64) as u64);
        let placed = tracer.and_then(|tracer| {
            let place = tracer.place(call.traceparent, seeds.0, seeds.1)?;
            Some((Arc::clone(tracer), place))
        });
        let kept = placed.as_ref().is_some_and(|(_, place)| place.context.sampled);
        let head = (chosen != Chosen::Nothing || kept).then(|| {
            let mut head = LoggedHead::new(call, self.grpc);
            let ours = placed.as_ref().map(|(_, place)| place.context);
            let context = ours.or_else(|| call.traceparent.and_then(Context::parse));
            head.trace_id = context.map(|context| format!("{:032x}", context.trace));
            Arc::new(head)
        });
        if let Some((tracer, place)) = placed {
            let head = head.clone().filter(|_| kept);
            let state = place.parent.and(call.tracestate).unwrap_or_default().to_owned();
            let attempts = Vec::new();
            self.traced = Some(Box::new(Traced { tracer, place, head, state, attempts }));
        }
        if let Some(head) = head.filter(|_| chosen != Chosen::Nothing) {
            let log = log.clone();
            self.logged = Some(Box::new(Logged { log, chosen, head, open: None }));
        }
    }

    /// On whose behalf the call is made; before it asks for a slot.
    pub fn tenant(&mut self, name: &str) {
        let logged = self.logged.iter_mut().map(|logged| &mut logged.head);
        let traced = self.traced.iter_mut().filter_map(|traced| traced.head.as_mut());
        for head in logged.chain(traced) {
            Arc::make_mut(head).tenant = Some(name.to_owned());
        }
    }

    /// The call goes on to its engine: from here on it may have lines before its end.
    fn follow(&mut self) {
        let Some(logged) = self.logged.as_deref_mut() else { return };
        if logged.chosen != Chosen::All || logged.open.is_some() {
            return;
        }
        let Some(settings) = logged.log.follows() else { return };
        let open = Arc::new(Open::new(Arc::clone(&logged.head), self.started));
        open.set(|place| {
            place.route.clone_from(&self.route);
            place.engine.clone_from(&self.engine);
        });
        if settings.start {
            open.with(|facts| {
                let (head, event) = (&logged.head, Event::Start);
                logged.log.write(&Line { head, event, facts, duration: Duration::ZERO });
            });
        }
        if settings.interval.is_some() {
            logged.log.follow(&open);
        }
        logged.open = Some(open);
    }

    fn followed(&self) -> Option<&Open> {
        self.logged.as_ref()?.open.as_deref()
    }

    /// For whoever reads the request's body where this record is not.
    pub fn inbound(&self) -> Inbound {
        let open = self.logged.as_ref().and_then(|logged| logged.open.clone());
        Inbound::new(Arc::clone(&self.series), open)
    }

    /// It is a raw connection: it has no status.
    pub fn is_raw(&mut self) {
        self.raw = true;
    }

    /// Bytes from the client of a raw connection were passed on.
    pub fn raw_received(&mut self, bytes: usize) {
        self.received(bytes);
        self.series.raw_bytes(false, bytes);
    }

    /// Bytes from the engine of a raw connection were passed on.
    pub fn raw_sent(&mut self, bytes: usize) {
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
        self.series.began();
    }

    /// The call lines up for a slot.
    pub fn waits(&mut self, now: Instant) {
        self.follow();
        self.waiting_since = Some(now);
    }

    /// The call waits no longer, whether it got a slot or not.
    pub fn waited(&mut self, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            let before = if self.waited_us == NEVER { 0 } else { self.waited_us };
            self.waited_us = before + us(now.saturating_duration_since(since));
            self.before_us = self.since_start(now);
            if let Some(open) = self.followed() {
                open.set(|place| place.waited_us = Some(self.waited_us));
            }
        }
    }

    /// The call goes to this endpoint. If it was at another before, [`Record::failed_there`] comes first.
    pub fn goes_to(&mut self, endpoint: &Arc<Endpoint>) {
        self.endpoint = Some(Arc::clone(endpoint));
        self.stay_over = false;
        self.attempts = self.attempts.saturating_add(1);
        self.trace_attempt(endpoint);
        self.follow();
        if let Some(open) = self.followed() {
            open.set(|place| {
                place.endpoint = Some(Arc::clone(endpoint));
                place.attempts = self.attempts.into();
            });
        }
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
        if let Some(open) = self.followed() {
            open.set(|place| place.http_status = Some(http_status));
        }
    }

    /// The answer has this HTTP status, if it has none yet: that of a call whose engine speaks gRPC, and its caller
    /// not, is known late.
    pub fn answers(&mut self, http_status: u16) {
        if self.http_status.is_none() {
            self.answered(http_status);
        }
    }

    /// Whether the gRPC status is known.
    pub fn has_grpc_status(&self) -> bool {
        self.grpc_status.is_some()
    }

    /// The gRPC status is there.
    pub fn grpc_status(&mut self, status: u8) {
        self.grpc_status = Some(status);
    }

    /// A part of the request's body is there.
    pub fn received(&mut self, bytes: usize) {
        self.bytes_in += bytes as u64;
        if let Some(open) = self.followed() {
            open.counts.bytes_in.store(self.bytes_in, Ordering::Relaxed);
        }
    }

    /// Takes over what was counted elsewhere (see [`Record::inbound`]).
    pub fn received_in_all(&mut self, inbound: &Inbound) {
        self.bytes_in = inbound.bytes();
        self.messages_in = u32::try_from(inbound.messages()).unwrap_or(u32::MAX);
    }

    /// So many messages of the request have begun.
    pub fn messages_received(&mut self, count: u32) {
        self.messages_in = self.messages_in.saturating_add(count);
        self.series.messages_received(count);
        if let Some(open) = self.followed() {
            open.counts.messages_in.store(self.messages_in.into(), Ordering::Relaxed);
        }
    }

    /// So many messages of the answer have begun.
    pub fn messages_sent(&mut self, count: u32) {
        self.messages_out = self.messages_out.saturating_add(count);
        self.series.messages_sent(count);
        if let Some(open) = self.followed() {
            open.counts.messages_out.store(self.messages_out.into(), Ordering::Relaxed);
        }
    }

    /// A part of the answer's body is there.
    pub fn sent(&mut self, bytes: usize) {
        if self.first_us == NEVER {
            self.first_message(Instant::now());
        }
        self.count_sent(bytes);
    }

    /// The same, for those who know the time already.
    pub fn sent_at(&mut self, bytes: usize, now: Instant) {
        if self.first_us == NEVER {
            self.first_message(now);
        }
        self.count_sent(bytes);
    }

    fn count_sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
        if let Some(open) = self.followed() {
            open.counts.bytes_out.store(self.bytes_out, Ordering::Relaxed);
        }
    }

    fn first_message(&mut self, now: Instant) {
        self.first_us = self.since_start(now);
        self.series.first_response(Duration::from_micros(self.first_us));
        if let Some(open) = self.followed() {
            open.set(|place| place.first_us = Some(self.first_us));
        }
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
            None => match (self.grpc_status, self.http_status) {
                (Some(UNAVAILABLE), _) => Outcome::Failed(Failure::Unavailable),
                (None, Some(status @ 502..=504)) => Outcome::Failed(Failure::Http(status)),
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
        // How long a stream is open says nothing about how fast anybody is.
        let streams = self.raw || self.messages_in > 1 || self.messages_out > 1;
        self.series.ended(self.code(), self.reason, (!streams).then_some(duration));
        if self.route.is_some() {
            self.series.left();
        }
        if self.waited_us != NEVER {
            self.series.waited(Duration::from_micros(self.waited_us));
        }
        let stopped = self.was_stopped();
        if let Some(engine) = self.engine.as_ref().filter(|_| !stopped) {
            engine.count(self.reason.is_some());
        }
        if let Some(logged) = self.logged.take() {
            self.write(&logged, duration);
        }
        if let Some(traced) = self.traced.take() {
            self.tell(*traced, duration);
        }
    }

    /// Whether it never came to the engine's line, because a filter stopped it or nobody could carry it.
    fn was_stopped(&self) -> bool {
        let met_nobody = self.endpoint.is_none() && self.waited_us == NEVER;
        let of_request = |reason| {
            use Reason::{BadRequest, MethodNotAllowed, NoRoute, TooLarge};
            matches!(reason, BadRequest | MethodNotAllowed | NoRoute | TooLarge)
        };
        self.reason.is_some_and(|reason| reason.is_of_filters() || met_nobody && of_request(reason))
    }

    /// Writes its last line.
    fn write(&self, logged: &Logged, duration: Duration) {
        if let Some(open) = &logged.open {
            logged.log.leave(open);
        }
        if logged.chosen == Chosen::Failure && !self.has_failed() {
            return;
        }
        let (about, messages) = (self.about(), (self.messages_in.into(), self.messages_out.into()));
        let time = |us: u64| (us != NEVER).then_some(us);
        let facts = Facts {
            route: about.route,
            engine: about.engine,
            endpoint: self.endpoint.as_ref().map(|endpoint| endpoint.address().as_str()),
            http_status: self.http_status,
            grpc_status: self.grpc_name(),
            reason: self.reason.map(Reason::as_str),
            cancelled: !self.complete && self.reason.is_none(),
            waited_us: time(self.waited_us),
            first_us: time(self.first_us),
            attempts: self.attempts.into(),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            messages: self.grpc.then_some(messages),
        };
        logged.log.write(&Line { head: &logged.head, event: Event::End, facts: &facts, duration });
    }

    fn grpc_name(&self) -> Option<&'static str> {
        match self.code() {
            Code::Grpc(code) => {
                Some(GRPC_NAMES.get(usize::from(code)).copied().unwrap_or("UNKNOWN"))
            }
            Code::Http(_) | Code::TcpClosed | Code::TcpFailed | Code::Cancelled => None,
        }
    }

    /// Whether somebody should look at it: the gateway broke it off or answered it, or its engine gave an HTTP
    /// status above 499 or one of the gRPC statuses that stand for such (UNKNOWN, DEADLINE_EXCEEDED,
    /// UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS). Not that its caller went away.
    fn has_failed(&self) -> bool {
        self.reason.is_some()
            || match self.code() {
                Code::Grpc(code) => matches!(code, 2 | 4 | 12..=15),
                Code::Http(status) => status >= 500,
                Code::TcpFailed => true,
                Code::TcpClosed | Code::Cancelled => false,
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
