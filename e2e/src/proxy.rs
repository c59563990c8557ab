//! A running `pigeon-proxy`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use crate::http;
use crate::{Admin, Process, Transport, ports, programs, until};

/// A proxy with its own state directory and ports, which stay the same when it is started again.
#[derive(Debug)]
pub struct Proxy {
    name: String,
    arguments: Vec<String>,
    transport: Option<Transport>,
    address: SocketAddr,
    status: SocketAddr,
    /// The process that runs now, or ran last.
    pub process: Process,
}

impl Proxy {
    /// Starts one that takes its configuration from `admin`, and waits until it is ready. Without a
    /// transport it uses the one that is its default.
    pub fn start(name: &str, admin: &Admin, dir: &Path, transport: Option<Transport>) -> Self {
        Self::start_with(name, &[admin], dir, transport)
    }

    /// Starts one that takes its configuration from any of `admins`, which have the same token.
    pub fn start_with(
        name: &str,
        admins: &[&Admin],
        dir: &Path,
        transport: Option<Transport>,
    ) -> Self {
        let urls = admins.iter().map(|admin| format!("http://{}", admin.stream_address()));
        let admin_url = urls.collect::<Vec<_>>().join(",");
        let token = admins[0].proxy_token_file();
        let arguments = [
            ("--admin", admin_url),
            ("--token-file", shown(&token)),
            ("--state-dir", shown(&dir.join(name))),
        ];
        Self::spawn(name, &arguments, transport)
    }

    /// Starts one that takes its configuration from a file.
    pub fn from_file(name: &str, config: &Path) -> Self {
        Self::spawn(name, &[("--config", shown(config))], None)
    }

    /// The same, with further arguments.
    pub fn from_file_with(name: &str, config: &Path, more: &[(&str, String)]) -> Self {
        let source = [("--config", shown(config))];
        Self::spawn(name, &[&source[..], more].concat(), None)
    }

    fn spawn(name: &str, source: &[(&str, String)], transport: Option<Transport>) -> Self {
        let [address, status] = [ports::free(), ports::free()]
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let own = [
            ("--name", name.to_owned()),
            ("--bind", format!("default={address}")),
            ("--status-listen", status.to_string()),
            // Two workers: enough to find what goes wrong between them.
            ("--workers", "2".to_owned()),
        ];
        let pairs = source.iter().chain(&own);
        let arguments: Vec<String> =
            pairs.flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]).collect();
        let process = run(name, &arguments, transport);
        let name = name.to_owned();
        let mut proxy = Self { name, arguments, transport, address, status, process };
        proxy.ready();
        proxy
    }

    /// Starts it again after it was killed or ended, and waits until it is ready.
    pub fn start_again(&mut self) {
        assert!(self.process.exited().is_some(), "{} still runs", self.name);
        self.process = run(&self.name, &self.arguments, self.transport);
        self.ready();
    }

    /// A new process that is to take over from the running one, with the same arguments and `more` (which
    /// take the place of those they repeat).
    pub fn successor(&self, more: &[&str]) -> Process {
        let mut arguments = vec!["--takeover".to_owned()];
        for pair in self.arguments.chunks(2) {
            let replaced = pair[0] != "--bind" && more.contains(&pair[0].as_str());
            arguments.extend_from_slice(if replaced { &[] } else { pair });
        }
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        run(&format!("{} (successor)", self.name), &arguments, self.transport)
    }

    /// Replaces the running process by a new one; returns the old one, which ends when its calls have.
    pub fn take_over(&mut self) -> Process {
        let mut new = self.successor(&[]);
        new.line("took over from a running process");
        let old = std::mem::replace(&mut self.process, new);
        self.ready();
        old
    }

    fn ready(&mut self) {
        let what = format!("{} is ready", self.name);
        until(&what, || {
            if let Some(status) = self.process.exited() {
                panic!("{} ended: {status}\n{}", self.name, self.process.stderr());
            }
            match http::get(self.status, "/readyz") {
                Ok(reply) if reply.status == 200 => Ok(()),
                Ok(reply) => Err(format!("{} {}", reply.status, reply.text())),
                Err(error) => Err(error.to_string()),
            }
        });
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its listener `default` takes calls.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its status port listens.
    pub fn status_address(&self) -> SocketAddr {
        self.status
    }

    /// The text of `/metrics`.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn metrics(&self) -> String {
        http::get(self.status, "/metrics").expect("the status port answers").text()
    }
}

fn run(name: &str, arguments: &[String], transport: Option<Transport>) -> Process {
    let mut command = Command::new(programs::path("pigeon-proxy"));
    command.args(arguments);
    if let Some(transport) = transport {
        command.env("PIGEON_RELAY", transport.relay_flag());
    }
    Process::start(name, command)
}

fn shown(path: &Path) -> String {
    path.to_str().expect("temporary paths are text").to_owned()
}
