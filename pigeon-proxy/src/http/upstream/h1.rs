//! HTTP/1.1 connections: one call at a time, idle ones kept for the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use pigeon_proto::model;

use super::Link;
use super::dial::{DialError, Dialled, dial, dialled};
use super::pool::Pool;
use crate::engine::lifetime::{Age, Fate, Lifetime};
use crate::engine::{Endpoint, Settings};
use crate::http::upload::RequestBody;
use crate::tls::Speaks;

/// Idle connections kept per endpoint and worker.
const MOST_IDLE: usize = 256;
/// The largest head of an answer.
const MAX_HEAD: usize = 256 << 10;
const MAX_HEADERS: usize = 256;

/// The idle connections to one endpoint, the last used at the end.
#[derive(Default)]
pub(super) struct Idle(Mutex<State>);

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    /// Connections that are being opened ahead of calls.
    opening: usize,
}

/// A connection without a call.
struct Connection {
    sender: SendRequest<RequestBody>,
    age: Age,
    /// The TLS settings it was opened under.
    tls: u64,
}

/// A connection in use.
pub(in crate::http) struct H1Link {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) reused: bool,
    pub(super) pool: Arc<Pool>,
    age: Age,
    tls: u64,
}

/// An idle connection, or a new one.
pub(super) async fn link(
    pool: &Arc<Pool>,
    endpoint: &Endpoint,
    settings: &Settings,
    fresh: bool,
) -> Result<Link, DialError> {
    let lifetime = Lifetime::from(&settings.pool);
    let take = || pool.h1.take(&lifetime, settings.tls_id(), Instant::now());
    let idle = if fresh { None } else { take() };
    let reused = idle.is_some();
    let Connection { sender, mut age, tls } = match idle {
        Some(connection) => connection,
        None => open(endpoint, settings.pool.dial_timeout.duration()).await?,
    };
    age.taken = age.taken.saturating_add(1);
    age.running = 1;
    Ok(Link::H1(H1Link { sender, reused, pool: Arc::clone(pool), age, tls }))
}

/// Opens connections ahead of calls, as many as are missing.
pub(super) fn warm_up(
    pool: &Arc<Pool>,
    endpoint: &Arc<Endpoint>,
    settings: &model::Pool,
    lifetime: &Lifetime,
    free: u32,
) {
    let mut state = pool.h1.lock();
    let missing = lifetime.to_open(state.idle.len(), state.opening, free);
    state.opening += missing;
    drop(state);
    for _ in 0..missing {
        let (pool, endpoint) = (Arc::clone(pool), Arc::clone(endpoint));
        let limit = settings.dial_timeout.duration();
        tokio::spawn(async move {
            let opened = ready(open(&endpoint, limit).await).await;
            dialled(&pool, &endpoint, opened.as_ref().err());
            let mut state = pool.h1.lock();
            state.opening -= 1;
            state.idle.extend(opened);
        });
    }
}

/// Waits until hyper has begun to look after the connection: before, it takes no call, and would be taken
/// for one that is closed.
async fn ready(opened: Result<Connection, DialError>) -> Result<Connection, DialError> {
    let mut connection = opened?;
    connection.sender.ready().await?;
    Ok(connection)
}

async fn open(endpoint: &Endpoint, limit: Duration) -> Result<Connection, DialError> {
    let Dialled { stream, tls } = dial(endpoint, limit, Speaks::Http1).await?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Its calls are told by their own futures.
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to an engine ended");
        }
    });
    let now = Instant::now();
    let seed = fastrand::u64(..);
    let age = Age { opened: now, seed, taken: 0, running: 0, idle_since: now };
    Ok(Connection { sender, age, tls })
}

impl Idle {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `tls` = the settings that connections are opened under now.
    fn take(&self, lifetime: &Lifetime, tls: u64, now: Instant) -> Option<Connection> {
        let mut state = self.lock();
        while let Some(connection) = state.idle.pop() {
            let usable = connection.sender.is_ready() && connection.tls == tls;
            if usable && lifetime.takes(&connection.age, now) {
                return Some(connection);
            }
        }
        None
    }

    fn put(&self, connection: Connection) {
        let mut state = self.lock();
        if state.idle.len() < MOST_IDLE && !connection.sender.is_closed() {
            state.idle.push(connection);
        }
    }

    /// Closes what is past its time.
    pub(super) fn tend(&self, now: Instant, lifetime: &Lifetime, tls: u64) {
        let mut state = self.lock();
        let fate = |c: &Connection| match c.sender.is_closed() || c.tls != tls {
            true => Fate::Close,
            false => lifetime.fate(&c.age, now),
        };
        state.idle.retain(|c| fate(c) != Fate::Close);
        let idle = state.idle.iter().filter(|c| fate(c) == Fate::Idle).count();
        // The longest unused are in front.
        let mut close = lifetime.to_close(idle, state.idle.len());
        state.idle.retain(|c| {
            let goes = close > 0 && fate(c) == Fate::Idle;
            close -= usize::from(goes);
            !goes
        });
    }
}

impl H1Link {
    /// Keeps the connection for the next call, as soon as it has taken note of the end of this one.
    pub(super) fn put_back(self) {
        let Self { mut sender, pool, mut age, tls, .. } = self;
        age.running = 0;
        age.idle_since = Instant::now();
        if sender.is_ready() {
            pool.h1.put(Connection { sender, age, tls });
            return;
        }
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                pool.h1.put(Connection { sender, age, tls });
            }
        });
    }
}
