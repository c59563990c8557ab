//! Opening a connection to an endpoint.

use std::io;
use std::time::Duration;

use pigeon_proto::model::Address;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::pool::Pool;
use crate::engine::{Endpoint, Engine};
use crate::tls::{Speaks, Stream};

/// A machine that is gone without a word is noticed after about a minute. Not by HTTP/2 pings: many gRPC
/// servers close connections that ping more often than every five minutes.
const KEEPALIVE_TIME: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// Why an endpoint could not be reached; nothing of the call was sent.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// No answer in time.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// This process has no descriptor left: no fault of the endpoint.
    #[error("this proxy has no file descriptor left")]
    Exhausted,
    /// Refused, unreachable, unknown name.
    #[error("{0}")]
    Failed(String),
}

impl From<hyper::Error> for DialError {
    fn from(error: hyper::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A connection to an endpoint.
pub(crate) struct Dialled {
    pub(crate) stream: Stream,
    /// The TLS settings it was opened under; 0 = in the clear.
    pub(crate) tls: u64,
}

/// Opens a connection, to whichever address of the host answers first in order, and shakes hands if the engine
/// speaks TLS.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    limit: Duration,
    speaks: Speaks,
) -> Result<Dialled, DialError> {
    let dialled = tokio::time::timeout(limit, Box::pin(open(endpoint, speaks))).await;
    match dialled {
        Ok(dialled) => dialled,
        Err(_) => Err(DialError::Timeout(limit)),
    }
}

/// Whether the process, or the system, has no descriptor left.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let none_left = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| none_left.contains(&code))
}

async fn open(endpoint: &Endpoint, speaks: Speaks) -> Result<Dialled, DialError> {
    let tls = endpoint.engine().settings().tls.clone();
    let address = endpoint.address();
    let socket = connect(address).await.map_err(|error| match is_exhausted(&error) {
        true => DialError::Exhausted,
        false => DialError::Failed(error.to_string()),
    })?;
    let Some(tls) = tls else { return Ok(Dialled { stream: Stream::Plain(socket), tls: 0 }) };
    let stream = tls.connect(socket, address, speaks).await.map_err(DialError::Failed)?;
    Ok(Dialled { stream: Stream::Endpoint(Box::new(stream)), tls: tls.id() })
}

async fn connect(address: &Address) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address.as_str()).await?;
    socket.set_nodelay(true)?;
    keep_alive(&socket)?;
    Ok(socket)
}

/// Has the system notice that the other machine is gone.
pub(crate) fn keep_alive(socket: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

/// Notes how opening a connection ahead of calls went.
pub(super) fn dialled(pool: &Pool, endpoint: &Endpoint, error: Option<&DialError>) {
    let Some(engine) = pool.engine.upgrade() else { return };
    match error {
        None => engine.dial_succeeded(endpoint),
        Some(error) => unreachable(&engine, endpoint, error),
    }
}

/// Avoids an endpoint that could not be reached.
pub(crate) fn unreachable(engine: &Engine, endpoint: &Endpoint, error: &DialError) {
    if matches!(error, DialError::Exhausted) {
        return;
    }
    if engine.dial_failed(endpoint, fastrand::u64(..), error) {
        let (engine, endpoint) = (engine.name(), endpoint.address());
        tracing::debug!(%engine, %endpoint, %error, "an endpoint cannot be reached");
    }
}
