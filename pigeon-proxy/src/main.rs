//! The program `pigeon-proxy`: arguments, logs, signals; the rest is the library.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use pigeon_proxy::app::{self, Config};
use pigeon_proxy::args::Args;
use pigeon_proxy::guard::watch::raise_descriptors;
use pigeon_proxy::logs::{Logs, Reopen};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As a shell reports a process ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let args = Args::read();
    let logs = match Logs::start(&args.seeing.logs(), std::env::var("PIGEON_LOG").ok()) {
        Ok(logs) => logs,
        Err(e) => return failed(&e),
    };
    if let Err(e) = raise_descriptors() {
        tracing::warn!("cannot raise the limit of file descriptors to what is allowed: {e}");
    }
    let config = args.into_config(logs.access(), Some(logs.levels())).unwrap_or_else(|e| e.exit());
    let ended = start(config, logs.reopeners());
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
        let proxy = app::bind(config).await?;
        let (stop, stopped) = oneshot::channel();
        let files = (proxy.reload(), proxy.reload_tls());
        tokio::spawn(signals.watch(stop, files, logs));
        let stopped = async { stopped.await.unwrap_or_default() };
        Ok(proxy.run(stopped).await?)
    })
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
    async fn watch(
        mut self,
        stop: oneshot::Sender<()>,
        (reload, reload_tls): (Arc<Notify>, impl Fn()),
        logs: Vec<Reopen>,
    ) {
        let mut stop = Some(stop);
        loop {
            tokio::select! {
                _ = self.term.recv() => {}
                _ = self.int.recv() => {}
                _ = self.hup.recv() => {
                    logs.iter().for_each(Reopen::reopen);
                    reload.notify_one();
                    reload_tls();
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
