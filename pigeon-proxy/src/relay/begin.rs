//! A call begins: its head is read, its route found, and a slot asked for.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::call::{Attempts, Call, Leg, Route, Scanners, Stage};
use super::edits;
use super::list::{List, Request, Wanted};
use super::read::Block;
use super::state::State;
use crate::engine::Engine;
use crate::filter::Asked;
use crate::gateway::OpenCall;
use crate::h2::error as code;
use crate::h2::{Error, Key};
use crate::http::{Chosen, Client};
use crate::record::{Beginning, Record};
use crate::reject::Rejection;
use crate::table::{self, Found, Table, host_of};

/// A stream that a client has opened.
pub(super) struct Opened {
    conn: u32,
    key: Key,
    /// The request has no body.
    pub(super) end: bool,
    pub(super) client: Arc<Client>,
    list: Arc<List>,
}

impl State {
    /// A client opens a stream.
    pub(super) fn begin(
        &mut self,
        at: u32,
        key: Key,
        block: &[u8],
        end: bool,
    ) -> Result<(), Error> {
        let (list, large) = match self.read_block(at, block, Wanted::Request)? {
            Block::List(list) => (list, false),
            Block::TooLarge => (Arc::new(List::read(0, &self.fields, Wanted::Request)), true),
            Block::Malformed(why) => {
                self.refuse(at, key, why);
                return Ok(());
            }
        };
        let Some(request) = list.request() else {
            self.refuse(at, key, "what fits of the head is no request");
            return Ok(());
        };
        let client = self.conns.get(at).and_then(|conn| conn.downstream());
        let Some(client) = client.map(|d| Arc::clone(&d.client)) else { return Ok(()) };
        if let (Some(length), Some(conn), false) =
            (request.content_length, self.conns.get_mut(at), end)
        {
            conn.h2.expect_length(key, length);
        }
        let opened = Opened { conn: at, key, end, client, list: Arc::clone(&list) };
        if request.general && !large {
            let at = self.open(&opened, request, fastrand::u128(..), None);
            self.bridge(at, &opened, None);
            return Ok(());
        }
        let table = self.gateway.table();
        match self.decide(table.as_deref(), &opened, request, large) {
            Ok(route) => self.admit_call(opened, request, &route),
            Err(rejection) => {
                let id = fastrand::u128(..);
                let record = self.begin_record(&opened, request, id, table.as_deref());
                let call = self.open(&opened, request, id, Some(record));
                self.reject(call, &rejection);
            }
        }
        Ok(())
    }

    /// The stream is not a request.
    fn refuse(&mut self, at: u32, key: Key, why: &'static str) {
        tracing::debug!(stream = key.id(), why, "a malformed request was reset");
        if let Some(h2) = self.h2(at) {
            h2.reset(key, code::PROTOCOL_ERROR);
        }
    }

    /// Finds the route.
    fn decide(
        &self,
        table: Option<&Table>,
        opened: &Opened,
        request: &Request,
        large: bool,
    ) -> Result<Route, Rejection> {
        let table = table.ok_or(Rejection::NoConfig)?;
        if let Some(rejection) = self.gateway.refuses() {
            return Err(rejection);
        }
        if large {
            return Err(Rejection::TooLarge);
        }
        if let Some(why) = request.fault {
            return Err(Rejection::BadRequest { why });
        }
        let mut known = request.route.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(route) = known.as_ref().filter(|route| route.table == table.id) {
            return Ok(route.clone());
        }
        let list = &opened.list;
        let found = table.find(&table::Head {
            listener: &opened.client.listener,
            host: &host_of(list.authority()),
            path: list.path(),
            method: list.method(),
            grpc: request.grpc,
        });
        match found {
            Found::Route(entry) => {
                let route = Route { table: table.id, entry: Arc::clone(entry) };
                *known = Some(route.clone());
                Ok(route)
            }
            Found::MethodNotAllowed(methods) => {
                Err(Rejection::MethodNotAllowed { allow: methods.join(", ") })
            }
            Found::NoRoute => Err(Rejection::NoRoute),
        }
    }

    /// The call has a route: it goes to an engine.
    fn admit_call(&mut self, opened: Opened, request: &Request, route: &Route) {
        let entry = &route.entry;
        let id = fastrand::u128(..);
        let target = entry.target(id as u64);
        let engine = target.engine.clone();
        // What a browser is told of an answer is written there; gRPC clients that are no browser need nothing.
        let told = entry.filters.cors().is_some() && (request.from_page || !request.grpc);
        // Bodies are copied on the general path.
        let copied = entry.shadow.as_ref().is_some_and(|shadow| shadow.takes(fastrand::u64(..)));
        // The engine is to get another body than the caller sends.
        let translated = entry.transcode && !request.grpc;
        let general = told || copied || translated;
        if general || engine.as_deref().is_some_and(|engine| !speaks_h2(engine, request.grpc)) {
            let at = self.open(&opened, request, id, None);
            self.bridge(at, &opened, Some(Chosen { copied }));
            return;
        }
        let record = self.begin_record(&opened, request, id, None);
        let at = self.open(&opened, request, id, Some(record));
        let now = self.now;
        let Some(call) = self.calls.get_mut(at) else { return };
        if let Some(record) = &mut call.record {
            record.routed(entry, target);
        }
        let beyond = call.open.as_ref().is_some_and(OpenCall::is_beyond);
        let passed = entry.filters.run(&Asked {
            listener: &opened.client.listener,
            peer: opened.client.peer,
            beyond,
            certificate: opened.client.certificate.as_ref(),
            authority: opened.list.authority(),
            target: opened.list.target(),
            grpc: request.grpc,
            header: &|name| opened.list.fields.get(name.as_bytes()),
            repeated: &|name| opened.list.fields.repeats(name.as_bytes()),
            wall: &SystemTime::now,
            now,
        });
        match passed {
            Ok(passed) => call.identified(passed.identity),
            Err(stop) => return self.stop(at, stop),
        }
        if entry.retry.is_on() {
            entry.budget.called(now);
        }
        let limit = request.timeout.into_iter().chain(entry.timeout).min();
        call.deadline = limit.and_then(|limit| now.checked_add(limit));
        call.scanners =
            scanners(engine.as_deref().filter(|_| request.grpc), entry.filters.max_body);
        call.route = Some(Arc::clone(entry));
        call.engine = engine;
        let (known, deadline) = (call.engine.is_some(), call.deadline);
        self.set_timer(at, deadline);
        if known {
            self.ask(at);
        } else {
            self.reject(at, &Rejection::NoEndpoint);
        }
    }

    /// Counts the call and gives it a number.
    fn open(
        &mut self,
        opened: &Opened,
        request: &Request,
        id: u128,
        record: Option<Record>,
    ) -> u32 {
        let counted = record.is_some().then(|| self.gateway.open_call(&opened.client.tally));
        let call = Call {
            down: Leg::new(opened.conn, opened.key),
            up: None,
            held: None,
            stage: Stage::Over,
            head: Arc::clone(&opened.list),
            id,
            grpc: request.grpc,
            request_ended: opened.end,
            answer_ended: false,
            answered: false,
            route: None,
            engine: None,
            identity: None,
            scanners: None,
            permit: None,
            record,
            deadline: None,
            timer: None,
            attempts: Attempts { replay: Some(Vec::new()), ..Attempts::default() },
            // One without a record is counted where it is carried.
            open: counted,
        };
        let at = self.calls.insert(call).at;
        if let Some(conn) = self.conns.get_mut(opened.conn) {
            conn.h2.set_tag(opened.key, at);
        }
        at
    }

    fn begin_record(
        &self,
        opened: &Opened,
        request: &Request,
        id: u128,
        table: Option<&Table>,
    ) -> Record {
        let unmatched = match table {
            Some(table) => Arc::clone(&table.unmatched),
            None => self.gateway.metrics().unmatched(),
        };
        let mut record = Record::begin(unmatched, self.now, request.grpc);
        let (log, tracer) = (self.gateway.access_log(), self.gateway.tracer());
        if log.is_on() || tracer.is_some() {
            let list = &opened.list;
            let made = edits::hex(id);
            let text = |name: &[u8]| list.fields.get(name);
            let agent = text(b"user-agent").and_then(|agent| str::from_utf8(agent).ok());
            let beginning = Beginning {
                protocol: "HTTP/2",
                listener: &opened.client.listener,
                peer: opened.client.peer,
                method: list.method(),
                host: &host_of(list.authority()),
                path: list.path(),
                request_id: list.request_id().or(str::from_utf8(&made).ok()).unwrap_or_default(),
                user_agent: agent.unwrap_or_default(),
                traceparent: text(b"traceparent"),
                tracestate: text(b"tracestate").and_then(|state| str::from_utf8(state).ok()),
            };
            record.watch(log, tracer, (id, fastrand::u64(..)), &beginning);
        }
        record
    }

    /// Has the call looked at again at `when`, or never.
    pub(super) fn set_timer(&mut self, at: u32, when: Option<Instant>) {
        let Some(reference) = self.calls.reference(at) else { return };
        let Some(call) = self.calls.get_mut(at) else { return };
        match (when, call.timer.take()) {
            (Some(when), Some(key)) => {
                self.timers.reset_at(&key, when.into());
                call.timer = Some(key);
            }
            (Some(when), None) => call.timer = Some(self.timers.insert_at(reference, when.into())),
            (None, Some(key)) => drop(self.timers.remove(&key)),
            (None, None) => {}
        }
    }
}

/// What is to be counted of a call's bodies; `grpc` = its engine, if it is a gRPC call.
fn scanners(grpc: Option<&Engine>, max_body: Option<u64>) -> Option<Scanners> {
    let max_message = grpc.and_then(|engine| engine.settings().pool.max_message_bytes);
    let wanted = grpc.is_some() || max_body.is_some();
    wanted.then(|| Scanners { grpc: grpc.is_some(), max_message, max_body, ..Scanners::default() })
}

/// Whether calls go to the engine by HTTP/2.
fn speaks_h2(engine: &Engine, grpc: bool) -> bool {
    engine.settings().protocol.is_http2(grpc)
}
