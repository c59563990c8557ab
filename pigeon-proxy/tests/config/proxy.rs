//! A proxy inside the test, with short waits, and what a test asks of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pigeon_proxy::app::{self, AdminConfig, Config, SourceConfig, StartError};
use pigeon_proxy::config::{Connection, Serving, Timings};
use pigeon_proxy::listen::Sockets;
use pigeon_proxy::record::AccessLog;
use pigeon_proxy::reload::Reload;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::fake_admin::LIMIT;

pub const TOKEN: &str = "pgp_secret";

/// The folder of one proxy with an admin: its token file and state directory.
pub struct Home(pub tempfile::TempDir);

impl Home {
    pub fn new() -> Self {
        let home = Self(tempfile::tempdir().expect("a folder"));
        std::fs::write(home.token(), format!("{TOKEN}\n")).expect("written");
        home
    }

    pub fn token(&self) -> PathBuf {
        self.0.path().join("proxy.token")
    }

    pub fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    pub fn last_known_good(&self) -> PathBuf {
        self.state().join("last-known-good")
    }

    pub fn config(&self, admin: SocketAddr) -> Config {
        with(SourceConfig::Admin(AdminConfig {
            addresses: vec![format!("http://{admin}").parse().expect("an address")],
            token_file: self.token(),
            state_dir: self.state(),
            tls: pigeon_proxy::config::stream::AdminTls::default(),
            insecure: false,
        }))
    }
}

/// Everything that needs a port takes a free one.
pub fn with(source: SourceConfig) -> Config {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let timings = Timings {
        // Long: nothing here may depend on it by accident.
        first_contact: Duration::from_secs(600),
        listen_retry: Duration::from_millis(50),
        save_every: Duration::from_millis(20),
        reconnect: (Duration::from_millis(5), Duration::from_millis(50)),
        refused: Duration::from_secs(600),
        connect: Duration::from_secs(5),
        file_settle: Duration::from_millis(20),
        file_poll: Duration::from_millis(300),
    };
    Config {
        source,
        name: None,
        binds: BTreeMap::from([("default".parse().expect("a name"), any)]),
        status_listen: any,
        workers: Some(1),
        drain_timeout: Duration::from_secs(5),
        access_log: AccessLog::off(),
        levels: None,
        traces: None,
        relay: true,
        insecure_bind: false,
        takeover: app::TakeoverConfig::default(),
        sockets: Sockets::default(),
        memory_limit: None,
        timings,
    }
}

pub fn file(path: &Path) -> Config {
    with(SourceConfig::File(path.to_owned()))
}

/// A running proxy.
pub struct Running {
    pub status: SocketAddr,
    pub name: String,
    pub reload: Arc<Reload>,
    serving: watch::Receiver<Serving>,
    connection: watch::Receiver<Connection>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Running {
    pub async fn start(config: Config) -> Self {
        Self::try_start(config).await.unwrap_or_else(|e| panic!("{e}"))
    }

    pub async fn try_start(config: Config) -> Result<Self, StartError> {
        let proxy = app::bind(config).await?;
        let (stop, stopped) = oneshot::channel();
        Ok(Self {
            status: proxy.status_addr(),
            name: proxy.name().to_owned(),
            reload: proxy.reload(),
            serving: proxy.serving(),
            connection: proxy.connection(),
            stop: Some(stop),
            task: tokio::spawn(proxy.run(async { stopped.await.unwrap_or_default() })),
        })
    }

    /// What serves, once `is` holds.
    pub async fn serving(&self, is: impl Fn(&Serving) -> bool) -> Serving {
        let mut serving = self.serving.clone();
        let found = tokio::time::timeout(LIMIT, serving.wait_for(is)).await;
        let found = found.map(|r| r.expect("the proxy runs").clone());
        found.unwrap_or_else(|_| panic!("it serves {:?}", self.serving.borrow()))
    }

    /// How the source does, once `is` holds.
    pub async fn connection(&self, is: impl Fn(&Connection) -> bool) -> Connection {
        let mut connection = self.connection.clone();
        let found = tokio::time::timeout(LIMIT, connection.wait_for(is)).await;
        let found = found.map(|r| r.expect("the proxy runs").clone());
        found.unwrap_or_else(|_| panic!("it is {:?}", self.connection.borrow()))
    }

    /// Status code and body of a GET on the status port.
    pub async fn get(&self, path: &str) -> (u16, String) {
        get(self.status, path).await
    }

    pub async fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.get(path).await.1).expect("JSON")
    }

    /// Where a listener is open.
    pub async fn listener(&self, name: &str) -> SocketAddr {
        let name = name.parse().expect("a name");
        self.serving(|s| s.listen.contains_key(&name)).await.listen[&name]
    }

    pub fn tell_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that it has ended already, which the task tells better.
            let _ = stop.send(());
        }
    }

    pub async fn stop(mut self) {
        self.tell_to_stop();
        let ended = tokio::time::timeout(LIMIT, self.task).await.expect("it ends in time");
        ended.expect("no panic").expect("no error");
    }
}

/// Status code and body of a GET.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = exchange(address, path).await;
    let code = answer.split(' ').nth(1).and_then(|c| c.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").expect("a head").1;
    (code, body.to_owned())
}

/// All that comes back on a GET; empty if the connection was cut.
pub async fn exchange(address: SocketAddr, path: &str) -> String {
    let exchange = async {
        let mut socket = TcpStream::connect(address).await.expect("the port is open");
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        // An error is a connection that was cut, and shows as an answer that is not whole.
        let _ = socket.read_to_string(&mut answer).await;
        answer
    };
    tokio::time::timeout(LIMIT, exchange).await.expect("an answer in time")
}

/// An address where nobody listens.
pub fn nowhere() -> SocketAddr {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    socket.local_addr().expect("address")
}
