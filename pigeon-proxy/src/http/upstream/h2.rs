//! HTTP/2 connections: many calls on each, another one opened when all are full.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pigeon_proto::model::Address;
use tokio::sync::watch;

use super::dial::{DialError, dial};
use super::{Link, Pool};
use crate::http::uplink::RequestBody;

/// Calls on one connection before another is opened; fewer if the engine says so.
const MOST_CALLS: usize = 100;
/// What an engine may send ahead on one call, while the caller reads slowly.
const STREAM_WINDOW: u32 = 256 << 10;
/// And on all calls of a connection: so much that slow readers do not stop the others.
const CONNECTION_WINDOW: u32 = 32 << 20;
/// The largest head of an answer.
const MAX_HEAD: u32 = 256 << 10;
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

/// One connection.
struct Connection {
    sender: SendRequest<RequestBody>,
    calls: AtomicUsize,
    /// What the engine allows at once.
    allowed: Arc<AtomicUsize>,
    idle_since: Mutex<Instant>,
}

/// A connection that is being opened, and the calls that wait for it.
struct Dial {
    seats: usize,
    outcome: watch::Receiver<Option<Result<(), DialError>>>,
}

/// Room for one call on a connection.
pub(in crate::http) struct Seat(Arc<Connection>);

/// Room on a connection, or on a new one. A dial goes on when the call that began it has gone.
pub(super) async fn link(
    pool: &Arc<Pool>,
    address: &Address,
    dial_timeout: Duration,
) -> Result<Link, DialError> {
    for _ in 0..PATIENCE {
        let mut outcome = {
            let mut state = pool.h2.lock();
            if let Some(seat) = state.seat() {
                return Ok(Link::H2(seat));
            }
            match state.join_dial() {
                Some(outcome) => outcome,
                None => state.begin_dial(pool, address.clone(), dial_timeout),
            }
        };
        let outcome = match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            // The dial was cut off with its worker.
            Err(_) => None,
        };
        outcome.unwrap_or_else(|| Err(DialError::Failed("this proxy is stopping".into())))?;
    }
    Err(DialError::Failed("others took every new connection; try again".into()))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close_idle(&self, now: Instant, limit: Duration) {
        self.lock().connections.retain(|connection| {
            let since = *connection.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
            let busy = connection.calls.load(Ordering::Relaxed) > 0;
            !connection.sender.is_closed() && (busy || now.saturating_duration_since(since) < limit)
        });
    }
}

impl State {
    /// Room on the first connection that has any: few full ones cost less than many half empty.
    fn seat(&mut self) -> Option<Seat> {
        self.connections.retain(|connection| !connection.sender.is_closed());
        let room = |c: &&Arc<Connection>| {
            let most = c.allowed.load(Ordering::Relaxed).clamp(1, MOST_CALLS);
            c.calls.load(Ordering::Relaxed) < most
        };
        let connection = self.connections.iter().find(room)?;
        connection.calls.fetch_add(1, Ordering::Relaxed);
        Some(Seat(Arc::clone(connection)))
    }

    /// Waits for a dial that has seats left.
    fn join_dial(&mut self) -> Option<watch::Receiver<Option<Result<(), DialError>>>> {
        self.dials
            .retain(|dial| dial.outcome.borrow().is_none() && dial.outcome.has_changed().is_ok());
        let dial = self.dials.iter_mut().find(|dial| dial.seats > 0)?;
        dial.seats -= 1;
        Some(dial.outcome.clone())
    }

    fn begin_dial(
        &mut self,
        pool: &Arc<Pool>,
        address: Address,
        limit: Duration,
    ) -> watch::Receiver<Option<Result<(), DialError>>> {
        let (tell, outcome) = watch::channel(None);
        self.dials.push(Dial { seats: MOST_CALLS - 1, outcome: outcome.clone() });
        let pool = Arc::clone(pool);
        tokio::spawn(async move {
            let opened = open(&address, limit).await;
            let outcome = opened.map(|connection| pool.h2.lock().connections.push(connection));
            tell.send_replace(Some(outcome));
        });
        outcome
    }
}

async fn open(address: &Address, limit: Duration) -> Result<Arc<Connection>, DialError> {
    let socket = TokioIo::new(dial(address, limit).await?);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD);
    let (sender, connection) = builder.handshake(socket).await?;
    let allowed = Arc::new(AtomicUsize::new(MOST_CALLS));
    let noted = Arc::clone(&allowed);
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        let ended = std::future::poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            noted.store(connection.current_max_send_streams(), Ordering::Relaxed);
            polled
        });
        // Its calls are told by their own futures.
        if let Err(error) = ended.await {
            tracing::debug!(%error, "a connection to an engine ended");
        }
    });
    let idle_since = Mutex::new(Instant::now());
    Ok(Arc::new(Connection { sender, calls: AtomicUsize::new(0), allowed, idle_since }))
}

impl Seat {
    /// A handle that sends on the connection.
    pub(super) fn sender(&self) -> SendRequest<RequestBody> {
        self.0.sender.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.0.calls.fetch_sub(1, Ordering::Relaxed) == 1 {
            let mut since = self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
            *since = Instant::now();
        }
    }
}
