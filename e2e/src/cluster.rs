//! One admin, some proxies, some demo engines.

use std::net::SocketAddr;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Admin, Ctl, Engine, Proxy, Transport, until};

/// The routes to the demo engines: name, flag and value of the match.
const DEMO_ROUTES: [(&str, &str, &str); 5] = [
    ("speech", "--grpc", "pigeon.demo.v1.Speech"),
    ("chat", "--grpc", "pigeon.demo.v1.Chat"),
    ("echo", "--grpc", "pigeon.demo.v1.Echo"),
    ("hello", "--path", "/hello"),
    ("http-echo", "--path", "/echo"),
];

/// A whole system. Its fields are dropped in order: the proxies end before what they need.
#[derive(Debug)]
pub struct Cluster {
    /// `edge-1`, `edge-2`, …
    pub proxies: Vec<Proxy>,
    /// `demo-1`, `demo-2`, …
    pub engines: Vec<Engine>,
    /// The control plane.
    pub admin: Admin,
    /// The CLI, pointed at the admin.
    pub ctl: Ctl,
    /// For whatever a scenario writes.
    pub dir: TempDir,
}

impl Cluster {
    /// Starts everything, configures nothing.
    ///
    /// # Panics
    /// If a program does not start.
    pub fn start(proxies: usize, engines: usize) -> Self {
        Self::begin(None, proxies, engines)
    }

    /// As [`Cluster::start`], with proxies that carry HTTP/2 calls by `transport`.
    pub fn over(transport: Transport, proxies: usize, engines: usize) -> Self {
        Self::begin(Some(transport), proxies, engines)
    }

    fn begin(transport: Option<Transport>, proxies: usize, engines: usize) -> Self {
        let dir = TempDir::with_prefix("pigeon-e2e-").expect("a temporary directory");
        let admin = Admin::start(&dir.path().join("admin"));
        let ctl = Ctl::new(&admin, dir.path());
        let engines = (1..=engines).map(|n| Engine::start(&format!("demo-{n}"), &[])).collect();
        let proxies = (1..=proxies)
            .map(|n| Proxy::start(&format!("edge-{n}"), &admin, dir.path(), transport))
            .collect();
        let cluster = Self { proxies, engines, admin, ctl, dir };
        cluster.in_sync();
        cluster
    }

    /// As [`Cluster::start`], with an engine `demo` of all engines and the routes to it.
    pub fn with_demo_routes(proxies: usize, engines: usize) -> Self {
        Self::start(proxies, engines).and_demo_routes()
    }

    /// As [`Cluster::with_demo_routes`], with proxies that carry HTTP/2 calls by `transport`.
    pub fn with_demo_routes_over(transport: Transport, proxies: usize, engines: usize) -> Self {
        Self::over(transport, proxies, engines).and_demo_routes()
    }

    fn and_demo_routes(self) -> Self {
        self.add_engine("demo", &[]);
        self.add_demo_routes("demo");
        self.in_sync();
        self
    }

    /// `engine add NAME --static …` with the addresses of all engines.
    pub fn add_engine(&self, name: &str, more: &[&str]) {
        let addresses: Vec<String> =
            self.engines.iter().map(|engine| engine.address().to_string()).collect();
        let addresses = addresses.join(",");
        let mut add = vec!["engine", "add", name];
        if !addresses.is_empty() {
            add.extend(["--static", &addresses]);
        }
        add.extend(more);
        self.ctl.ok(&add);
    }

    /// An engine `demo` with these endpoints, and the routes to it. No health checks: what arrives at a
    /// scripted engine is a call of the scenario.
    pub fn add_demo_at(&self, endpoints: &[SocketAddr], more: &[&str]) {
        let endpoints: Vec<String> = endpoints.iter().map(SocketAddr::to_string).collect();
        let add = ["engine", "add", "demo", "--health", "none", "--static", &endpoints.join(",")];
        self.ctl.ok(&[&add[..], more].concat());
        self.add_demo_routes("demo");
        self.in_sync();
    }

    /// Waits until no call holds or waits for a slot of the engine `demo`.
    pub fn until_idle(&self) {
        self.until_idle_at("demo");
    }

    /// The same for another engine.
    pub fn until_idle_at(&self, engine: &str) {
        self.until_engine(engine, "nobody holds or waits for a slot", |status| {
            status["in_use"] == 0 && status["waiting"] == 0
        });
    }

    /// Routes every demo service and the two plain HTTP paths to `engine`.
    pub fn add_demo_routes(&self, engine: &str) {
        for (name, flag, value) in DEMO_ROUTES {
            self.ctl.ok(&["route", "add", name, flag, value, "--engine", engine]);
        }
    }

    /// Waits until every proxy serves the newest revision with nothing refused.
    pub fn in_sync(&self) {
        let revision = self.admin.revision();
        for proxy in &self.proxies {
            let what = format!("{} serves revision {revision}", proxy.name());
            until(&what, || {
                let listed = self.admin.proxies();
                let seen = listed.iter().find(|seen| seen["name"] == proxy.name());
                let Some(seen) = seen else { return Err("the admin does not know it".to_owned()) };
                let done = seen["effective_revision"].as_u64() >= Some(revision)
                    && seen["state"] == "in_sync";
                if done { Ok(()) } else { Err(seen.to_string()) }
            });
        }
    }

    /// Waits for the usage the admin shows of an engine to be as wanted.
    pub fn until_engine(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, || {
            let status = self.admin.get(&format!("/v1/engines/{name}"))["status"].clone();
            if wanted(&status) { Ok(status) } else { Err(status.to_string()) }
        })
    }
}
