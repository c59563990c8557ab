//! The program `pigeon-proxy`: arguments, logs, signals; the rest is the library.

use std::io::IsTerminal as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use pigeon_proxy::app::{self, Config};
use pigeon_proxy::args::{AccessLogChoice, Args, LogFormat};
use pigeon_proxy::guard::watch::raise_descriptors;
use pigeon_proxy::record::{self, AccessLog};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As a shell reports a process ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let args = Args::read();
    init_log(args.log_format);
    if let Err(e) = raise_descriptors() {
        tracing::warn!("cannot raise the limit of file descriptors to what is allowed: {e}");
    }
    // The guard writes out what is left of the access log when it goes, at the very end.
    let (access_log, _guard) = access_log(args.access_log);
    let config = args.into_config(access_log).unwrap_or_else(|e| e.exit());
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the proxy; the runtime here is for everything but the calls.
fn start(config: Config) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let signals = Signals::new()?;
        let proxy = app::bind(config).await?;
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(signals.watch(stop, proxy.reload(), proxy.reload_tls()));
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

    /// The first SIGTERM or SIGINT drains, the second ends at once; SIGHUP reads again; SIGUSR2 starts the
    /// program anew, to take over.
    async fn watch(
        mut self,
        stop: oneshot::Sender<()>,
        reload: Arc<Notify>,
        reload_tls: impl Fn(),
    ) {
        let mut stop = Some(stop);
        loop {
            tokio::select! {
                _ = self.term.recv() => {}
                _ = self.int.recv() => {}
                _ = self.hup.recv() => {
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

fn init_log(format: LogFormat) {
    let asked = std::env::var("PIGEON_LOG").unwrap_or_default();
    let asked = if asked.is_empty() { "info" } else { &asked };
    let (filter, wrong) = match EnvFilter::try_new(asked) {
        Ok(filter) => (filter, None),
        Err(e) => (EnvFilter::new("info"), Some(e)),
    };
    // A log that nobody reads any more must not end the proxy: saying so would panic.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    if let Some(e) = wrong {
        tracing::warn!("PIGEON_LOG is \"{asked}\", which is not a level: {e}; using info");
    }
}

fn access_log(choice: AccessLogChoice) -> (AccessLog, Option<WorkerGuard>) {
    let format = match choice {
        AccessLogChoice::Off => return (AccessLog::off(), None),
        AccessLogChoice::Text => record::LogFormat::Text,
        AccessLogChoice::Json => record::LogFormat::Json,
    };
    let (writer, guard) =
        NonBlockingBuilder::default().thread_name("access-log").finish(std::io::stdout());
    (AccessLog::new(format, writer), Some(guard))
}
