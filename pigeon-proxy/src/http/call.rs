//! One call, from its head to the head of its answer.

use std::sync::Arc;
use std::time::Instant;

use http::{Method, Request, Response, StatusCode, Version, request};
use hyper::body::{Body as _, Incoming};
use pigeon_proto::model::Protocol;

use super::admission::Admitting;
use super::answer;
use super::blame::blame;
use super::dismiss::dismiss;
use super::forward;
use super::head::{GRPC_TIMEOUT, Head};
use super::leg::Leg;
use super::relay::{CallBody, Live, note_status};
use super::uplink::{RequestBody, Uplink};
use super::upstream::{Attempt, DialError, Link};
use super::{Client, timeout};
use crate::admit::Permit;
use crate::engine::Engine;
use crate::gateway::OpenCall;
use crate::record::{Beginning, Record};
use crate::reject::Rejection;
use crate::table::{self, Found, RouteEntry, Table};

/// How often a request that was certainly not sent is sent again, on another connection.
const MOST_RESENDS: u32 = 3;

/// A call that has begun.
struct Call<'c> {
    client: &'c Client,
    head: Head,
    method: Method,
    version: Version,
    record: Record,
    open: OpenCall,
    deadline: Option<Instant>,
}

/// A request on its way to an engine.
struct Outgoing {
    /// Taken while it is being sent.
    request: Option<Request<RequestBody>>,
    /// Its head once more, if it may be sent twice: idempotent and without a body.
    spare: Option<request::Parts>,
    uplink: Arc<Uplink>,
}

/// How sending on one connection went.
enum Exchanged {
    /// The head of the answer is there.
    Answered(Response<Incoming>, Leg),
    /// The connection was gone; the request can be sent on another.
    Again(Leg),
}

impl Outgoing {
    fn new(parts: request::Parts, body: Option<Incoming>, method: &Method) -> Self {
        let empty = body.as_ref().is_none_or(Incoming::is_end_stream);
        let spare = (method.is_idempotent() && empty).then(|| parts.clone());
        let uplink = Arc::new(Uplink::default());
        let body = RequestBody::new(body, Arc::clone(&uplink));
        Self { request: Some(Request::from_parts(parts, body)), spare, uplink }
    }

    /// Makes a request that was lost ready to be sent again, once, if that is safe.
    fn restore(&mut self) -> bool {
        let Some(parts) = self.spare.take() else { return false };
        let body = RequestBody::empty(Arc::clone(&self.uplink));
        self.request = Some(Request::from_parts(parts, body));
        true
    }
}

/// Carries one call; every failure becomes an answer.
pub(super) async fn call(client: &Client, request: Request<Incoming>) -> Response<CallBody> {
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    let open = client.gateway.open_call();
    let (head, readable) = Head::read(&parts);
    let table = client.gateway.table();
    let record = begin(client, &head, &parts, table.as_deref());
    let (method, version) = (parts.method.clone(), parts.version);
    let mut call = Call { client, head, method, version, record, open, deadline: None };
    let route = readable.and_then(|()| call.decide(table.as_deref(), &parts));
    // Held no longer than needed: a call that waits for hours keeps its route, not every other.
    drop(table);
    let engine = match route {
        Ok(engine) => engine,
        Err(rejection) => {
            dismiss(version, body).await;
            return call.reject(&rejection);
        }
    };
    match Box::pin(call.carry(engine, parts, &mut body)).await {
        Ok((response, leg)) => call.answer(response, leg),
        Err(rejection) => {
            dismiss(version, body).await;
            call.reject(&rejection)
        }
    }
}

fn begin(client: &Client, head: &Head, parts: &request::Parts, table: Option<&Table>) -> Record {
    let unmatched = match table {
        Some(table) => Arc::clone(&table.unmatched),
        None => client.gateway.metrics().unmatched(),
    };
    let beginning = Beginning {
        listener: &client.listener,
        peer: client.peer,
        method: parts.method.as_str(),
        host: &head.host(),
        path: parts.uri.path(),
        request_id: head.request_id.to_str().unwrap_or_default(),
        grpc: head.grpc,
    };
    Record::begin(client.gateway.access_log().clone(), unmatched, Instant::now(), &beginning)
}

impl Call<'_> {
    /// Finds the route, and with it the engine and the deadline.
    fn decide(
        &mut self,
        table: Option<&Table>,
        parts: &request::Parts,
    ) -> Result<Arc<Engine>, Rejection> {
        let table = table.ok_or(Rejection::NoConfig)?;
        if self.client.gateway.is_draining() {
            return Err(Rejection::Draining);
        }
        let route = find(table, self.client, &self.head, parts)?;
        self.record.routed(route);
        let limits = [self.head.timeout, route.timeout];
        let limit = limits.into_iter().flatten().min();
        self.deadline = limit.and_then(|limit| self.record.started().checked_add(limit));
        route.engine.clone().ok_or(Rejection::NoEndpoint)
    }

    /// Takes the call to an endpoint and waits for the head of the answer.
    async fn carry(
        &mut self,
        engine: Arc<Engine>,
        mut parts: request::Parts,
        whole: &mut Option<Incoming>,
    ) -> Result<(Response<Incoming>, Leg), Rejection> {
        let version = match (engine.settings().protocol, self.head.grpc) {
            (Protocol::H2c, _) | (Protocol::Auto, true) => Version::HTTP_2,
            (Protocol::Http1, _) | (Protocol::Auto, false) => Version::HTTP_11,
        };
        let mut admitting = Admitting::new(Arc::clone(&engine), self.deadline);
        let (mut permit, mut link) = self.reach(&mut admitting, &engine, version).await?;
        let authority = permit.endpoint().address().as_str();
        forward::request(&mut parts, &self.head, self.client.peer, version, authority);
        self.pass_deadline(&mut parts);
        // Taken only here: who is refused before may still be writing it.
        let mut outgoing = Outgoing::new(parts, whole.take(), &self.method);
        for _ in 0..=MOST_RESENDS {
            let leg = Leg::begin(permit, Arc::clone(&outgoing.uplink));
            let leg = match self.exchange(link, leg, &mut outgoing).await? {
                Exchanged::Answered(response, leg) => return Ok((response, leg)),
                Exchanged::Again(leg) => leg,
            };
            permit = leg.not_begun().ok_or(Rejection::ConnectFailed)?;
            let fresh = self.client.upstreams.link(&permit, version, true);
            link = self.in_time(fresh).await?.map_err(|_| Rejection::ConnectFailed)?;
        }
        Err(Rejection::ConnectFailed)
    }

    /// Sends the request on one connection.
    async fn exchange(
        &self,
        mut link: Link,
        mut leg: Leg,
        outgoing: &mut Outgoing,
    ) -> Result<Exchanged, Rejection> {
        let reused = link.reused();
        let Some(request) = outgoing.request.take() else { return Err(Rejection::ConnectFailed) };
        match self.in_time(link.send(request)).await? {
            Attempt::Answered(response) => {
                leg.holds(link.hold());
                // Nobody asked the engine to change the protocol.
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    return Err(Rejection::EngineProtocolError);
                }
                return Ok(Exchanged::Answered(response, leg));
            }
            Attempt::NotSent(request) => outgoing.request = Some(request),
            // A connection that was idle, and that the engine closed just then.
            Attempt::Failed(error) if reused && !error.is_parse() && outgoing.restore() => {}
            Attempt::Failed(error) => return Err(self.failed(leg, &outgoing.uplink, &error)),
        }
        Ok(Exchanged::Again(leg))
    }

    /// A slot, and a connection to its endpoint. An endpoint that cannot be reached has seen nothing, so
    /// the call goes on to another.
    async fn reach(
        &mut self,
        admitting: &mut Admitting,
        engine: &Arc<Engine>,
        version: Version,
    ) -> Result<(Permit, Link), Rejection> {
        loop {
            let permit = admitting.slot(&mut self.record).await?;
            self.record.goes_to(permit.endpoint());
            let link = self.client.upstreams.link(&permit, version, false);
            match self.in_time(link).await? {
                Ok(link) => {
                    engine.dial_succeeded(permit.endpoint());
                    return Ok((permit, link));
                }
                Err(error) => {
                    self.record.not_reached();
                    unreachable(engine, &permit, &error);
                    admitting.tried.add(permit.endpoint().id());
                }
            }
        }
    }

    /// Waits for `what` until the deadline.
    async fn in_time<F: Future>(&self, what: F) -> Result<F::Output, Rejection> {
        match self.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), what)
                .await
                .map_err(|_| Rejection::Deadline),
            None => Ok(what.await),
        }
    }

    /// Tells a gRPC engine what is left of the time.
    fn pass_deadline(&self, parts: &mut request::Parts) {
        if let (true, Some(deadline)) = (self.head.grpc, self.deadline) {
            let left = deadline.saturating_duration_since(Instant::now());
            parts.headers.insert(GRPC_TIMEOUT, timeout::format(left));
        }
    }

    /// What an error before the answer means.
    fn failed(&self, leg: Leg, uplink: &Uplink, error: &hyper::Error) -> Rejection {
        if uplink.broken() {
            // We reset the engine's stream; the leg lets the slot rest.
            return Rejection::BadRequest { why: "the body of the request broke off" };
        }
        tracing::debug!(%error, "the engine gave no answer");
        leg.broken_off();
        blame(error)
    }

    /// The engine's answer, its body still to come.
    fn answer(mut self, response: Response<Incoming>, leg: Leg) -> Response<CallBody> {
        let (mut parts, body) = response.into_parts();
        self.record.answered(parts.status.as_u16());
        forward::response(&mut parts, self.version);
        note_status(&mut self.record, &parts.headers);
        let ended = body.is_end_stream();
        let Call { record, open, deadline, head, .. } = self;
        let live = Live { body, leg, record, grpc: head.grpc, _open: open };
        let body = if ended {
            live.complete();
            CallBody::empty()
        } else {
            CallBody::relayed(live, deadline)
        };
        Response::from_parts(parts, body)
    }

    /// The gateway's own answer.
    fn reject(mut self, rejection: &Rejection) -> Response<CallBody> {
        self.record.rejected(rejection);
        let bodiless = self.method == Method::HEAD;
        answer::rejected(rejection, self.record.about(), self.head.grpc, bodiless, self.version)
    }
}

fn find<'t>(
    table: &'t Table,
    client: &Client,
    head: &Head,
    parts: &request::Parts,
) -> Result<&'t Arc<RouteEntry>, Rejection> {
    let found = table.find(&table::Head {
        listener: &client.listener,
        host: &head.host(),
        path: parts.uri.path(),
        method: parts.method.as_str(),
        grpc: head.grpc,
    });
    match found {
        Found::Route(route) => Ok(route),
        Found::MethodNotAllowed(methods) => {
            Err(Rejection::MethodNotAllowed { allow: methods.join(", ") })
        }
        Found::NoRoute => Err(Rejection::NoRoute),
    }
}

fn unreachable(engine: &Engine, permit: &Permit, error: &DialError) {
    let endpoint = permit.endpoint();
    if engine.dial_failed(endpoint, fastrand::u64(..), error) {
        let (engine, endpoint) = (engine.name(), endpoint.address());
        tracing::debug!(%engine, %endpoint, %error, "an endpoint cannot be reached");
    }
}
