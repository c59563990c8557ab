//! The connections of a worker to one endpoint: one is filled before the next is opened, because few busy
//! connections cost far less than many half idle ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pigeon_proto::model::{self, Reuse};
use tokio::net::TcpStream;

use super::call::{Call, Leg, Stage};
use super::conn::{Conn, Upstream};
use super::slab::Ref;
use super::state::State;
use super::{Relay, Relayed};
use crate::engine::lifetime::Lifetime;
use crate::engine::{Endpoint, Engine};
use crate::http::{DialError, Dialled, dial, unreachable};
use crate::reject::Rejection;
use crate::tls::Speaks;

/// Unsent output above which a connection is not given more calls while another can take them.
const BACKLOG: usize = 64 << 10;
/// Connections to one endpoint that are opened for want of room on those before, per worker.
const MOST: usize = 1_024;

/// The connections to one endpoint.
pub(super) struct Pool {
    pub(super) engine: Arc<Engine>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) conns: Vec<u32>,
    /// Calls that wait for a connection, oldest first.
    line: VecDeque<Ref>,
    pub(super) dials: usize,
    /// Since when the endpoint takes no new calls.
    pub(super) drains_since: Option<Instant>,
    /// How long its calls may go on then, by the last settings that knew it.
    pub(super) drain_limit: Option<Duration>,
}

impl Pool {
    pub(super) fn new(engine: Arc<Engine>, endpoint: Arc<Endpoint>) -> Self {
        Self {
            engine,
            endpoint,
            conns: Vec::new(),
            line: VecDeque::new(),
            dials: 0,
            drains_since: None,
            drain_limit: None,
        }
    }

    pub(super) fn dial(&mut self, relay: Arc<Relay>) {
        self.dials += 1;
        tokio::spawn(open(relay, Arc::clone(&self.engine), Arc::clone(&self.endpoint)));
    }

    /// Nothing of it is in use.
    pub(super) fn is_idle(&self) -> bool {
        self.conns.is_empty() && self.line.is_empty() && self.dials == 0
    }
}

impl State {
    /// Takes a call that holds a slot to a connection, now or as soon as there is one.
    pub(super) fn connect(&mut self, at: u32) {
        let Some(reference) = self.calls.reference(at) else { return };
        let permit = self.calls.get(at).and_then(|call| call.permit.as_ref());
        let Some(permit) = permit else { return };
        let id = permit.endpoint().id();
        let (engine, endpoint) = (Arc::clone(permit.engine()), Arc::clone(permit.endpoint()));
        if let Some(conn) = self.pick(id) {
            self.dispatch(at, conn);
            return;
        }
        let pool = self.pools.entry(id).or_insert_with(|| Pool::new(engine, endpoint));
        pool.line.push_back(reference);
        self.dial_for_line(id);
    }

    /// The first connection with room, so that few are full rather than many half empty. One whose output
    /// is stuck comes last.
    fn pick(&mut self, id: u64) -> Option<u32> {
        let pool = self.pools.get(&id)?;
        let settings = pool.engine.settings();
        let (most, lifetime) = (per_connection(&settings.pool), Lifetime::from(&settings.pool));
        let mut stuck = None;
        for &at in &pool.conns {
            let Some(conn) = self.conns.get_mut(at) else { continue };
            if conn.closing || conn.h2.streams() >= most || !conn.h2.can_open() {
                continue;
            }
            if !conn.takes_calls(&lifetime, settings.tls_id(), self.now) {
                continue;
            }
            if conn.h2.out().len() < BACKLOG {
                return Some(at);
            }
            stuck = stuck.or(Some(at));
        }
        stuck.filter(|_| pool.conns.len() + pool.dials >= MOST)
    }

    /// Opens as many connections as the calls in line need.
    fn dial_for_line(&mut self, id: u64) {
        let Some(pool) = self.pools.get_mut(&id) else { return };
        let needed = pool.line.len().div_ceil(per_connection(&pool.engine.settings().pool));
        while pool.dials < needed && pool.conns.len() + pool.dials < MOST {
            let Some(relay) = self.me.upgrade() else { return };
            pool.dial(relay);
        }
    }

    /// A dial has ended.
    fn dialled(
        &mut self,
        engine: Arc<Engine>,
        endpoint: Arc<Endpoint>,
        dialled: Result<Dialled, DialError>,
    ) -> Option<(Ref, Arc<TcpStream>)> {
        let id = endpoint.id();
        let pool = self.pools.get_mut(&id)?;
        pool.dials -= 1;
        match dialled {
            Ok(dialled) => {
                engine.dial_succeeded(&endpoint);
                let (at, socket) = self.add_upstream(dialled, engine, endpoint);
                self.receive_opened(at);
                self.serve_pool(id);
                Some((at, socket))
            }
            Err(DialError::Exhausted) => {
                self.gateway.guard().say_short("a connection to an engine was not opened");
                self.shed(id);
                None
            }
            Err(error) => {
                unreachable(&engine, &endpoint, &error);
                self.unreachable(id);
                None
            }
        }
    }

    fn add_upstream(
        &mut self,
        dialled: Dialled,
        engine: Arc<Engine>,
        endpoint: Arc<Endpoint>,
    ) -> (Ref, Arc<TcpStream>) {
        let id = endpoint.id();
        let (socket, session) = dialled.stream.into_parts();
        let socket = Arc::new(socket);
        let upstream = Upstream {
            engine,
            endpoint,
            served: 0,
            opened: self.now,
            idle_since: self.now,
            seed: fastrand::u64(..),
            retired: false,
            tls: dialled.tls,
        };
        let conn = Conn::engine(Arc::clone(&socket), upstream, self.now).by(session);
        let reference = self.conns.insert(conn);
        self.touch(reference.at);
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.conns.push(reference.at);
        }
        (reference, socket)
    }

    /// The endpoint cannot be reached: the calls that wait for a connection go elsewhere, unless others are
    /// still being opened or have only to become free.
    fn unreachable(&mut self, id: u64) {
        let Some(pool) = self.pools.get_mut(&id) else { return };
        if pool.dials > 0 || !pool.conns.is_empty() {
            return;
        }
        for reference in std::mem::take(&mut pool.line) {
            let Some(call) = self.calls.find(reference) else { continue };
            if matches!(call.stage, Stage::Connection) {
                call.attempts.unreachable.add(id);
                call.attempts.failed.add(id);
                call.permit = None;
                self.ask(reference.at);
            }
        }
    }

    /// No connection can be opened for want of descriptors: nobody waits for one.
    fn shed(&mut self, id: u64) {
        let Some(pool) = self.pools.get_mut(&id).filter(|pool| pool.dials == 0) else { return };
        for reference in std::mem::take(&mut pool.line) {
            let waits = |call: &mut Call| matches!(call.stage, Stage::Connection);
            if self.calls.find(reference).is_some_and(waits) {
                self.reject(reference.at, &Rejection::Overloaded);
            }
        }
    }

    /// There may be room on a connection to this endpoint.
    pub(super) fn serve_pool(&mut self, id: u64) {
        loop {
            let Some(pool) = self.pools.get_mut(&id) else { return };
            let Some(&reference) = pool.line.front() else { return };
            let call = self.calls.find(reference);
            if !call.is_some_and(|call| matches!(call.stage, Stage::Connection)) {
                pool.line.pop_front();
                continue;
            }
            let Some(conn) = self.pick(id) else { break };
            if let Some(pool) = self.pools.get_mut(&id) {
                pool.line.pop_front();
            }
            self.dispatch(reference.at, conn);
        }
        self.dial_for_line(id);
    }

    /// Sends a call on a connection that has room.
    fn dispatch(&mut self, at: u32, conn: u32) {
        let now = self.now;
        let Some(h2) = self.h2(conn) else { return };
        let Some(key) = h2.open(at) else { return };
        if let Some(upstream) = self.conns.get_mut(conn).and_then(Conn::upstream) {
            upstream.served += 1;
            upstream.idle_since = now;
        }
        let Some(call) = self.calls.get_mut(at) else { return };
        call.stage = Stage::Engine;
        let held = call.held.take();
        let end = call.request_ended && held.is_none();
        call.up = Some(Leg { pending: held, ended: end, ..Leg::new(conn, key) });
        self.send_request(at, end);
        self.drain_call(at, super::call::Side::Up);
    }

    /// A connection to an endpoint takes no more calls; those it has go on.
    pub(super) fn retire(&mut self, at: u32) {
        let Some(upstream) = self.conns.get_mut(at).and_then(Conn::upstream) else { return };
        upstream.retired = true;
        let id = upstream.endpoint.id();
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.conns.retain(|conn| *conn != at);
        }
        self.close_if_done(at);
        self.serve_pool(id);
    }

    /// Closes a retired connection that has no calls any more.
    pub(super) fn close_if_done(&mut self, at: u32) {
        let Some(conn) = self.conns.get_mut(at) else { return };
        let retired = conn.upstream().is_some_and(|upstream| upstream.retired);
        if retired && conn.h2.streams() == 0 && !conn.closing {
            conn.h2.shutdown();
            conn.closing = true;
            self.touch(at);
        }
    }

    /// A call has left a connection to an endpoint.
    pub(super) fn left_upstream(&mut self, at: u32) {
        let now = self.now;
        let Some(upstream) = self.conns.get_mut(at).and_then(Conn::upstream) else { return };
        upstream.idle_since = now;
        let (id, retired) = (upstream.endpoint.id(), upstream.retired);
        if retired {
            self.close_if_done(at);
        } else if self.pools.get(&id).is_some_and(|pool| !pool.line.is_empty()) {
            self.serve_pool(id);
        }
    }

    /// A connection to an endpoint is gone.
    pub(super) fn lost_upstream(&mut self, at: u32, id: u64) {
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.conns.retain(|conn| *conn != at);
        }
        self.serve_pool(id);
    }
}

/// Calls that a connection may have at once.
pub(super) fn per_connection(pool: &model::Pool) -> usize {
    match pool.reuse {
        Reuse::Exclusive => 1,
        Reuse::Multiplex => pool.max_streams_per_connection.max(1) as usize,
    }
}

/// Opens a connection and serves it to its end.
async fn open(relay: Arc<Relay>, engine: Arc<Engine>, endpoint: Arc<Endpoint>) {
    let limit = engine.settings().pool.dial_timeout.duration();
    let dialled = dial(&endpoint, limit, Speaks::H2).await;
    let opened = relay.turn(|state| state.dialled(engine, endpoint, dialled));
    if let Some((at, socket)) = opened {
        Relayed::new(relay, at, socket).run().await;
    }
}
