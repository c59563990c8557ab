//! HTTP/2 connections: many calls on each, another one opened when all are full; or, with
//! `reuse: exclusive`, one call at a time on each.

mod connection;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pigeon_proto::model::{self, Reuse};
use tokio::sync::{oneshot, watch};

use self::connection::{Connection, open};
use super::Link;
use super::dial::{DialError, dialled};
use super::pool::Pool;
use crate::engine::lifetime::{Fate, Lifetime};
use crate::engine::{Endpoint, Settings};
use crate::http::upload::RequestBody;

/// Dials of others that a call waits for before it gives up.
const PATIENCE: usize = 8;

/// The connections to one endpoint.
#[derive(Default)]
pub(super) struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    connections: Vec<Arc<Connection>>,
    dials: Vec<Dial>,
}

/// A connection that is being opened, and the calls that wait for it.
struct Dial {
    seats: usize,
    outcome: watch::Receiver<Option<Result<(), DialError>>>,
}

/// What the call that began a dial gets.
type Opened = oneshot::Receiver<Result<Seat, DialError>>;

/// Room for one call on a connection.
pub(in crate::http) struct Seat {
    connection: Arc<Connection>,
    pub(super) pool: Arc<Pool>,
}

/// What a call that found no room does.
enum Wait {
    ForOwn(Opened),
    ForOthers(watch::Receiver<Option<Result<(), DialError>>>),
}

/// Room on a connection, or on a new one. A dial goes on when the call that began it has gone.
pub(super) async fn link(
    pool: &Arc<Pool>,
    endpoint: &Arc<Endpoint>,
    settings: &Settings,
) -> Result<Link, DialError> {
    for _ in 0..PATIENCE {
        let wait = {
            let mut state = pool.h2.lock();
            if let Some(connection) = state.seat(settings, Instant::now()) {
                return Ok(Link::H2(Seat { connection, pool: Arc::clone(pool) }));
            }
            match state.join_dial() {
                Some(outcome) => Wait::ForOthers(outcome),
                None => Wait::ForOwn(state.begin_dial(pool, endpoint, &settings.pool)),
            }
        };
        match wait {
            Wait::ForOwn(opened) => {
                return opened.await.unwrap_or_else(|_| Err(stopping())).map(Link::H2);
            }
            Wait::ForOthers(mut outcome) => {
                let outcome = outcome.wait_for(Option::is_some).await;
                outcome.map_or(None, |o| o.clone()).unwrap_or_else(|| Err(stopping()))?;
            }
        }
    }
    Err(DialError::Failed("others took every new connection; try again".into()))
}

/// The dial was cut off with its worker.
fn stopping() -> DialError {
    DialError::Failed("this proxy is stopping".into())
}

/// Opens connections ahead of calls, as many as are missing.
pub(super) fn warm_up(
    pool: &Arc<Pool>,
    endpoint: &Arc<Endpoint>,
    settings: &model::Pool,
    lifetime: &Lifetime,
    free: u32,
) {
    let mut state = pool.h2.lock();
    state.forget_dials();
    let most = most_calls(settings);
    let ready = state.connections.iter().filter(|c| c.has_room(most)).count();
    let missing = lifetime.to_open(ready, state.dials.len(), free);
    for _ in 0..missing {
        let opened = state.begin_dial(pool, endpoint, settings);
        let (pool, endpoint) = (Arc::clone(pool), Arc::clone(endpoint));
        tokio::spawn(async move {
            let opened = opened.await.unwrap_or_else(|_| Err(stopping()));
            dialled(&pool, &endpoint, opened.as_ref().err());
        });
    }
}

/// Calls at once on one connection.
fn most_calls(settings: &model::Pool) -> usize {
    match settings.reuse {
        Reuse::Exclusive => 1,
        Reuse::Multiplex => settings.max_streams_per_connection as usize,
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what is past its time.
    pub(super) fn tend(&self, now: Instant, lifetime: &Lifetime, settings: &Settings) {
        let tls = settings.tls_id();
        let mut state = self.lock();
        // Calls that run on one that retires hold it themselves, and the last of them closes it.
        state.connections.retain(|c| {
            c.is_open_under(tls)
                && !matches!(lifetime.fate(&c.age(), now), Fate::Retire | Fate::Close)
        });
        let idle = |c: &Arc<Connection>| lifetime.fate(&c.age(), now) == Fate::Idle;
        let most = most_calls(&settings.pool);
        let ready = state.connections.iter().filter(|c| c.has_room(most)).count();
        let count = state.connections.iter().filter(|c| idle(c)).count();
        // Calls go to the first with room, so the last are the least used.
        let mut close = lifetime.to_close(count, ready);
        let mut kept = Vec::with_capacity(state.connections.len());
        for connection in state.connections.drain(..).rev() {
            if close > 0 && idle(&connection) {
                close -= 1;
            } else {
                kept.push(connection);
            }
        }
        kept.reverse();
        state.connections = kept;
    }
}

impl State {
    /// Room on the first connection that has any: few full ones cost less than many half empty.
    fn seat(&mut self, settings: &Settings, now: Instant) -> Option<Arc<Connection>> {
        let (lifetime, tls) = (Lifetime::from(&settings.pool), settings.tls_id());
        self.connections.retain(|c| c.is_open_under(tls) && lifetime.takes(&c.age(), now));
        let most = most_calls(&settings.pool);
        let connection = self.connections.iter().find(|c| c.has_room(most))?;
        connection.begin_call();
        Some(Arc::clone(connection))
    }

    fn forget_dials(&mut self) {
        self.dials
            .retain(|dial| dial.outcome.borrow().is_none() && dial.outcome.has_changed().is_ok());
    }

    /// Waits for a dial that has seats left.
    fn join_dial(&mut self) -> Option<watch::Receiver<Option<Result<(), DialError>>>> {
        self.forget_dials();
        let dial = self.dials.iter_mut().find(|dial| dial.seats > 0)?;
        dial.seats -= 1;
        Some(dial.outcome.clone())
    }

    fn begin_dial(
        &mut self,
        pool: &Arc<Pool>,
        endpoint: &Arc<Endpoint>,
        settings: &model::Pool,
    ) -> Opened {
        let endpoint = Arc::clone(endpoint);
        let (tell, outcome) = watch::channel(None);
        let (hand_over, opened) = oneshot::channel();
        let calls = settings.max_requests.map_or(usize::MAX, |most| most as usize);
        let seats = most_calls(settings).min(calls) - 1;
        self.dials.push(Dial { seats, outcome });
        let (pool, settings) = (Arc::clone(pool), settings.clone());
        tokio::spawn(async move {
            let connection = open(&endpoint, &settings).await;
            let outcome = connection.as_ref().map(|_| ()).map_err(Clone::clone);
            let seat = connection.map(|connection| {
                // Taken before others see it: who opened it has its room.
                connection.begin_call();
                pool.h2.lock().connections.push(Arc::clone(&connection));
                Seat { connection, pool }
            });
            // If nobody wants the seat any more, it is free for others.
            drop(hand_over.send(seat));
            tell.send_replace(Some(outcome));
        });
        opened
    }
}

impl Seat {
    /// A handle that sends on the connection.
    pub(super) fn sender(&self) -> hyper::client::conn::http2::SendRequest<RequestBody> {
        self.connection.sender()
    }

    /// No other call gets room on it.
    pub(super) fn retire(&self) {
        self.connection.retire();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connection.end_call(Instant::now());
    }
}
