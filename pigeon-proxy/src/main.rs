//! The program `pigeon-proxy`: arguments, logs, signals; the rest is the library.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use pigeon_proxy::app::{self, Config, Stage};
use pigeon_proxy::args::Args;
use pigeon_proxy::config::Connection;
use pigeon_proxy::guard::watch::raise_descriptors;
use pigeon_proxy::logs::{Logs, Reopen};
use pigeon_proxy::reload::Reload;
use pigeon_proxy::service;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As a shell reports a process ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    // First of all: there are no other threads yet.
    let sockets = service::sockets();
    let args = Args::read();
    let logs = match Logs::start(&args.seeing.logs(), std::env::var("PIGEON_LOG").ok()) {
        Ok(logs) => logs,
        Err(e) => return failed(&e),
    };
    if let Err(e) = raise_descriptors() {
        tracing::warn!("cannot raise the limit of file descriptors to what is allowed: {e}");
    }
    let config = args.into_config(logs.access(), Some(logs.levels())).unwrap_or_else(|e| e.exit());
    let ended = match sockets {
        Ok(sockets) => start(Config { sockets, ..config }, logs.reopeners()),
        Err(e) => Err(e.into()),
    };
    // Whatever happened is in there.
    logs.end();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => failed(&e),
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// Runs the proxy; the runtime here is for everything but the calls.
fn start(config: Config, logs: Vec<Reopen>) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let signals = Signals::new()?;
        let drain = config.drain_timeout;
        let proxy = app::bind(config).await?;
        let (stop, stopped) = oneshot::channel();
        let stage = proxy.stage();
        let files = Files {
            logs,
            reload: proxy.reload(),
            connection: proxy.connection(),
            stage: stage.clone(),
        };
        tokio::spawn(signals.watch(stop, files));
        tokio::spawn(service::watchdog(proxy.pulse(), stage.clone()));
        let told = tokio::spawn(service::follow(stage, drain));
        let stopped = async { stopped.await.unwrap_or_default() };
        let ended = proxy.run(stopped).await;
        // That another process goes on has to be known before this one ends.
        let _ = told.await;
        Ok(ended?)
    })
}

/// What SIGHUP is about.
struct Files {
    logs: Vec<Reopen>,
    reload: Arc<Reload>,
    connection: watch::Receiver<Connection>,
    stage: watch::Receiver<Stage>,
}

impl Files {
    async fn read_again(self: Arc<Self>) {
        self.logs.iter().for_each(Reopen::reopen);
        service::reload(&self.reload, &self.connection, &self.stage).await;
    }
}

struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    usr2: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The first SIGTERM or SIGINT drains, the second ends at once; SIGHUP reads again, and opens log files
    /// anew; SIGUSR2 starts the program anew, to take over.
    async fn watch(mut self, stop: oneshot::Sender<()>, files: Files) {
        let files = Arc::new(files);
        let mut stop = Some(stop);
        loop {
            tokio::select! {
                _ = self.term.recv() => {}
                _ = self.int.recv() => {}
                _ = self.hup.recv() => {
                    tokio::spawn(Arc::clone(&files).read_again());
                    continue;
                }
                _ = self.usr2.recv() => {
                    start_successor();
                    continue;
                }
            }
            match stop.take() {
                // An error means that the proxy has ended by itself.
                Some(stop) => _ = stop.send(()),
                None => std::process::exit(INTERRUPTED),
            }
        }
    }
}

/// Starts the program that is installed now with the arguments of this one, to take over from it.
fn start_successor() {
    let mut arguments = std::env::args_os();
    let Some(program) = arguments.next() else { return };
    let mut command = Command::new(&program);
    command.arg("--takeover").args(arguments.filter(|a| a != "--takeover")).stdin(Stdio::null());
    service::disown(&mut command);
    match command.spawn() {
        Ok(mut child) => {
            tracing::info!(pid = child.id(), "started a new process to take over");
            // Somebody has to hear of its end, if it ends before this one.
            std::thread::spawn(move || match child.wait() {
                Ok(status) if status.success() => {}
                Ok(status) => tracing::error!("the process that was to take over ended: {status}"),
                Err(error) => tracing::debug!(%error, "how the new process ended is not known"),
            });
        }
        Err(e) => tracing::error!("cannot start {}: {e}", program.display()),
    }
}
