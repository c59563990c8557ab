//! HTTP/1.1 connections: one call at a time, idle ones kept for the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use pigeon_proto::model::Address;

use super::dial::{DialError, dial};
use super::{Link, Pool};
use crate::http::uplink::RequestBody;

/// Idle connections kept per endpoint and worker.
const MOST_IDLE: usize = 256;
/// The largest head of an answer.
const MAX_HEAD: usize = 256 << 10;
const MAX_HEADERS: usize = 256;

/// The idle connections to one endpoint, the last used at the end.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<(SendRequest<RequestBody>, Instant)>>);

/// A connection in use.
pub(in crate::http) struct H1Link {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) reused: bool,
    pool: Arc<Pool>,
}

/// An idle connection, or a new one.
pub(super) async fn link(
    pool: &Arc<Pool>,
    address: &Address,
    dial_timeout: Duration,
    fresh: bool,
) -> Result<Link, DialError> {
    let idle = if fresh { None } else { pool.h1.take() };
    let reused = idle.is_some();
    let sender = match idle {
        Some(sender) => sender,
        None => open(address, dial_timeout).await?,
    };
    Ok(Link::H1(H1Link { sender, reused, pool: Arc::clone(pool) }))
}

async fn open(
    address: &Address,
    dial_timeout: Duration,
) -> Result<SendRequest<RequestBody>, DialError> {
    let socket = TokioIo::new(dial(address, dial_timeout).await?);
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    let (sender, connection) = builder.handshake(socket).await?;
    tokio::spawn(async move {
        // Its calls are told by their own futures.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an engine ended");
        }
    });
    Ok(sender)
}

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Vec<(SendRequest<RequestBody>, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<SendRequest<RequestBody>> {
        let mut idle = self.lock();
        while let Some((sender, _)) = idle.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn put(&self, sender: SendRequest<RequestBody>) {
        let mut idle = self.lock();
        if idle.len() < MOST_IDLE && !sender.is_closed() {
            idle.push((sender, Instant::now()));
        }
    }

    pub(super) fn close_idle(&self, now: Instant, limit: Duration) {
        self.lock().retain(|(sender, since)| {
            !sender.is_closed() && now.saturating_duration_since(*since) < limit
        });
    }
}

impl H1Link {
    /// Keeps the connection for the next call, as soon as it has taken note of the end of this one.
    pub(super) fn put_back(mut self) {
        if self.sender.is_ready() {
            self.pool.h1.put(self.sender);
            return;
        }
        tokio::spawn(async move {
            if self.sender.ready().await.is_ok() {
                self.pool.h1.put(self.sender);
            }
        });
    }
}
