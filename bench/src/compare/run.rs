//! Scenarios that are compared: rounds, in each of which every peer has its turn at each of them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::Settings;
use super::certificates::Certificates;
use super::child::{Children, Running};
use super::peer::{Peer, Place, Shape};
use super::results::{Results, Run};
use super::scenario::{Measure, Scenario, Tls};
use crate::load::{self, Extent, Kind, Plan, Report};
use crate::process;

/// How long a peer may take until it answers its first call.
const START: Duration = Duration::from_secs(20);
/// At rest is who uses less than a tenth of this.
const REST: Duration = Duration::from_millis(200);
/// How long each measurement of the rate takes, seconds.
const RATE_SECONDS: f64 = 2.0;

/// Measures every peer in every round; what fails is noted and the rest goes on.
///
/// # Errors
/// When there is no engine to be had.
pub fn group(
    scenarios: &[&Scenario],
    peers: &[Peer],
    settings: &Settings,
    children: &Children,
    results: &mut Results,
) -> anyhow::Result<()> {
    let mut benches = Vec::new();
    for scenario in scenarios {
        eprintln!("{}: {}", scenario.name, scenario.about);
        let bench = Bench {
            scenario,
            pigeon: &settings.pigeon,
            cores: settings.cores,
            logs: settings.logs,
            shape: Shape::default(),
            children,
        };
        let rate = match scenario.measure {
            Measure::Latency => Some(settings.rate.map_or_else(|| bench.rate(peers), Ok)?),
            _ => None,
        };
        benches.push((bench, rate));
    }
    for round in 1..=settings.rounds {
        for peer in peers {
            for (bench, rate) in &benches {
                // Without a proxy there is no memory of one.
                if bench.scenario.measure != Measure::Memory || *peer != Peer::Direct {
                    results.runs.push(bench.run(round, *peer, *rate, settings.seconds));
                }
            }
        }
    }
    Ok(())
}

/// What is measured, and with what.
pub(super) struct Bench<'b> {
    pub(super) scenario: &'b Scenario,
    pub(super) pigeon: &'b Path,
    pub(super) cores: Option<(usize, usize)>,
    pub(super) logs: bool,
    pub(super) shape: Shape,
    pub(super) children: &'b Children,
}

impl Bench<'_> {
    /// One measurement; what fails is said and noted.
    fn run(&self, round: u32, peer: Peer, rate: Option<f64>, seconds: f64) -> Run {
        let (report, error) = match self.one(peer, rate, seconds) {
            Ok(report) => (Some(report), None),
            Err(e) => (None, Some(format!("{e:#}"))),
        };
        let scenario = self.scenario.name.to_owned();
        if let Some(why) = &error {
            eprintln!("  {scenario}, round {round}, {peer}: {why}");
        }
        let value = report.as_ref().and_then(|report| self.value(peer, report));
        Run { scenario, peer: peer.to_string(), at: None, round, value, report, error }
    }

    /// What counts.
    pub(super) fn value(&self, peer: Peer, report: &Report) -> Option<f64> {
        let watched = report.watched.filter(|_| peer != Peer::Direct);
        let things = self.scenario.things() as f64;
        match self.scenario.measure {
            Measure::Cpu => watched.map(|w| w.cpu_us),
            Measure::Memory => watched
                .map(|w| (w.resident_after as f64 - w.resident_before as f64) / 1024.0 / things),
            Measure::Latency => Some(report.latency.p99),
        }
    }

    /// Half of what HAProxy manages; of whoever is there if it is not.
    fn rate(&self, peers: &[Peer]) -> anyhow::Result<f64> {
        let one = peers.iter().find(|peer| **peer == Peer::Haproxy).or(peers.last());
        let most = self.one(*one.context("nobody to compare")?, None, RATE_SECONDS)?;
        let rate = (most.per_second / 2.0).round();
        eprintln!("  {rate} calls per second");
        Ok(rate)
    }

    /// Engine, peer and load, for one measurement.
    pub(super) fn one(
        &self,
        peer: Peer,
        rate: Option<f64>,
        seconds: f64,
    ) -> anyhow::Result<Report> {
        let folder = tempfile::tempdir()?;
        let files = Certificates::make(folder.path())?;
        // Where nothing in between speaks TLS, callers speak it with the engine.
        let engine_tls = match self.scenario.tls {
            Tls::None => false,
            Tls::Callers => matches!(peer, Peer::Direct | Peer::Splice),
            Tls::Both => true,
        };
        let (engine, address) = self.engine(engine_tls.then_some(&files))?;
        let place = Place {
            pigeon: self.pigeon,
            port: free_port()?,
            engine: address,
            folder: folder.path(),
            http1: self.scenario.is_http1(),
            grpc: self.scenario.is_grpc(),
            logs: self.logs,
            files: &files,
            tls: self.scenario.tls,
            shape: self.shape,
        };
        let mut proxy = match peer.command(&place)? {
            Some(mut command) => {
                Some(self.children.start(&mut command, self.cores.map(|(proxy, _)| proxy))?)
            }
            None => None,
        };
        let target = if proxy.is_some() { place.listen() } else { address };
        self.until_it_answers(target, &files, proxy.as_mut())?;
        if let Some(proxy) = &proxy {
            until_at_rest(proxy.pid());
        }
        let mut plan = self.scenario.plan(target, &files, seconds);
        plan.rate = rate;
        plan.watch = Some(proxy.as_ref().unwrap_or(&engine).pid());
        let report = self.load(&plan)?;
        drop(proxy);
        Ok(report)
    }

    fn engine(&self, tls: Option<&Certificates>) -> anyhow::Result<(Running, SocketAddr)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["engine", "--until-stdin-ends"]).stdout(Stdio::piped());
        if self.scenario.flush_each() {
            command.arg("--flush-each");
        }
        command.arg(format!("--addresses={}", self.shape.endpoints));
        if let Some(files) = tls {
            command.arg("--tls-certificate").arg(&files.certificate);
            command.arg("--tls-key").arg(&files.key);
        }
        let core = self.cores.map(|(_, load)| load);
        let mut engine = self.children.start(&mut command, core)?;
        let address = engine.first_line()?.parse().context("the engine says no address")?;
        Ok((engine, address))
    }

    /// Whole calls, not just a listening port: the way to the engine is open too.
    fn until_it_answers(
        &self,
        target: SocketAddr,
        files: &Certificates,
        mut proxy: Option<&mut Running>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        let kind = if self.scenario.is_grpc() { Kind::Unary } else { self.scenario.kind() };
        let size = if kind == Kind::Http1 { 0 } else { 16 };
        let (tls, extent) = (self.scenario.caller(files), Extent::Calls(1));
        let plan = Plan { size, extent, tls, ..Plan::new(target, kind) };
        loop {
            let failure = match load::run(&plan) {
                Ok(report) if report.calls > 0 => return Ok(()),
                Ok(report) => format!("{:?}", report.failures),
                Err(e) => format!("{e:#}"),
            };
            if proxy.as_mut().is_some_and(|proxy| !proxy.is_running()) {
                bail!(
                    "it ended at once; start it by hand with the files of bench/peers to see why"
                );
            }
            if Instant::now() > deadline {
                bail!("no answer within {START:?}: {failure}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn load(&self, plan: &Plan) -> anyhow::Result<Report> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("load").args(plan.to_args());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let load = self.children.start(&mut command, self.cores.map(|(_, load)| load))?;
        serde_json::from_str(&load.output()?).context("the load generator's report is malformed")
    }
}

/// What a proxy does about its configuration after it has begun to answer is not what calls cost.
fn until_at_rest(pid: u32) {
    let deadline = Instant::now() + START;
    let mut before = process::cpu(pid);
    while Instant::now() < deadline {
        std::thread::sleep(REST);
        let now = process::cpu(pid);
        if now.saturating_sub(before) < REST / 10 {
            return;
        }
        before = now;
    }
}

/// A port nobody listens on now.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
