//! A running demo engine.

use std::net::SocketAddr;
use std::process::Command;

use pigeon_proto::demo::v1::{StatsReply, StatsRequest};

use crate::{Process, grpc, programs, until};

/// A demo engine; it keeps its address when it is started again.
#[derive(Debug)]
pub struct Engine {
    name: String,
    more: Vec<String>,
    address: SocketAddr,
    /// The process that runs now, or ran last.
    pub process: Process,
}

impl Engine {
    /// Starts one on a free port, with more arguments such as `--slots 4`.
    pub fn start(name: &str, more: &[&str]) -> Self {
        let more: Vec<String> = more.iter().map(|&text| text.to_owned()).collect();
        let (address, process) = spawn(name, "127.0.0.1:0", &more);
        Self { name: name.to_owned(), more, address, process }
    }

    /// Starts it again after it was killed.
    pub fn start_again(&mut self) {
        assert!(self.process.exited().is_some(), "{} still runs", self.name);
        self.process = spawn(&self.name, &self.address.to_string(), &self.more).1;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen, asked of it directly.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn stats(&self) -> StatsReply {
        self.ask(StatsRequest { reset: false })
    }

    /// Forgets the highest number of concurrent calls.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn reset(&self) {
        self.ask(StatsRequest { reset: true });
    }

    fn ask(&self, request: StatsRequest) -> StatsReply {
        let address = self.address;
        let asked = grpc::block_on(async move {
            let mut echo = grpc::echo(grpc::channel(address));
            echo.stats(request).await
        });
        asked.unwrap_or_else(|status| panic!("{}: {status}", self.name)).into_inner()
    }

    /// Waits for the counts to be as wanted.
    pub fn until_stats(&self, what: &str, wanted: impl Fn(&StatsReply) -> bool) -> StatsReply {
        until(what, || {
            let stats = self.stats();
            if wanted(&stats) { Ok(stats) } else { Err(format!("{stats:?}")) }
        })
    }
}

fn spawn(name: &str, listen: &str, more: &[String]) -> (SocketAddr, Process) {
    let mut command = Command::new(programs::path("pigeon-demo-engine"));
    command.args(["--listen", listen, "--name", name]).args(more);
    let mut process = Process::start(name, command);
    let line = process.line("listening on ");
    let address = line.rsplit(' ').next().and_then(|text| text.trim().parse().ok());
    (address.unwrap_or_else(|| panic!("no address in {line:?}")), process)
}
