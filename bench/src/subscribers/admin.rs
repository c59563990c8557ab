//! The admin that is measured, and its REST API.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::compare::child::{Children, Running};

/// How long it may take until it is ready.
const START: Duration = Duration::from_secs(20);
/// How long an answer may take: more than the admin allows itself for one that waits for proxies.
const ANSWER: Duration = Duration::from_secs(80);

/// A running pigeon-admin that ends when it is dropped.
pub(super) struct Admin {
    process: Running,
    /// Of its store, its tokens and its log.
    folder: PathBuf,
    rest: SocketAddr,
    stream: SocketAddr,
}

impl Admin {
    /// Starts one, with what is in `folder`.
    pub(super) fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let (rest, stream) = free_addresses()?;
        let log = fs::File::create(folder.join("log"))?;
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(folder.join("data"));
        command.args(["--listen", &rest.to_string(), "--grpc-listen", &stream.to_string()]);
        command.stdout(Stdio::null()).stderr(log);
        let process = Children::default().start(&mut command, None)?;
        Ok(Self { process, folder: folder.to_owned(), rest, stream })
    }

    /// Waits until it is.
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        loop {
            // Until it listens there is nobody to answer, which is no error yet.
            if let Ok(answer) = self.call("GET", "/readyz", "text/plain", "").await
                && answer.status == 200
            {
                return Ok(());
            }
            ensure!(self.process.is_running(), "pigeon-admin ended");
            ensure!(Instant::now() < deadline, "pigeon-admin is not ready after {START:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where the config stream listens.
    pub(super) fn stream_address(&self) -> SocketAddr {
        self.stream
    }

    /// What lets a proxy subscribe.
    pub(super) fn proxy_token(&self) -> anyhow::Result<String> {
        self.token("proxy.token")
    }

    /// The last that it logged.
    pub(super) fn complaint(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let last = log.lines().last().unwrap_or("nothing");
        format!("pigeon-admin logged at last: {last}")
    }

    /// Gives it its routes, all at once, with one engine and a listener.
    pub(super) async fn load(&self, routes: u32) -> anyhow::Result<()> {
        let mut objects = vec![
            json!({"kind": "listener", "name": "default", "spec": {"address": "127.0.0.1:8080"}}),
            json!({"kind": "engine", "name": "e", "spec": {"endpoints": [{"address": "10.0.0.1:1"}]}}),
        ];
        objects.extend((0..routes).map(|route| {
            let spec = json!({"match": {"grpc": format!("p{route}.v1.S")}, "engine": "e"});
            json!({"kind": "route", "name": format!("r{route}"), "spec": spec})
        }));
        let body = json!({"objects": objects}).to_string();
        let answer = self.call("POST", "/v1/apply", "application/json", &body).await?;
        answer.ok().map(drop)
    }

    /// Changes the timeout of a route; when the request was sent, and the revision that it made.
    pub(super) async fn set_timeout(
        &self,
        route: u32,
        timeout: Duration,
    ) -> anyhow::Result<(Instant, u64)> {
        let spec = json!({"timeout": format!("{}ms", timeout.as_millis())});
        let answer = self.patch(&format!("/v1/routes/r{route}"), &json!({"spec": spec})).await?;
        Ok((answer.sent, number(&answer.ok()?, "revision")?))
    }

    /// Waits until it has the acknowledgements of so many proxies; the revision that they have.
    pub(super) async fn all_applied(&self, proxies: u32) -> anyhow::Result<u64> {
        // A write that changes nothing, but waits like any other.
        let answer = self.patch("/v1/routes/r0?wait=applied&timeout=60s", &json!({})).await?;
        let body = answer.ok()?;
        let applied = &body["applied"];
        let of = number(applied, "proxies")?;
        ensure!(of == u64::from(proxies), "the admin knows {of} proxies instead of {proxies}");
        ensure!(applied["done"] == true, "the admin misses acknowledgements: {applied}");
        number(applied, "revision")
    }

    async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.call("PATCH", path, "application/merge-patch+json", &body.to_string()).await
    }

    /// One request on a connection of its own; the connection is there before the clock starts.
    async fn call(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &str,
    ) -> anyhow::Result<Answer> {
        let exchange = async {
            let mut socket = TcpStream::connect(self.rest).await?;
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
                 authorization: Bearer {}\r\ncontent-type: {content_type}\r\n\
                 content-length: {}\r\n\r\n{body}",
                self.rest,
                self.token("admin.token")?,
                body.len()
            );
            let sent = Instant::now();
            socket.write_all(request.as_bytes()).await?;
            let mut text = String::new();
            socket.read_to_string(&mut text).await?;
            Answer::parse(sent, &text)
        };
        let answer = tokio::time::timeout(ANSWER, exchange).await;
        let answer = answer.with_context(|| format!("no answer within {ANSWER:?}")).flatten();
        answer.with_context(|| format!("{method} {path}"))
    }

    fn token(&self, name: &str) -> anyhow::Result<String> {
        let file = self.folder.join("data").join(name);
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok(text.trim().to_owned())
    }
}

/// What came back.
struct Answer {
    sent: Instant,
    status: u16,
    body: String,
}

impl Answer {
    /// Reads an answer that ended with its connection; what is cut short is no JSON.
    fn parse(sent: Instant, text: &str) -> anyhow::Result<Self> {
        let (head, body) = text.split_once("\r\n\r\n").context("the answer has no end")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Self { sent, status: status.context("no status")?, body: body.to_owned() })
    }

    /// The body, if all went well.
    fn ok(&self) -> anyhow::Result<Value> {
        if self.status != 200 {
            bail!("the admin answered {}: {}", self.status, self.body);
        }
        serde_json::from_str(&self.body).context("the admin's answer")
    }
}

fn number(of: &Value, name: &str) -> anyhow::Result<u64> {
    of[name].as_u64().with_context(|| format!("no {name} in {of}"))
}

/// Two addresses where nobody listens now; taken at once, so that they differ.
fn free_addresses() -> std::io::Result<(SocketAddr, SocketAddr)> {
    let any = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (one, other) = (any()?, any()?);
    Ok((one.local_addr()?, other.local_addr()?))
}
