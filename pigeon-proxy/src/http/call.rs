//! One call, from its head to the head of its answer.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::{ACCESS_CONTROL_REQUEST_HEADERS, EXPECT, ORIGIN, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use pigeon_proto::model::Name;

use super::Client;
use super::answer;
use super::caller::CallerBody;
use super::dismiss::dismiss;
use super::forward;
use super::head::{Head, TRACEPARENT, TRACESTATE};
use super::leg::Leg;
use super::relay::{CallBody, Live, Messages, note_status};
use super::transcode::{Json, Translator};
use super::tunnel::{self, Tunnel};
use super::web::Web;
use crate::engine::Engine;
use crate::filter::identity::Identity;
use crate::filter::{Answer, Asked, Edits, Stop, preflight_of};
use crate::gateway::OpenCall;
use crate::record::{Beginning, Record};
use crate::reject::{Rejection, http_of_grpc};
use crate::table::{self, Found, RouteEntry, Table};
use crate::transcode::status;

/// A call that has begun.
pub(super) struct Call<'c> {
    pub(super) client: &'c Client,
    pub(super) head: Head,
    pub(super) method: Method,
    version: Version,
    pub(super) record: Record,
    open: OpenCall,
    /// Who calls, if the route asks.
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) deadline: Option<Instant>,
    /// The longest message either way, of a gRPC call.
    pub(super) max_message: Option<u32>,
    /// The route whose rules for pages of other origins the answer follows, and where the caller's page is from.
    page: Option<(Arc<RouteEntry>, Option<HeaderValue>)>,
    /// The protocols that the caller offers to change to, and its connection once that has happened.
    pub(super) upgrade: Option<(HeaderValue, OnUpgrade)>,
    /// How its answer becomes JSON, if it came as JSON and goes to its engine as gRPC.
    pub(super) json: Option<Arc<Json>>,
}

/// Carries one call; every failure becomes an answer.
pub(crate) async fn call(client: &Client, request: Request<CallerBody>) -> Response<CallBody> {
    match Web::of(request.method(), request.headers()) {
        None => call_or_upgrade(client, request, None).await.0,
        Some(web) => web.answer(call_or_upgrade(client, web.question(request), None).await.0),
    }
}

/// The same for a call that may go on as another protocol: then there is a tunnel beside the answer.
pub(super) async fn call_or_upgrade(
    client: &Client,
    request: Request<CallerBody>,
    upgrade: Option<(HeaderValue, OnUpgrade)>,
) -> (Response<CallBody>, Option<Tunnel>) {
    let (mut parts, body) = request.into_parts();
    let mut body = Some(body);
    let open = client.gateway.open_call(&client.tally);
    let (head, readable) = Head::read(&parts);
    let table = client.gateway.table();
    let record = begin(client, &head, &parts, table.as_deref());
    let (method, version) = (parts.method.clone(), parts.version);
    let waits = parts.headers.contains_key(EXPECT);
    let mut call = Call {
        client,
        head,
        method,
        version,
        record,
        open,
        identity: None,
        deadline: None,
        max_message: None,
        page: None,
        upgrade,
        json: None,
    };
    let route = readable.map_err(Stop::from).and_then(|()| call.decide(table.as_deref(), &parts));
    // Held no longer than needed: a call that waits for hours keeps its route, not every other.
    drop(table);
    let target = match route {
        Ok(target) => target,
        Err(stop) => {
            dismiss(waits, body).await;
            let response = match stop {
                Stop::Reject(rejection) => call.reject(&rejection),
                Stop::Answer(answer) => call.answer_by_route(&answer),
            };
            return (response, None);
        }
    };
    let edits = target.0.filters.edits().cloned();
    if target.0.transcode
        && !call.head.grpc
        && let Err(rejection) = Box::pin(call.translate(&target, &mut parts, &mut body)).await
    {
        dismiss(waits, body).await;
        return (call.reject(&rejection), None);
    }
    let json = call.json.clone();
    match Box::pin(call.carry(target, parts, &mut body)).await {
        Ok((response, leg)) => {
            let (response, tunnel) = call.answer(response, leg, edits.as_deref());
            match json {
                Some(json) => (Box::pin(json.answer(response)).await, None),
                None => (response, tunnel),
            }
        }
        Err(rejection) => {
            dismiss(waits, body).await;
            (call.reject(&rejection), None)
        }
    }
}

/// Answers a request that was refused before it was read.
pub(super) fn refuse(
    client: &Client,
    request: Request<CallerBody>,
    rejection: &Rejection,
) -> Response<CallBody> {
    let (mut parts, _) = request.into_parts();
    // What stands for it has neither.
    (parts.method, parts.uri) = (Method::from_bytes(b"-").unwrap_or_default(), Uri::default());
    let open = client.gateway.open_call(&client.tally);
    let (head, _) = Head::read(&parts);
    let table = client.gateway.table();
    let record = begin(client, &head, &parts, table.as_deref());
    let (method, version) = (parts.method, parts.version);
    let call = Call {
        client,
        head,
        method,
        version,
        record,
        open,
        identity: None,
        deadline: None,
        max_message: None,
        page: None,
        upgrade: None,
        json: None,
    };
    call.reject(rejection)
}

fn begin(client: &Client, head: &Head, parts: &request::Parts, table: Option<&Table>) -> Record {
    let unmatched = match table {
        Some(table) => Arc::clone(&table.unmatched),
        None => client.gateway.metrics().unmatched(),
    };
    let mut record = Record::begin(unmatched, Instant::now(), head.grpc);
    let (log, tracer) = (client.gateway.access_log(), client.gateway.tracer());
    if log.is_on() || tracer.is_some() {
        let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let beginning = Beginning {
            protocol: protocol(parts.version),
            listener: &client.listener,
            peer: client.peer,
            method: parts.method.as_str(),
            host: &head.host(),
            path: parts.uri.path(),
            request_id: head.request_id.to_str().unwrap_or_default(),
            user_agent: agent.unwrap_or_default(),
            traceparent: parts.headers.get(TRACEPARENT).map(HeaderValue::as_bytes),
            tracestate: parts.headers.get(TRACESTATE).and_then(|state| state.to_str().ok()),
        };
        record.watch(log, tracer, (fastrand::u128(..), fastrand::u64(..)), &beginning);
    }
    record
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

impl Call<'_> {
    /// Finds the route, and with it the engine and the deadline.
    fn decide(
        &mut self,
        table: Option<&Table>,
        parts: &request::Parts,
    ) -> Result<(Arc<RouteEntry>, Arc<Engine>), Stop> {
        let table = table.ok_or(Rejection::NoConfig)?;
        if let Some(rejection) = self.client.gateway.refuses() {
            return Err(rejection.into());
        }
        if let Some(method) = preflight_of(&parts.method, &parts.headers)
            && let Some(answer) = self.preflight(table, method, parts)
        {
            return Err(Stop::Answer(Arc::new(answer)));
        }
        let how = (parts.method.as_str(), self.head.grpc);
        let route = find(table, self.client, &self.head, parts, how)?;
        if route.filters.cors().is_some() {
            self.page = Some((Arc::clone(route), parts.headers.get(ORIGIN).cloned()));
        }
        let target = route.target(fastrand::u64(..));
        self.record.routed(route, target);
        let started = self.record.started();
        let passed = route.filters.run(&Asked {
            listener: &self.client.listener,
            peer: self.client.peer,
            beyond: self.open.is_beyond(),
            certificate: self.client.certificate.as_ref(),
            authority: self.head.authority.to_str().unwrap_or_default(),
            target: parts.uri.path_and_query().map_or("/", PathAndQuery::as_str),
            grpc: self.head.grpc,
            header: &|name| parts.headers.get(name).map(HeaderValue::as_bytes),
            repeated: &|name| parts.headers.get_all(name).iter().nth(1).is_some(),
            wall: &SystemTime::now,
            now: started,
        })?;
        self.identified(passed.identity);
        if route.retry.is_on() {
            route.budget.called(started);
        }
        let limit = self.head.timeout.into_iter().chain(route.timeout).min();
        self.deadline = limit.and_then(|limit| started.checked_add(limit));
        let engine = target.engine.clone().ok_or(Rejection::NoEndpoint)?;
        let max_message = engine.settings().pool.max_message_bytes;
        self.max_message = max_message.filter(|_| self.head.grpc);
        Ok((Arc::clone(route), engine))
    }

    /// The answer to a browser that asks whether a page may make a call, by the route that the call itself
    /// would take. None if that leaves such questions to its engine.
    fn preflight(&mut self, table: &Table, method: &str, parts: &request::Parts) -> Option<Answer> {
        // Which headers the call will have is told, but not with which values: gRPC-Web is known by its own.
        let names = parts.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).map(HeaderValue::as_bytes);
        let web = names.is_some_and(|names| {
            names.split(|b| *b == b',').any(|name| name.trim_ascii() == b"x-grpc-web")
        });
        let route = [web, !web].into_iter().find_map(|grpc| {
            let route = find(table, self.client, &self.head, parts, (method, grpc)).ok()?;
            route.filters.cors().is_some().then_some(route)
        })?;
        self.record.routed(route, route.target(0));
        route.filters.cors().map(|cors| cors.preflight(&parts.headers))
    }

    /// Has the browser of a page from elsewhere let it read the answer.
    fn tell_browser(&self, headers: &mut HeaderMap) {
        if let Some((route, origin)) = &self.page
            && let Some(cors) = route.filters.cors()
        {
            cors.allow(origin.as_ref(), headers);
        }
    }

    /// Whose call it is, if that is known.
    pub(super) fn tenant(&self) -> Option<&Name> {
        self.identity.as_ref().and_then(|identity| identity.tenant.as_ref())
    }

    fn identified(&mut self, identity: Option<Arc<Identity>>) {
        self.identity = identity;
        if let Some(tenant) = self.identity.as_ref().and_then(|identity| identity.tenant.as_ref()) {
            self.record.tenant(tenant.as_str());
        }
    }

    /// How the engine is spoken to.
    pub(super) fn version_for(&self, engine: &Engine) -> Version {
        match engine.settings().protocol.is_http2(self.head.grpc) {
            true => Version::HTTP_2,
            false => Version::HTTP_11,
        }
    }

    /// The engine's answer, its body still to come.
    fn answer(
        mut self,
        mut response: Response<Incoming>,
        leg: Leg,
        edits: Option<&Edits>,
    ) -> (Response<CallBody>, Option<Tunnel>) {
        let changes = match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => self.upgrade.take(),
            _ => None,
        };
        let changes = changes.and_then(|(offered, client)| {
            let protocol = tunnel::chosen(response.headers(), &offered)?;
            Some((protocol, client, hyper::upgrade::on(&mut response)))
        });
        let (mut parts, body) = response.into_parts();
        // That of a JSON call is known once the call has ended, or its stream begins.
        if self.json.is_none() {
            self.record.answered(parts.status.as_u16());
        }
        forward::response(&mut parts, self.version, edits);
        self.tell_browser(&mut parts.headers);
        note_status(&mut self.record, &parts.headers);
        let code = self.json.as_ref().and_then(|_| status::code(&parts.headers));
        if let Some(code) = code {
            self.record.answers(http_of_grpc(code));
        }
        let ended = body.is_end_stream();
        let Call { record, open, deadline, head, max_message, json, .. } = self;
        let translator = json.as_ref().map(|json| Box::new(Translator::new(json)));
        let messages = Messages::new(head.grpc, max_message);
        let (grpc, _open) = (head.grpc, open);
        let live = Live { body, leg, record, grpc, messages, translator, deadline, _open };
        if let Some((protocol, client, engine)) = changes {
            forward::upgrade(&mut parts.headers, protocol);
            let tunnel = Tunnel::new(live, client, engine);
            return (Response::from_parts(parts, CallBody::empty()), Some(tunnel));
        }
        let body = if ended {
            live.complete();
            CallBody::empty()
        } else {
            CallBody::relayed(live)
        };
        (Response::from_parts(parts, body), None)
    }

    /// The answer that the route says.
    fn answer_by_route(mut self, answer: &Answer) -> Response<CallBody> {
        self.record.answered_by_route(answer);
        let bodiless = self.method == Method::HEAD;
        if !bodiless && !answer.body.is_empty() {
            self.record.sent(answer.body.len());
        }
        self.record.complete();
        let mut response = answer::by_route(answer, bodiless, self.version);
        self.tell_browser(response.headers_mut());
        response
    }

    /// The gateway's refusal.
    fn reject(mut self, rejection: &Rejection) -> Response<CallBody> {
        self.record.rejected(rejection);
        let bodiless = self.method == Method::HEAD;
        let about = self.record.about();
        let grpc = self.head.grpc && self.json.is_none();
        let mut response = answer::rejected(rejection, about, grpc, bodiless, self.version);
        self.tell_browser(response.headers_mut());
        response
    }
}

fn find<'t>(
    table: &'t Table,
    client: &Client,
    head: &Head,
    parts: &request::Parts,
    (method, grpc): (&str, bool),
) -> Result<&'t Arc<RouteEntry>, Rejection> {
    let found = table.find(&table::Head {
        listener: &client.listener,
        host: &head.host(),
        path: parts.uri.path(),
        method,
        grpc,
    });
    match found {
        Found::Route(route) => Ok(route),
        Found::MethodNotAllowed(methods) => {
            Err(Rejection::MethodNotAllowed { allow: methods.join(", ") })
        }
        Found::NoRoute => Err(Rejection::NoRoute),
    }
}
