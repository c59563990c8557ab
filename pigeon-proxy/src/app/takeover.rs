//! What a proxy takes over from a running one when it starts, and what it offers to its own successor.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Config, Proxy, SourceConfig, StartError, TakeoverConfig};
use crate::gateway::Gateway;
use crate::listen::{Gate, Inherited, Listeners, Sockets};
use crate::takeover::predecessor::{self, Ask, Desk};
use crate::takeover::successor;

/// The socket for a take-over in the state directory.
const SOCKET: &str = "takeover.sock";
/// How long it is worth waiting for the keys of tokens.
const KEYS: Duration = Duration::from_secs(3);

impl TakeoverConfig {
    /// Where a running proxy waits for its successor.
    pub(super) fn path(&self, source: &SourceConfig) -> Option<PathBuf> {
        match (&self.socket, source) {
            (Some(path), _) => Some(path.clone()),
            (None, SourceConfig::Admin(admin)) => Some(admin.state_dir.join(SOCKET)),
            (None, SourceConfig::File(_)) => None,
        }
    }
}

/// What the running proxy hands over, if this one is to take over and there is one.
pub(super) async fn ask(config: &Config) -> Result<Option<successor::Inherited>, StartError> {
    if !config.takeover.now {
        return Ok(None);
    }
    let path = config.takeover.path(&config.source).ok_or(StartError::NoTakeoverSocket)?;
    let failed = |source| StartError::Takeover { path: path.clone(), source };
    let found = successor::ask(&path).await.map_err(failed)?;
    if found.is_none() {
        tracing::info!("nobody is there to be taken over at {}; starting anew", path.display());
    }
    Ok(found)
}

/// The status port: the one handed over, or open already, if it is the one wanted.
pub(super) async fn status(
    address: SocketAddr,
    inherited: Option<&mut successor::Inherited>,
    sockets: &Sockets,
) -> io::Result<TcpListener> {
    let same = |at: SocketAddr| at == address || (address.port() == 0 && at.ip() == address.ip());
    let handed = inherited.and_then(|i| i.status.take()).filter(|(at, _)| same(*at));
    let open = match handed {
        Some((_, socket)) => Some(socket),
        None => sockets.claim(address, 1)?.pop(),
    };
    match open {
        Some(socket) => {
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket)
        }
        None => TcpListener::bind(address).await,
    }
}

/// Gives the listeners what was handed over. They take no connection before [`begin`].
pub(super) fn prepare(listeners: &mut Listeners, inherited: Option<&mut successor::Inherited>) {
    let Some(inherited) = inherited else { return };
    let mut sockets = Inherited::default();
    for (name, address, some) in std::mem::take(&mut inherited.listeners) {
        sockets.add(Some(name), address, some);
    }
    listeners.inherit(sockets);
    listeners.gate().send_replace(Gate::Waiting);
}

/// Takes over: the running process lets go once this one accepts. Gives what tells when it has.
pub(super) async fn begin(
    path: Option<&Path>,
    inherited: Option<successor::Inherited>,
    listens: bool,
    gateway: &Arc<Gateway>,
    gate: &watch::Sender<Gate>,
) -> Result<Option<oneshot::Receiver<()>>, StartError> {
    let Some(inherited) = inherited else { return Ok(None) };
    let failed =
        |source| StartError::Takeover { path: path.unwrap_or(Path::new("")).to_owned(), source };
    if !listens {
        return Err(failed(io::Error::other("none of its own listeners can be opened")));
    }
    // Calls with tokens go on, too; until there are keys the running process takes them.
    crate::jwks::first(gateway, KEYS).await;
    let taken = inherited.ready(gateway).await.map_err(failed)?;
    gate.send_replace(Gate::Open);
    let (released, told) = oneshot::channel();
    tokio::spawn(taken.serve(Arc::clone(gateway), released));
    Ok(Some(told))
}

/// Opens the socket where the next process may ask. A process that took over has no way back.
pub(super) async fn listen(
    takeover: &TakeoverConfig,
    path: Option<PathBuf>,
    took_over: bool,
) -> Result<Option<UnixListener>, StartError> {
    let Some(path) = path else { return Ok(None) };
    // Where there is a state directory its lock has shown that nobody else runs.
    let used = !took_over && takeover.socket.is_some() && UnixStream::connect(&path).await.is_ok();
    let opened = match used {
        true => {
            Err(io::Error::other("another pigeon-proxy waits there; take it over with --takeover"))
        }
        false => predecessor::listen(&path),
    };
    match opened {
        Ok(socket) => Ok(Some(socket)),
        Err(source) if takeover.socket.is_some() && !took_over => {
            Err(StartError::TakeoverSocket { path, source })
        }
        Err(e) => {
            tracing::warn!("this proxy cannot be taken over at {}: {e}", path.display());
            Ok(None)
        }
    }
}

impl Proxy {
    /// What a successor is given.
    pub(super) fn desk(&self, listeners: mpsc::Sender<Ask>) -> io::Result<Desk> {
        Ok(Desk {
            listeners,
            status: (self.status_addr, self.status.as_fd().try_clone_to_owned()?),
            lock: self.identity.lock()?,
            gateway: Arc::clone(&self.gateway),
        })
    }
}
