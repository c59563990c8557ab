//! What an engine sends of its answer.

use std::sync::Arc;

use super::call::{Side, Stage};
use super::edits;
use super::list::{Content, List, Response, Wanted};
use super::read::Block;
use super::state::State;
use crate::grpc::timeout;
use crate::h2::fields::{Fields, Indexing};
use crate::h2::{Error, Key};
use crate::record::Record;

/// Tells the engine how often a gRPC call was tried before (gRPC's retry design, A6).
const PREVIOUS_ATTEMPTS: &[u8] = b"grpc-previous-rpc-attempts";

const TRACEPARENT: &[u8] = b"traceparent";
const TRACESTATE: &[u8] = b"tracestate";

/// What of a request is not passed on, because this call has its own.
#[derive(Clone, Copy)]
struct Drops {
    counts: bool,
    trace: bool,
    state: bool,
}

impl Drops {
    fn drops(self, name: &[u8]) -> bool {
        (self.counts && name == PREVIOUS_ATTEMPTS)
            || (self.trace && name == TRACEPARENT)
            || (self.state && name == TRACESTATE)
    }
}
/// Marks the number under which the encoding of a list without its API keys is remembered.
const KEYLESS: u64 = 1 << 63;

/// How often a call was tried before: by us, and by a caller that says so.
fn all_attempts(list: &List, ours: u32) -> String {
    let theirs = list.fields.get(PREVIOUS_ATTEMPTS).and_then(|n| str::from_utf8(n).ok());
    let theirs = theirs.and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
    theirs.saturating_add(ours).to_string()
}

impl State {
    /// The head of a request goes to the engine.
    pub(super) fn send_request(&mut self, at: u32, end: bool) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(at) else { return };
        let Some(up) = &call.up else { return };
        let (conn, key, list, id) = (up.conn, up.key, Arc::clone(&call.head), call.id);
        let Some(request) = list.request() else { return };
        let edits = call.route.as_ref().and_then(|route| route.filters.edits().cloned());
        let hides = call.route.as_ref().is_some_and(|route| route.filters.hides_keys());
        let identity = call.identity.clone();
        let left = call.deadline.filter(|_| call.grpc);
        let left = left.map(|deadline| timeout::format(deadline.saturating_duration_since(now)));
        let attempts = call.attempts.tries.previous();
        // Only where calls are traced.
        let trace = call.record.as_ref().and_then(Record::traceparent);
        let down = call.down.conn;
        let client = self.conns.get(down).and_then(|c| c.downstream()).map(|d| &d.client);
        let Some(client) = client else { return };
        let secure = self.conns.get(conn).is_some_and(|conn| conn.tls.is_some());
        let forwarded = request.forwarded[usize::from(secure)]
            .get_or_init(|| edits::forwarded(&list, request.grpc, client, secure));
        let known = &request.keyless[usize::from(secure)];
        let keyless = hides.then(|| known.get_or_init(|| edits::without_keys(forwarded)).as_ref());
        let keyless = keyless.flatten();
        let (forwarded, id_of_list) = match keyless {
            Some(keyless) => (keyless, if list.id == 0 { 0 } else { list.id | KEYLESS }),
            None => (forwarded, list.id),
        };
        let edited = edits.map(|edits| {
            let by = (edits.id, secure, keyless.is_some());
            self.edited(&list, by, || edits::edited_request(forwarded, &edits))
        });
        let (forwarded, id_of_list) = match &edited {
            Some(edited) => (&edited.fields, edited.id),
            None => (forwarded, id_of_list),
        };
        let own;
        let counts = attempts > 0 && request.grpc;
        let replaces = trace.is_some() && forwarded.get(TRACEPARENT).is_some();
        let state = replaces && trace.as_ref().is_some_and(|t| t.1);
        let drops = Drops { counts, trace: replaces, state };
        let (forwarded, shared) = if forwarded.get(b":authority").is_none() || counts || replaces {
            own = self.for_this_call(conn, forwarded, drops);
            (&own, 0)
        } else {
            (forwarded, id_of_list)
        };
        let made = (!request.has_id).then(|| edits::hex(id));
        let tried = counts.then(|| all_attempts(&list, attempts));
        self.touch(conn);
        let Some(conn) = self.conns.get_mut(conn) else { return };
        let encoded = &mut conn.encoded;
        conn.h2.send_headers(key, end, |encoder, out| {
            encoded.write(shared, forwarded, encoder, out);
            // What differs from call to call comes last, so that the rest can be remembered.
            if let Some(id) = &made {
                encoder.field(b"x-request-id", id, Indexing::Plain, out);
            }
            if let Some((parent, _)) = &trace {
                encoder.field(TRACEPARENT, parent.as_bytes(), Indexing::Plain, out);
            }
            for (name, value) in identity.iter().flat_map(|identity| identity.headers()) {
                encoder.field(name.as_bytes(), value.as_bytes(), Indexing::Plain, out);
            }
            if let Some(left) = &left {
                encoder.field(b"grpc-timeout", left.as_bytes(), Indexing::Plain, out);
            }
            if let Some(attempts) = &tried {
                encoder.field(PREVIOUS_ATTEMPTS, attempts.as_bytes(), Indexing::Plain, out);
            }
        });
    }

    /// A request without a host gets the endpoint's; what is written anew for this call
    /// is left out.
    fn for_this_call(&mut self, conn: u32, forwarded: &Fields, drops: Drops) -> Fields {
        let upstream = self.conns.get_mut(conn).and_then(|conn| conn.upstream());
        let address = upstream.filter(|_| forwarded.get(b":authority").is_none());
        let address = address.map(|u| u.endpoint.address().as_str().to_owned());
        let mut fields = Fields::new();
        let pseudo = |name: &[u8]| name.starts_with(b":");
        for (name, value, indexing) in forwarded.iter().filter(|(name, ..)| pseudo(name)) {
            fields.push(name, value, indexing);
        }
        if let Some(address) = address {
            fields.push(b":authority", address.as_bytes(), Indexing::Incremental);
        }
        for (name, value, indexing) in forwarded.iter().filter(|(name, ..)| !pseudo(name)) {
            if !drops.drops(name) {
                fields.push(name, value, indexing);
            }
        }
        fields
    }

    /// A list goes out as it is.
    pub(super) fn send_list(&mut self, conn: u32, key: Key, list: &Arc<List>, end: bool) {
        self.send_known(conn, key, list.id, &list.fields, end);
    }

    /// Fields go out, which may come again under their number.
    fn send_known(&mut self, conn: u32, key: Key, id: u64, fields: &Fields, end: bool) {
        self.touch(conn);
        let Some(conn) = self.conns.get_mut(conn) else { return };
        let encoded = &mut conn.encoded;
        conn.h2.send_headers(key, end, |encoder, out| {
            encoded.write(id, fields, encoder, out);
        });
    }

    /// The head of an answer goes to the client, as the route has it.
    fn send_head(&mut self, at: u32, list: &Arc<List>, end: bool) {
        let Some(call) = self.calls.get(at) else { return };
        let (conn, key) = (call.down.conn, call.down.key);
        let edits = call.route.as_ref().and_then(|route| route.filters.edits());
        match edits.filter(|edits| !edits.response.is_empty()).cloned() {
            None => self.send_list(conn, key, list, end),
            Some(edits) => {
                let make = || edits::edited_answer(&list.fields, &edits.response);
                let edited = self.edited(list, (edits.id, false, false), make);
                self.send_known(conn, key, edited.id, &edited.fields, end);
            }
        }
    }

    /// Header fields from an engine: the head of an answer, an informational one, or trailers.
    pub(super) fn engine_headers(
        &mut self,
        conn: u32,
        key: Key,
        block: &[u8],
        end: bool,
    ) -> Result<(), Error> {
        let at = self.conns.get(conn).and_then(|conn| conn.h2.tag(key));
        let call = at.and_then(|at| self.calls.get(at));
        let turned_down = call.is_some_and(|call| matches!(call.stage, Stage::TurnedDown(_)));
        let answered = turned_down || call.is_some_and(|call| call.answered);
        let wanted = if answered { Wanted::Trailers } else { Wanted::Response };
        let block = self.read_block(conn, block, wanted)?;
        let Some(at) = at else { return Ok(()) };
        if turned_down {
            self.read_turned_down(at, 0, end);
            return Ok(());
        }
        match block {
            Block::List(list) => match &list.content {
                Content::Response(response) => self.head(at, &list, *response, end),
                Content::Trailers(status) if end => self.trailers(at, &list, *status),
                _ => self.engine_broke_rules(at, "header fields in the middle of a body"),
            },
            Block::TooLarge => self.engine_broke_rules(at, "a head of more than 256 KiB"),
            Block::Malformed(why) => self.engine_broke_rules(at, why),
        }
        Ok(())
    }

    fn head(&mut self, at: u32, list: &Arc<List>, response: Response, end: bool) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let (down, up) = ((call.down.conn, call.down.key), call.up.as_ref());
        if response.status < 200 {
            if end {
                self.engine_broke_rules(at, "an informational answer that is the last");
            } else {
                self.send_list(down.0, down.1, list, false);
            }
            return;
        }
        if let (Some(length), Some(up)) = (response.content_length, up)
            && !end
            && call.head.method() != "HEAD"
            && response.status != 304
        {
            let (conn, key) = (up.conn, up.key);
            if let Some(conn) = self.conns.get_mut(conn) {
                conn.h2.expect_length(key, length);
            }
        }
        if self.turned_down(at, response, end) {
            return;
        }
        let Some(call) = self.calls.get_mut(at) else { return };
        call.answered = true;
        // It is too late for another attempt.
        call.attempts.replay = None;
        if let Some(record) = &mut call.record {
            record.answered(response.status);
            if let Some(status) = response.grpc_status {
                record.grpc_status(status);
            }
        }
        if end {
            self.answer_ended(at);
        }
        self.send_head(at, list, end);
        if end {
            self.ended(at, Side::Down);
        }
    }

    fn trailers(&mut self, at: u32, list: &Arc<List>, status: Option<u8>) {
        let Some(call) = self.calls.get_mut(at) else { return };
        if let (Some(record), Some(status)) = (&mut call.record, status) {
            record.grpc_status(status);
        }
        // The slot is free before the caller reads that the call has ended.
        self.answer_ended(at);
        self.forward_trailers(at, Side::Down, list);
        self.settle(at);
    }

    /// A part of an answer's body.
    pub(super) fn engine_data(&mut self, conn: u32, key: Key, bytes: &[u8], end: bool, flow: u32) {
        let at = self.conns.get(conn).and_then(|conn| conn.h2.tag(key));
        let call = at.and_then(|at| self.calls.get_mut(at));
        let (Some(at), Some(call)) = (at, call) else {
            self.release_on(conn, key, flow, false);
            return;
        };
        if matches!(call.stage, Stage::TurnedDown(_)) {
            self.release_on(conn, key, flow, false);
            self.read_turned_down(at, bytes.len(), end);
            return;
        }
        if !call.answered {
            self.release_on(conn, key, flow, false);
            self.engine_broke_rules(at, "a body before its head");
            return;
        }
        if let Some(record) = &mut call.record
            && !bytes.is_empty()
        {
            record.sent(bytes.len());
        }
        if end {
            self.answer_ended(at);
        }
        self.forward(at, Side::Down, bytes, end, flow);
        self.settle(at);
    }

    /// The engine has ended the call: its slot is free.
    fn answer_ended(&mut self, at: u32) {
        let Some(call) = self.calls.get_mut(at) else { return };
        call.answer_ended = true;
        let permit = call.permit.take();
        drop(permit);
    }
}
