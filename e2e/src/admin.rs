//! A running `pigeon-admin` and its REST API.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::http::{self, Reply};
use crate::{Process, ports, programs, until};

/// An admin on its own data directory and ports, which stay the same when it is started again.
#[derive(Debug)]
pub struct Admin {
    data_dir: PathBuf,
    /// Where its store is, if not in the directory.
    database_url: Option<String>,
    rest: SocketAddr,
    grpc: SocketAddr,
    /// The process that runs now, or ran last.
    pub process: Process,
}

impl Admin {
    /// Starts one and waits until it is ready.
    pub fn start(data_dir: &Path) -> Self {
        Self::start_on(data_dir, None)
    }

    /// The same, with its store in a Postgres database.
    pub fn start_on(data_dir: &Path, database_url: Option<&str>) -> Self {
        let [rest, grpc] = [ports::free(), ports::free()]
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let process = spawn(data_dir, database_url, rest, grpc);
        let (data_dir, database_url) = (data_dir.to_owned(), database_url.map(str::to_owned));
        let mut admin = Self { data_dir, database_url, rest, grpc, process };
        admin.ready();
        admin
    }

    /// Starts it again after it was killed or ended, and waits until it is ready.
    pub fn start_again(&mut self) {
        assert!(self.process.exited().is_some(), "the admin still runs");
        let database_url = self.database_url.as_deref();
        self.process = spawn(&self.data_dir, database_url, self.rest, self.grpc);
        self.ready();
    }

    fn ready(&mut self) {
        until("the admin is ready", || {
            if let Some(status) = self.process.exited() {
                panic!("pigeon-admin ended: {status}\n{}", self.process.stderr());
            }
            match http::get(self.rest, "/readyz") {
                Ok(reply) if reply.status == 200 => Ok(()),
                Ok(reply) => Err(format!("{} {}", reply.status, reply.text())),
                Err(error) => Err(error.to_string()),
            }
        });
    }

    /// Where REST listens.
    pub fn address(&self) -> SocketAddr {
        self.rest
    }

    /// Where the config stream listens.
    pub fn stream_address(&self) -> SocketAddr {
        self.grpc
    }

    /// The base of REST's URLs.
    pub fn url(&self) -> String {
        format!("http://{}", self.rest)
    }

    /// Where it keeps its store and tokens.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The file with the token of an administrator.
    pub fn token_file(&self) -> PathBuf {
        self.data_dir.join("admin.token")
    }

    /// The file with the token of the proxies.
    pub fn proxy_token_file(&self) -> PathBuf {
        self.data_dir.join("proxy.token")
    }

    /// The token of an administrator.
    ///
    /// # Panics
    /// If there is no token file.
    pub fn token(&self) -> String {
        let file = self.token_file();
        let text = std::fs::read_to_string(&file);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        text.trim().to_owned()
    }

    /// A call with the token and more header fields.
    ///
    /// # Errors
    /// The admin cannot be reached, or went away.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Reply> {
        let bearer = format!("Bearer {}", self.token());
        let mut all = vec![("authorization", bearer.as_str())];
        if !headers.iter().any(|(key, _)| *key == "content-type") {
            all.push(("content-type", "application/json"));
        }
        all.extend(headers);
        http::send(self.rest, method, path, &all, body)
    }

    /// Reads a resource.
    ///
    /// # Panics
    /// If the answer is not 200 with JSON.
    pub fn get(&self, path: &str) -> Value {
        let reply = self.send("GET", path, &[], b"");
        let reply = reply.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        assert_eq!(reply.status, 200, "GET {path}: {}", reply.text());
        reply.json()
    }

    /// All items of a list, over all its pages.
    pub fn list(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut token = String::new();
        loop {
            let page = self.get(&format!("{path}?page_size=500{token}"));
            items.extend(page["items"].as_array().expect("items is a list").iter().cloned());
            match page["next_page_token"].as_str() {
                Some(next) => token = format!("&page_token={next}"),
                None => return items,
            }
        }
    }

    /// The newest revision.
    ///
    /// # Panics
    /// If the answer has none.
    pub fn revision(&self) -> u64 {
        self.get("/v1/engines")["revision"].as_u64().expect("revision is a number")
    }

    /// All proxies it knows.
    ///
    /// # Panics
    /// If the answer is no list.
    pub fn proxies(&self) -> Vec<Value> {
        self.get("/v1/proxies")["items"].as_array().expect("items is a list").clone()
    }

    /// What it knows of one proxy.
    pub fn proxy(&self, name: &str) -> Value {
        self.get(&format!("/v1/proxies/{name}"))
    }
}

fn spawn(
    data_dir: &Path,
    database_url: Option<&str>,
    rest: SocketAddr,
    grpc: SocketAddr,
) -> Process {
    let mut command = Command::new(programs::path("pigeon-admin"));
    command.arg("--data-dir").arg(data_dir);
    command.args(database_url.map(|url| format!("--database-url={url}")));
    command.args(["--listen", &rest.to_string(), "--grpc-listen", &grpc.to_string()]);
    Process::start("pigeon-admin", command)
}
