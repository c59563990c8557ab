//! The whole proxy: [`bind`] checks, takes what it needs and opens sockets; [`Proxy::run`] runs until told to
//! stop, then drains.
//!
//! Nothing here is global: a process may hold several, and whoever starts one sets up logging and signals.

mod run;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pigeon_proto::model::{Name, RawState};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use crate::config::address::AdminAddress;
use crate::config::file::{self, FileError};
use crate::config::identity::{Identity, IdentityError};
use crate::config::last_known_good::{self, Found, Saved};
use crate::config::serve::Server;
use crate::config::token::{self, TokenError};
use crate::config::{Connection, Serving, Timings};
use crate::gateway::Gateway;
use crate::listen::Listeners;
use crate::metrics::Metrics;
use crate::metrics::config::ConfigMetrics;
use crate::record::AccessLog;
use crate::worker::Workers;

/// Everything a proxy is told when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the configuration of calls comes from.
    pub source: SourceConfig,
    /// The name people see; none = from the host and the node id.
    pub name: Option<Name>,
    /// Listeners that listen elsewhere on this proxy; port 0 takes a free one.
    pub binds: BTreeMap<Name, SocketAddr>,
    /// For health, metrics and state; port 0 takes a free one.
    pub status_listen: SocketAddr,
    /// Threads that carry calls; none = one per core.
    pub workers: Option<usize>,
    /// How long running calls may take to end.
    pub drain_timeout: Duration,
    /// Where calls are written down.
    pub access_log: AccessLog,
    /// Calls with HTTP/2 on both sides are relayed frame by frame; otherwise they take the general path.
    pub relay: bool,
    /// `status_listen` may be beyond loopback.
    pub insecure_bind: bool,
    /// How long things wait.
    pub timings: Timings,
}

/// Where the configuration of calls comes from.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    /// An admin's stream.
    Admin(AdminConfig),
    /// A file.
    File(PathBuf),
}

/// What a proxy needs to follow an admin.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// The admin's stream port.
    pub address: AdminAddress,
    /// Holds the proxy token.
    pub token_file: PathBuf,
    /// For identity and last known good; of this proxy alone.
    pub state_dir: PathBuf,
    /// The token may travel in the clear beyond this machine.
    pub insecure: bool,
}

/// Why a proxy does not start; one line each (a refused file: one per reason), with what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The status port would be open to others.
    #[error(
        "the status address {0} can be reached from other machines, and it asks for no token; \
         use 127.0.0.1, or say --insecure-bind"
    )]
    OpenStatus(SocketAddr),
    /// The token would travel in the clear.
    #[error(
        "the admin {0} is not on this machine, and http would send the token unencrypted; \
         use it only on a network you trust, with --insecure-admin"
    )]
    OpenToken(AdminAddress),
    /// No token.
    #[error("{0}")]
    Token(TokenError),
    /// No identity.
    #[error("{0}")]
    Identity(IdentityError),
    /// Last known good is there and cannot be read.
    #[error("cannot read {}: {source}; make it readable for this user, or remove it", .path.display())]
    LastKnownGood {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration file is not good.
    #[error("{0}")]
    File(FileError),
    /// The status port cannot be opened.
    #[error(
        "cannot listen on the status address {address}: {source}; \
             stop what uses it, or give another with --status-listen (port 0 takes a free one)"
    )]
    Status {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The threads that carry calls cannot be started.
    #[error("cannot start {count} workers: {source}; give fewer with --workers")]
    Workers {
        /// How many.
        count: usize,
        /// What the system said.
        source: io::Error,
    },
}

impl Config {
    /// With the defaults of the command line, but no access log.
    pub fn new(source: SourceConfig) -> Self {
        Self {
            source,
            name: None,
            binds: BTreeMap::new(),
            status_listen: ([127, 0, 0, 1], 9901).into(),
            workers: None,
            drain_timeout: Duration::from_secs(30),
            access_log: AccessLog::off(),
            relay: true,
            insecure_bind: false,
            timings: Timings::default(),
        }
    }

    /// Whether what was asked for goes together.
    ///
    /// # Errors
    /// It would open to others what was not explicitly opened.
    pub fn check(&self) -> Result<(), StartError> {
        if !self.status_listen.ip().is_loopback() && !self.insecure_bind {
            return Err(StartError::OpenStatus(self.status_listen));
        }
        match &self.source {
            SourceConfig::Admin(a) if !a.address.is_loopback() && !a.insecure => {
                Err(StartError::OpenToken(a.address.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// A proxy with its sockets open; [`Proxy::run`] makes it live.
pub struct Proxy {
    identity: Arc<Identity>,
    gateway: Arc<Gateway>,
    server: Server,
    origin: Origin,
    status: TcpListener,
    status_addr: SocketAddr,
    metrics: Metrics,
    config_metrics: ConfigMetrics,
    serving: watch::Receiver<Serving>,
    connection: watch::Sender<Connection>,
    reload: Arc<Notify>,
    timings: Timings,
    drain_timeout: Duration,
}

/// Where configurations will come from.
enum Origin {
    Admin { admin: AdminConfig, saved: Option<Saved> },
    File { path: PathBuf, current: RawState },
}

/// Checks everything, takes the state directory, and opens the sockets.
///
/// # Errors
/// Whatever would keep the proxy from running, with what to do about it.
pub async fn bind(config: Config) -> Result<Proxy, StartError> {
    config.check()?;
    let (identity, origin) = identify(config.source, config.name)?;
    let address = config.status_listen;
    let failed = |source| StartError::Status { address, source };
    let status = TcpListener::bind(address).await.map_err(failed)?;
    let status_addr = status.local_addr().map_err(failed)?;
    let count = config.workers.unwrap_or_else(cores);
    let metrics = Metrics::new();
    let config_metrics = ConfigMetrics::new(metrics.registry());
    let gateway = Gateway::new(metrics.clone(), config.access_log);
    gateway.set_relay(config.relay);
    let workers =
        Workers::start(count, &gateway).map_err(|source| StartError::Workers { count, source })?;
    let listeners = Listeners::new(Arc::clone(&gateway), workers, config.binds);
    let server = begin(&gateway, listeners, &config_metrics, config.timings, &origin);
    Ok(Proxy {
        identity: Arc::new(identity),
        gateway,
        serving: server.serving(),
        server,
        origin,
        status,
        status_addr,
        metrics,
        config_metrics,
        connection: watch::Sender::default(),
        reload: Arc::default(),
        timings: config.timings,
        drain_timeout: config.drain_timeout,
    })
}

/// Who this is, and where its configurations come from.
fn identify(source: SourceConfig, name: Option<Name>) -> Result<(Identity, Origin), StartError> {
    match source {
        SourceConfig::Admin(admin) => {
            // Read only to fail early; the stream reads it again at each attempt.
            token::read(&admin.token_file).map_err(StartError::Token)?;
            let identity = Identity::open(&admin.state_dir, name).map_err(StartError::Identity)?;
            let saved = recall(&last_known_good::path(&admin.state_dir))?;
            Ok((identity, Origin::Admin { admin, saved }))
        }
        SourceConfig::File(path) => {
            let current = file::load(&path, &RawState::default()).map_err(StartError::File)?;
            Ok((Identity::passing(name), Origin::File { path, current }))
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Last known good, if there is any that can be trusted.
fn recall(path: &Path) -> Result<Option<Saved>, StartError> {
    let found = last_known_good::load(path)
        .map_err(|source| StartError::LastKnownGood { path: path.to_owned(), source })?;
    match found {
        Found::Nothing => Ok(None),
        Found::Saved(saved) => Ok(Some(saved)),
        Found::Corrupt { why, aside } => {
            let aside = aside.map(|p| format!("; it was put aside as {}", p.display()));
            let (path, aside) = (path.display(), aside.unwrap_or_default());
            tracing::error!("{path} cannot be trusted and is not used: {why}{aside}");
            Ok(None)
        }
    }
}

/// Serves what can be served before any source was asked.
fn begin(
    gateway: &Arc<Gateway>,
    listeners: Listeners,
    metrics: &ConfigMetrics,
    timings: Timings,
    origin: &Origin,
) -> Server {
    let keep = match origin {
        Origin::Admin { admin, .. } => Some(last_known_good::path(&admin.state_dir)),
        Origin::File { .. } => None,
    };
    let mut server = Server::new(Arc::clone(gateway), listeners, metrics.clone(), timings, keep);
    match origin {
        Origin::Admin { saved: None, .. } => server.stand_by(),
        Origin::Admin { saved: Some(saved), .. } => {
            server.remember(saved.stand_ins.clone(), saved.effective);
        }
        Origin::File { current, .. } => server.take(file::received(current.clone())),
    }
    server
}

impl Proxy {
    /// Where the status port really listens.
    pub fn status_addr(&self) -> SocketAddr {
        self.status_addr
    }

    /// The name of this proxy.
    pub fn name(&self) -> &str {
        self.identity.name.as_str()
    }

    /// What serves, where listeners listen, what is refused: now and whenever it changes.
    pub fn serving(&self) -> watch::Receiver<Serving> {
        self.serving.clone()
    }

    /// How the connection to the admin, or the file, does.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    /// Notify it to read the file again, or to try the admin at once.
    pub fn reload(&self) -> Arc<Notify> {
        Arc::clone(&self.reload)
    }
}
