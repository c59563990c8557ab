//! The whole proxy: [`bind`] checks, takes what it needs and opens sockets; [`Proxy::run`] runs until told to
//! stop, then drains.
//!
//! Nothing here is global: a process may hold several, and whoever starts one sets up logging and signals.

mod run;
mod takeover;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pigeon_proto::model::{Name, RawState};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{oneshot, watch};

use crate::config::address::AdminAddress;
use crate::config::file::{self, FileError};
use crate::config::identity::{Identity, IdentityError};
use crate::config::last_known_good::{self, Found, Saved};
use crate::config::serve::Server;
use crate::config::stream::AdminTls;
use crate::config::token::{self, TokenError};
use crate::config::{Connection, Received, Serving, Source, Timings};
use crate::gateway::Gateway;
use crate::guard;
use crate::listen::{Gate, Listeners, Sockets};
use crate::logs::Levels;
use crate::metrics::Metrics;
use crate::metrics::config::ConfigMetrics;
use crate::record::AccessLog;
use crate::reload::Reload;
use crate::traces::{Spans, Tracer};
use crate::worker::{Pulse, Workers};

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
    /// The level of the process's own log, for changing it; none if the status port does not.
    pub levels: Option<Levels>,
    /// Where traces go; none = calls are not traced.
    pub traces: Option<TraceConfig>,
    /// Calls with HTTP/2 on both sides are relayed frame by frame; otherwise they take the general path.
    pub relay: bool,
    /// `status_listen` may be beyond loopback.
    pub insecure_bind: bool,
    /// Replacing a running proxy, and being replaced.
    pub takeover: TakeoverConfig,
    /// Sockets that are open already, from a service manager.
    pub sockets: Sockets,
    /// Bytes of memory the process may use; none = what its control group allows.
    pub memory_limit: Option<u64>,
    /// How long things wait.
    pub timings: Timings,
}

/// Where a proxy is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It has not said yet that it serves.
    #[default]
    Starting,
    /// It serves; also if the first listener takes long to come.
    Serving,
    /// It lets its calls end.
    Stopping,
    /// The same, while the process of this number serves in its stead.
    TakenOver(u32),
}

/// How a proxy takes over from a running one, and is taken over.
#[derive(Clone, Debug, Default)]
pub struct TakeoverConfig {
    /// Take over from the proxy that waits at the socket, if one does.
    pub now: bool,
    /// The socket; none = in the state directory, if there is one.
    pub socket: Option<PathBuf>,
}

/// Traces of calls.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    /// A collector that takes OTLP over gRPC.
    pub to: http::Uri,
    /// The part of the traces that begin here which is kept.
    pub sample: f64,
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
    /// The stream ports of admins that share a store; of one of them at a time, whichever answers.
    pub addresses: Vec<AdminAddress>,
    /// Holds the proxy token.
    pub token_file: PathBuf,
    /// For identity and last known good; of this proxy alone.
    pub state_dir: PathBuf,
    /// Whom admins with `https` have to be, and who this is to them.
    pub tls: AdminTls,
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
         use https (pigeon-admin --tls-cert …), or, on a network you trust, --insecure-admin"
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
    /// There is nowhere to ask for a take-over.
    #[error("--takeover with --config needs --takeover-socket, the one of the running proxy")]
    NoTakeoverSocket,
    /// The running process is not taken over, and goes on.
    #[error("cannot take over from the proxy at {}: {source}; it goes on as before", .path.display())]
    Takeover {
        /// The socket.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The socket for a take-over cannot be opened.
    #[error("cannot wait for a take-over at {}: {source}; give another with --takeover-socket", .path.display())]
    TakeoverSocket {
        /// The socket.
        path: PathBuf,
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
            levels: None,
            traces: None,
            relay: true,
            insecure_bind: false,
            takeover: TakeoverConfig::default(),
            sockets: Sockets::default(),
            memory_limit: None,
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
            SourceConfig::File(_) if self.takeover.now && self.takeover.socket.is_none() => {
                Err(StartError::NoTakeoverSocket)
            }
            SourceConfig::Admin(a) if !a.insecure => {
                let open = |address: &&AdminAddress| !address.is_tls() && !address.is_loopback();
                let open = a.addresses.iter().find(open);
                open.map_or(Ok(()), |address| Err(StartError::OpenToken(address.clone())))
            }
            _ => Ok(()),
        }
    }
}

/// A proxy with its sockets open; [`Proxy::run`] makes it live.
pub struct Proxy {
    identity: Arc<Identity>,
    gateway: Arc<Gateway>,
    levels: Option<Levels>,
    traces: Option<(http::Uri, Spans)>,
    server: Server,
    origin: Origin,
    status: TcpListener,
    status_addr: SocketAddr,
    metrics: Metrics,
    config_metrics: ConfigMetrics,
    serving: watch::Receiver<Serving>,
    connection: watch::Sender<Connection>,
    stage: watch::Sender<Stage>,
    sockets: Sockets,
    timings: Timings,
    drain_timeout: Duration,
    memory_limit: Option<u64>,
    pulse: Pulse,
    gate: watch::Sender<Gate>,
    /// Where a successor asks.
    takeover: Option<UnixListener>,
    /// Tells when the process before has let go of what only one can have.
    released: Option<oneshot::Receiver<()>>,
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
    let (path, mut inherited) =
        (config.takeover.path(&config.source), takeover::ask(&config).await?);
    let lock = inherited.as_mut().and_then(|i| i.lock.take());
    let (identity, origin) = identify(config.source, config.name, lock)?;
    let address = config.status_listen;
    let failed = |source| StartError::Status { address, source };
    let status = takeover::status(address, inherited.as_mut(), &config.sockets).await;
    let status = status.map_err(failed)?;
    let status_addr = status.local_addr().map_err(failed)?;
    let count = config.workers.unwrap_or_else(cores);
    let metrics = Metrics::new();
    let config_metrics = ConfigMetrics::new(metrics.registry());
    let gateway = Gateway::new(metrics.clone(), config.access_log);
    gateway.set_relay(config.relay);
    gateway.guard().set_descriptors(guard::watch::descriptor_limit().unwrap_or(0));
    let traces = config.traces.map(|traces| {
        let (tracer, spans) = Tracer::new(traces.sample);
        gateway.set_tracer(tracer);
        (traces.to, spans)
    });
    let workers =
        Workers::start(count, &gateway).map_err(|source| StartError::Workers { count, source })?;
    let pulse = workers.pulse();
    let sockets = config.sockets.clone();
    let mut listeners = Listeners::new(Arc::clone(&gateway), workers, config.binds, sockets);
    let gate = listeners.gate();
    takeover::prepare(&mut listeners, inherited.as_mut());
    let takes_over = inherited.is_some();
    let mut server =
        begin(&gateway, listeners, &config_metrics, config.timings, &origin, takes_over);
    let listens = !server.serving().borrow().listen.is_empty();
    let released = takeover::begin(path.as_deref(), inherited, listens, &gateway, &gate).await?;
    server.forget_inherited();
    Ok(Proxy {
        identity: Arc::new(identity),
        gateway,
        levels: config.levels,
        traces,
        serving: server.serving(),
        server,
        origin,
        status,
        status_addr,
        metrics,
        config_metrics,
        connection: watch::Sender::default(),
        stage: watch::Sender::default(),
        sockets: config.sockets,
        memory_limit: config.memory_limit,
        pulse,
        gate,
        takeover: takeover::listen(&config.takeover, path, takes_over).await?,
        released,
        timings: config.timings,
        drain_timeout: config.drain_timeout,
    })
}

/// Who this is, and where its configurations come from.
fn identify(
    source: SourceConfig,
    name: Option<Name>,
    lock: Option<OwnedFd>,
) -> Result<(Identity, Origin), StartError> {
    match source {
        SourceConfig::Admin(admin) => {
            // Read only to fail early; the stream reads it again at each attempt.
            token::read(&admin.token_file).map_err(StartError::Token)?;
            let identity = match lock {
                Some(lock) => Identity::succeed(&admin.state_dir, name, lock),
                None => Identity::open(&admin.state_dir, name),
            };
            let identity = identity.map_err(StartError::Identity)?;
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

/// Serves what can be served before any source was asked; `at_once` = last known good is what a process that
/// is taken over serves now.
fn begin(
    gateway: &Arc<Gateway>,
    listeners: Listeners,
    metrics: &ConfigMetrics,
    timings: Timings,
    origin: &Origin,
    at_once: bool,
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
            if at_once {
                let held = saved.held.clone();
                server.take(Received { held, source: Source::Lkg, at: saved.at });
            }
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

    /// Where it is in its life: now and whenever it goes on.
    pub fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Tells whether the threads that carry calls do.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Ask it to have every file read again, and an admin that is away tried at once.
    pub fn reload(&self) -> Arc<Reload> {
        Arc::clone(self.gateway.reload())
    }
}
