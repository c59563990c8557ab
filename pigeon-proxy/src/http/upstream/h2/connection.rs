//! One HTTP/2 connection to an endpoint.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pigeon_proto::model;

use crate::engine::Endpoint;
use crate::engine::lifetime::Age;
use crate::http::upload::RequestBody;
use crate::http::upstream::dial::{DialError, Dialled, dial};
use crate::tls::Speaks;

/// The largest head of an answer.
const MAX_HEAD: u32 = 256 << 10;

/// One connection. Closed by dropping it: by the pool, and by the calls that run on it.
pub(super) struct Connection {
    sender: SendRequest<RequestBody>,
    opened: Instant,
    seed: u64,
    /// Calls it has taken.
    taken: AtomicU32,
    /// Calls that run on it.
    running: AtomicU32,
    /// What the engine allows at once.
    allowed: Arc<AtomicUsize>,
    /// It turned out to take no more calls.
    retired: AtomicBool,
    idle_since: Mutex<Instant>,
    /// The TLS settings it was opened under.
    tls: u64,
}

/// Opens a connection with these settings.
pub(super) async fn open(
    endpoint: &Endpoint,
    settings: &model::Pool,
) -> Result<Arc<Connection>, DialError> {
    let limit = settings.dial_timeout.duration();
    let Dialled { stream, tls } = dial(endpoint, limit, Speaks::H2).await?;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .keep_alive_interval(settings.keepalive_time.map(|time| time.duration()))
        .keep_alive_timeout(settings.keepalive_timeout.duration())
        .keep_alive_while_idle(settings.keepalive_without_calls)
        .max_header_list_size(MAX_HEAD);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let allowed = Arc::new(AtomicUsize::new(settings.max_streams_per_connection as usize));
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
    let now = Instant::now();
    Ok(Arc::new(Connection {
        sender,
        opened: now,
        seed: fastrand::u64(..),
        taken: AtomicU32::new(0),
        running: AtomicU32::new(0),
        allowed,
        retired: AtomicBool::new(false),
        idle_since: Mutex::new(now),
        tls,
    }))
}

impl Connection {
    pub(super) fn sender(&self) -> SendRequest<RequestBody> {
        self.sender.clone()
    }

    /// Whether calls can be sent on it, now that connections are opened under these TLS settings.
    pub(super) fn is_open_under(&self, tls: u64) -> bool {
        self.tls == tls && !self.sender.is_closed() && !self.retired.load(Ordering::Relaxed)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Whether fewer than `most` calls run on it, and fewer than the engine allows.
    pub(super) fn has_room(&self, most: usize) -> bool {
        let most = self.allowed.load(Ordering::Relaxed).clamp(1, most.max(1));
        (self.running.load(Ordering::Relaxed) as usize) < most
    }

    pub(super) fn begin_call(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_call(&self, now: Instant) {
        if self.running.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
    }

    pub(super) fn age(&self) -> Age {
        Age {
            opened: self.opened,
            seed: self.seed,
            taken: self.taken.load(Ordering::Relaxed),
            running: self.running.load(Ordering::Relaxed),
            idle_since: *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
