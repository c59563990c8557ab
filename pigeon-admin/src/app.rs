//! Wiring: from a [`Config`] to a running admin. `bind` takes the ports, `run` serves until told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pigeon_proto::model::Kind;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::data_dir::{DataDir, DataDirError};
use crate::metrics::{Gauges, Metrics};
use crate::proxies::Proxies;
use crate::publisher::{self, Ring};
use crate::store::{Place, PostgresUrl, Store, StoreError};
use crate::stream::{self, Feed};
use crate::tls::{self, Tls};
use crate::{serve, token};

/// How long open requests and streams may take to end; then they are cut.
const GRACE: Duration = Duration::from_millis(1_200);

/// What an admin needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the store, the tokens and the lock are; made if missing.
    pub data_dir: PathBuf,
    /// Where the store is instead, if several admins share one.
    pub database_url: Option<PostgresUrl>,
    /// Where REST and the dashboard listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where the config stream listens; port 0 takes any free one.
    pub grpc_listen: SocketAddr,
    /// TLS of both ports; none = in the clear.
    pub tls: Option<tls::Files>,
    /// Allow addresses that other machines reach, although neither port speaks TLS.
    pub insecure_bind: bool,
}

/// What REST and the dashboard work with.
#[derive(Clone)]
pub struct AppState {
    /// The configuration.
    pub catalog: Catalog,
    /// Who is connected.
    pub proxies: Proxies,
    /// TLS of both ports; none = in the clear.
    pub tls: Option<Arc<Tls>>,
    /// Opens REST, with every right.
    pub admin_token: token::Secret,
    /// Where to count.
    pub metrics: Metrics,
    /// Cancelled when the admin stops; open streams (SSE, waits) must end then.
    pub shutdown: CancellationToken,
    /// Version of this program.
    pub version: &'static str,
}

/// Who made a request: an extension of every request that reaches [`crate::api::router`].
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl AppState {
    /// What a scrape of the metrics shows of the present.
    pub fn gauges(&self) -> Gauges {
        let view = self.catalog.view();
        let count = |kind: Kind| view.objects.keys().filter(|k| k.kind == kind).count();
        let proxies = self.proxies.list();
        let in_state = |s: &str| proxies.iter().filter(|p| p.state(view.revision) == s).count();
        let states = ["in_sync", "behind", "rejected", "disconnected"];
        Gauges {
            revision: view.revision,
            objects: Kind::ALL.map(|k| (k.as_str(), count(k))).to_vec(),
            proxies: states.map(|s| (s, in_state(s))).to_vec(),
            store_writable: self.catalog.health().is_ok(),
        }
    }
}

/// Why an admin cannot start; one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory or a token in it.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store.
    #[error("cannot open {place}: {why}")]
    Store {
        /// The database.
        place: Place,
        /// Why.
        why: StoreError,
    },
    /// An address that other machines reach.
    #[error(
        "{flag} {address}: other machines reach this address, and it speaks no TLS, so tokens would cross \
         the network in clear; give --tls-cert and --tls-key, or use 127.0.0.1, or add --insecure-bind if the \
         network is private"
    )]
    Exposed {
        /// Which flag.
        flag: &'static str,
        /// Its value.
        address: SocketAddr,
    },
    /// The files of TLS.
    #[error("TLS: {0}")]
    Tls(String),
    /// A port that another program has.
    #[error(
        "{flag} {address}: the port is in use; stop the program that has it, or use another {flag}"
    )]
    PortInUse {
        /// Which flag.
        flag: &'static str,
        /// Its value.
        address: SocketAddr,
    },
    /// An address that cannot be listened on.
    #[error("{flag} {address}: cannot listen: {why}; use another address")]
    Listen {
        /// Which flag.
        flag: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system said.
        why: std::io::Error,
    },
    /// A fault of the program.
    #[error("cannot make the metrics: {0}; please report this")]
    Metrics(String),
}

/// An admin that has its ports and its store, and does not serve yet.
pub struct Admin {
    rest: TcpListener,
    grpc: TcpListener,
    addresses: [SocketAddr; 2],
    token_files: [PathBuf; 2],
    proxy_token: token::Secret,
    state: AppState,
    /// Let go of last.
    _data_dir: DataDir,
}

/// Takes everything an admin needs: directory, ports, store.
///
/// # Errors
/// See [`StartError`]; nothing is held then.
pub async fn bind(config: Config) -> Result<Admin, StartError> {
    let ports = [("--listen", config.listen), ("--grpc-listen", config.grpc_listen)];
    let exposed = ports.iter().find(|(_, a)| !a.ip().to_canonical().is_loopback());
    if let Some(&(flag, address)) =
        exposed.filter(|_| !config.insecure_bind && config.tls.is_none())
    {
        return Err(StartError::Exposed { flag, address });
    }
    let tls = config.tls.map(Tls::open).transpose().map_err(StartError::Tls)?;
    let data_dir = DataDir::open(&config.data_dir)?;
    let (rest, rest_addr) = listen(ports[0]).await?;
    let (grpc, grpc_addr) = listen(ports[1]).await?;
    let admin_token = data_dir.token("admin")?;
    let proxy_token = data_dir.token("proxy")?;
    let metrics = Metrics::new().map_err(|e| StartError::Metrics(e.to_string()))?;
    let place = match config.database_url {
        Some(url) => Place::Postgres(url),
        None => Place::File(data_dir.database()),
    };
    let failed = |why| StartError::Store { place: place.clone(), why };
    let store = Store::open(place.clone()).await.map_err(failed)?;
    let catalog = Catalog::open(store, metrics.clone()).await.map_err(failed)?;
    let proxies = Proxies::default();
    let state = AppState {
        catalog,
        proxies,
        tls,
        admin_token,
        metrics,
        shutdown: CancellationToken::new(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let token_files = [data_dir.token_file("admin"), data_dir.token_file("proxy")];
    let addresses = [rest_addr, grpc_addr];
    Ok(Admin { rest, grpc, addresses, token_files, proxy_token, state, _data_dir: data_dir })
}

async fn listen(
    (flag, address): (&'static str, SocketAddr),
) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |why: std::io::Error| match why.kind() {
        std::io::ErrorKind::AddrInUse => StartError::PortInUse { flag, address },
        _ => StartError::Listen { flag, address, why },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

impl Admin {
    /// Where REST listens.
    pub fn rest_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where the config stream listens.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.addresses[1]
    }

    /// The file with the token that opens REST.
    pub fn admin_token_file(&self) -> PathBuf {
        self.token_files[0].clone()
    }

    /// The file with the token that opens the config stream.
    pub fn proxy_token_file(&self) -> PathBuf {
        self.token_files[1].clone()
    }

    /// What REST works with; for a process that holds the admin and wants to look inside.
    pub fn state(&self) -> AppState {
        self.state.clone()
    }

    /// Serves until `shutdown`, then stops: within two seconds, whatever is open.
    ///
    /// # Errors
    /// It cannot go on serving.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self { rest, grpc, proxy_token, state, .. } = self;
        let view = state.catalog.view();
        let ring = Arc::new(Ring::new(&view));
        let (stop, kill) = (state.shutdown.clone(), CancellationToken::new());
        // If this future is dropped, nothing it started goes on without it.
        let _guards = (stop.clone().drop_guard(), kill.clone().drop_guard());
        let feed = Feed {
            ring: ring.clone(),
            proxies: state.proxies.clone(),
            token: proxy_token,
            cluster_id: view.cluster_id.clone(),
            generation: view.generation,
            metrics: state.metrics.clone(),
            shutdown: stop.clone(),
            catch_up: if state.catalog.is_shared() { stream::CATCH_UP } else { Duration::ZERO },
            stall: stream::STALL,
        };
        let (catalog, metrics) = (state.catalog.clone(), state.metrics.clone());
        let publisher = tokio::spawn(publisher::run(ring, catalog.clone(), metrics, stop.clone()));
        let tls = state.tls.clone();
        if let Some(tls) = &tls {
            tokio::spawn(Arc::clone(tls).follow(stop.clone()));
        }
        let mut stream = tokio::spawn(stream::serve(grpc, feed, tls, kill.clone()));
        let mut rest = tokio::spawn(serve::rest(rest, state));
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            // Neither ends by itself.
            end = &mut stream => Err(anyhow::anyhow!("the config stream ended: {end:?}")),
            end = &mut rest => Err(anyhow::anyhow!("REST ended: {end:?}")),
        };
        stop.cancel();
        let graceful = async { (&mut stream).await.is_ok() && (&mut rest).await.is_ok() };
        if ended.is_ok() && tokio::time::timeout(GRACE, graceful).await.is_err() {
            tracing::warn!("some connections did not end in time and were cut");
        }
        kill.cancel();
        for task in [stream.abort_handle(), rest.abort_handle(), publisher.abort_handle()] {
            task.abort();
        }
        catalog.close().await;
        ended
    }
}
