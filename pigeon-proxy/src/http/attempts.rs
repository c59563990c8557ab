//! A call's way to the head of an answer, over as many endpoints and attempts as it takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version, request};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use super::admission::Admitting;
use super::blame::blame_first;
use super::call::Call;
use super::caller::CallerBody;
use super::forward::{self, To};
use super::head::{GRPC_TIMEOUT, TRACEPARENT, TRACESTATE, is_grpc};
use super::leg::Leg;
use super::shadow::Copy;
use super::tunnel;
use super::upload::{Limits, RequestBody, Upload};
use super::upstream::{Attempt, DialError, Link, unreachable};
use crate::admit::Permit;
use crate::engine::Engine;
use crate::grpc::timeout;
use crate::reject::{GRPC_STATUS, Rejection};
use crate::retry::{Failed, Tries};
use crate::table::{RouteEntry, hash_of};

/// Tells the engine how often a gRPC call was tried before (gRPC's retry design, A6).
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// Up to this length, and for this time, the body of an answer is read that the caller does not get.
const SHORT: usize = 65_536;
const READ_TIME: Duration = Duration::from_millis(100);

/// What is sent, as often as it takes.
struct Outgoing {
    parts: request::Parts,
    upload: Arc<Upload>,
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // Without an answer the call is over.
        self.upload.end(false);
    }
}

/// A slot, and a connection to its endpoint.
type Reached = (Permit, Link);

/// How one attempt went. Moved once, at once: not worth an allocation.
#[allow(clippy::large_enum_variant)]
enum Exchanged {
    /// The head of the answer is there.
    Answered(Response<Incoming>, Leg),
    /// There is none.
    Failed {
        /// What trying again goes by.
        failed: Option<Failed>,
        /// What the caller is told otherwise.
        why: Rejection,
        /// The slot, which the same call may use again.
        permit: Option<Permit>,
    },
}

/// A decision to try again.
struct Again {
    pause: Duration,
    /// What the caller is told if no endpoint is left.
    why: Rejection,
    /// The slot of the attempt before; none if the engine had the call, and its slot is free for others.
    permit: Option<Permit>,
}

impl Call<'_> {
    /// Takes the call to an endpoint and waits for the head of the answer.
    pub(super) async fn carry(
        &mut self,
        (route, engine): (Arc<RouteEntry>, Arc<Engine>),
        mut parts: request::Parts,
        whole: &mut Option<CallerBody>,
    ) -> Result<(Response<Incoming>, Leg), Rejection> {
        let version = self.version_for(&engine);
        if version == Version::HTTP_2 && self.upgrade.is_some() {
            let why = "upgrades (WebSocket and others) need an engine that speaks HTTP/1.1";
            return Err(Rejection::BadRequest { why });
        }
        let hash = engine.settings().hash_key.as_ref().and_then(|key| {
            let header = |name: &str| parts.headers.get(name).map(HeaderValue::as_bytes);
            hash_of(key, header, (self.client.peer, self.tenant()))
        });
        let mut admitting = Admitting::new(Arc::clone(&engine), hash, self.deadline);
        let (mut permit, mut link) = self.reach(&mut admitting, version).await?;
        let secure = engine.settings().tls.is_some();
        let authority = permit.endpoint().address().as_str();
        let copy = route.shadow.as_ref().and_then(|shadow| Copy::of(self, &route, shadow, &parts));
        let edits = route.filters.edits().map(Arc::as_ref);
        let to = To { version, authority, secure, edits };
        if route.filters.hides_keys() {
            forward::hide_keys(&mut parts.headers);
        }
        forward::request(&mut parts, &self.head, self.client, &to);
        forward::caller(&mut parts.headers, self.identity.as_deref());
        if let Some((offered, _)) = &self.upgrade {
            forward::upgrade(&mut parts.headers, offered.clone());
        }
        // Taken only here: who is refused before may still be writing it.
        let body = whole.take().ok_or(Rejection::ConnectFailed)?;
        let body = match copy {
            Some(copy) => copy.begin(body),
            None => body,
        };
        let limits = Limits {
            grpc: self.head.grpc,
            message: self.max_message,
            body: route.filters.max_body,
        };
        let upload = Upload::new(body, route.retry.buffer, limits, self.record.inbound());
        let outgoing = Outgoing { parts, upload };
        let mut tries = Tries::default();
        loop {
            let endpoint = permit.endpoint().id();
            let again = match self.exchange(link, permit, &outgoing, &tries).await? {
                Exchanged::Answered(response, leg) => {
                    let unwanted = self.unwanted(&response);
                    let pause = unwanted.and_then(|f| self.again(&route, &outgoing, &mut tries, f));
                    let Some(pause) = pause else {
                        outgoing.upload.settle();
                        return Ok((response, leg));
                    };
                    self.record.tries_again(unwanted, Instant::now());
                    self.in_time(turn_down(response, leg, self.head.grpc)).await?;
                    Again { pause, why: Rejection::EngineReset { code: None }, permit: None }
                }
                Exchanged::Failed { failed, why, permit } => {
                    let pause = failed.and_then(|f| self.again(&route, &outgoing, &mut tries, f));
                    let Some(pause) = pause else { return Err(why) };
                    self.record.tries_again(failed, Instant::now());
                    // While the call pauses, others may have the slot.
                    Again { pause, why, permit: permit.filter(|_| pause.is_zero()) }
                }
            };
            admitting.failed(endpoint);
            (permit, link) = self.reach_again(&mut admitting, version, again).await?;
        }
    }

    /// Whether and after which pause the call is tried again.
    fn again(
        &self,
        route: &RouteEntry,
        outgoing: &Outgoing,
        tries: &mut Tries,
        failed: Failed,
    ) -> Option<Duration> {
        if !outgoing.upload.repeatable() {
            return None;
        }
        let (now, seed) = (Instant::now(), fastrand::u64(..));
        tries.again((&route.retry, &route.budget), failed, now, self.deadline, seed)
    }

    /// Sends the request on one connection.
    async fn exchange(
        &self,
        mut link: Link,
        permit: Permit,
        outgoing: &Outgoing,
        tries: &Tries,
    ) -> Result<Exchanged, Rejection> {
        let uplink = outgoing.upload.attempt();
        let mut leg = Leg::begin(permit, Arc::clone(&uplink));
        let request = Request::from_parts(self.parts_for(outgoing, tries), RequestBody(uplink));
        let (reused, cut) = (link.reused(), link.cut());
        let sent = self.in_time(async {
            tokio::select! {
                biased;
                sent = link.send(request) => Ok(sent),
                () = cut => Err(Rejection::EndpointDrained),
            }
        });
        let (failed, why) = match sent.await?? {
            Attempt::Answered(response) => {
                leg.holds(link.hold());
                if self.breaks_rules(&response) {
                    return Err(Rejection::EngineProtocolError);
                }
                return Ok(Exchanged::Answered(response, leg));
            }
            Attempt::NotSent => {
                link.give_up();
                (Some(Failed::Unseen), Rejection::ConnectFailed)
            }
            Attempt::Failed(error) => match leg.fault() {
                // The caller's doing, and we reset the engine's stream: the slot rests.
                Some(rejection) => return Err(rejection),
                None => self.no_answer(&link, reused, &error),
            },
        };
        Ok(Exchanged::Failed { failed, why, permit: leg.broken_off() })
    }

    /// Whether the engine changes the protocol to one that nobody asked for, or its answer can be read in
    /// several ways.
    fn breaks_rules(&self, response: &Response<Incoming>) -> bool {
        let changes = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let offered = self.upgrade.as_ref().map(|(offered, _)| offered);
        let known = || offered.and_then(|offered| tunnel::chosen(response.headers(), offered));
        // Nothing else can be translated.
        let foreign = self.json.is_some() && !is_grpc(response.headers());
        (changes && known().is_none()) || foreign || !forward::is_framed(response)
    }

    fn no_answer(
        &self,
        link: &Link,
        reused: bool,
        error: &hyper::Error,
    ) -> (Option<Failed>, Rejection) {
        tracing::debug!(%error, "the engine gave no answer");
        let blame = blame_first(error);
        if blame.gone {
            link.give_up();
        }
        // A connection that was idle, and that the engine closed just then: what may be sent twice is sent
        // again as if nothing had been (RFC 9110, section 9.2.2).
        let stale = reused && blame.failed == Some(Failed::Reset) && self.method.is_idempotent();
        let failed = if stale { Some(Failed::Unseen) } else { blame.failed };
        (failed, blame.rejection.or_deadline(self.deadline, Instant::now()))
    }

    /// The request's head for the next attempt: how often it was tried, and what is left of the time.
    fn parts_for(&self, outgoing: &Outgoing, tries: &Tries) -> request::Parts {
        let mut parts = outgoing.parts.clone();
        if let Some((parent, begins)) = self.record.traceparent() {
            // Digits and dashes are always a value.
            if let Ok(parent) = HeaderValue::from_str(&parent) {
                parts.headers.insert(TRACEPARENT, parent);
            }
            if begins {
                parts.headers.remove(TRACESTATE);
            }
        }
        if !self.head.grpc {
            return parts;
        }
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            // Digits and a letter are always a value.
            if let Ok(left) = HeaderValue::from_bytes(timeout::format(left).as_bytes()) {
                parts.headers.insert(GRPC_TIMEOUT, left);
            }
        }
        if tries.previous() > 0 {
            // The caller may have tried before us.
            let theirs = parts.headers.get(&PREVIOUS_ATTEMPTS).and_then(|v| v.to_str().ok());
            let theirs: u32 = theirs.and_then(|v| v.parse().ok()).unwrap_or(0);
            let all = HeaderValue::from(theirs.saturating_add(tries.previous()));
            parts.headers.insert(PREVIOUS_ATTEMPTS, all);
        }
        parts
    }

    /// What an answer says that the call might be tried again for. A gRPC answer must be nothing but its
    /// status: what comes after a head has been seen.
    fn unwanted(&self, response: &Response<Incoming>) -> Option<Failed> {
        let status = response.headers().get(GRPC_STATUS);
        match status.filter(|_| self.head.grpc && response.body().is_end_stream()) {
            Some(status) => status.to_str().ok()?.parse().ok().map(Failed::Grpc),
            None => Some(Failed::Http(response.status().as_u16())),
        }
    }

    /// A slot, and a connection to its endpoint. An endpoint that cannot be reached has seen nothing, so
    /// the call goes on to another.
    async fn reach(
        &mut self,
        admitting: &mut Admitting,
        version: Version,
    ) -> Result<Reached, Rejection> {
        loop {
            let permit = admitting.slot(&mut self.record).await?;
            if let Some(link) = self.link(admitting, &permit, version, false).await? {
                return Ok((permit, link));
            }
        }
    }

    /// The same for the next attempt: at another endpoint if one has a free slot, else at any. A slot that
    /// the call still has is kept until it has another.
    async fn reach_again(
        &mut self,
        admitting: &mut Admitting,
        version: Version,
        again: Again,
    ) -> Result<Reached, Rejection> {
        if !again.pause.is_zero() {
            self.in_time(tokio::time::sleep(again.pause)).await?;
        }
        if let Some(permit) = again.permit {
            let permit = admitting.elsewhere().unwrap_or(permit);
            if let Some(link) = self.link(admitting, &permit, version, true).await? {
                return Ok((permit, link));
            }
        }
        self.reach(admitting, version).await.map_err(|rejection| match rejection {
            Rejection::ConnectFailed => again.why,
            other => other,
        })
    }

    /// A connection to the endpoint of `permit`; none if it cannot be reached.
    async fn link(
        &mut self,
        admitting: &mut Admitting,
        permit: &Permit,
        version: Version,
        fresh: bool,
    ) -> Result<Option<Link>, Rejection> {
        let endpoint = permit.endpoint();
        self.record.goes_to(endpoint);
        match self.in_time(self.client.upstreams.link(permit, version, fresh)).await? {
            Ok(link) => {
                admitting.engine().dial_succeeded(endpoint);
                Ok(Some(link))
            }
            Err(DialError::Exhausted) => {
                self.client.gateway.guard().say_short("a connection to an engine was not opened");
                Err(Rejection::Overloaded)
            }
            Err(error) => {
                unreachable(admitting.engine(), endpoint, &error);
                admitting.not_reached(endpoint.id());
                Ok(None)
            }
        }
    }

    /// Waits for `what` until the deadline.
    pub(super) async fn in_time<F: Future>(&self, what: F) -> Result<F::Output, Rejection> {
        match self.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), what)
                .await
                .map_err(|_| Rejection::Deadline),
            None => Ok(what.await),
        }
    }
}

/// An answer that the caller does not get. What is left of a short one is read, so that its engine has
/// ended the call and slot and connection are free at once.
async fn turn_down(response: Response<Incoming>, leg: Leg, grpc: bool) {
    let mut rest = response.into_body();
    let read = async {
        let mut read = 0;
        loop {
            match rest.frame().await {
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(_)) => return false,
                None => return true,
            }
            if read > SHORT {
                return false;
            }
        }
    };
    if tokio::time::timeout(READ_TIME, read).await.unwrap_or(false) {
        leg.completed(grpc);
    }
    // Else the engine still sends: dropping both breaks it off, and the slot rests.
}
