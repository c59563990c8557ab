//! The `pigeon-admin` program.

use std::process::ExitCode;

use pigeon_admin::args::{Args, Command, LogFormat};
use pigeon_admin::{app, offline};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = Args::read();
    let done = log(&args).and_then(|()| match &args.command {
        None => start(&args),
        Some(command) => offline(command, &args),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("pigeon-admin: {e}");
            ExitCode::FAILURE
        }
    }
}

fn log(args: &Args) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log)
        .map_err(|e| anyhow::anyhow!("--log {}: {e}; write it like info or debug", args.log))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match args.log_format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}

#[tokio::main]
async fn offline(command: &Command, args: &Args) -> anyhow::Result<()> {
    let place = args.place();
    match command {
        Command::Backup { file } => offline::backup(&place, file).await,
        Command::Restore { file } => offline::restore(&place, &args.data_dir(), file).await,
        Command::Check { file } => offline::check(&place, file.as_deref()).await,
    }
}

#[tokio::main]
async fn start(args: &Args) -> anyhow::Result<()> {
    // Before anything is open, so that a signal during the start is not lost.
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let admin = app::bind(args.config()).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %admin.rest_addr(),
        grpc_listen = %admin.grpc_addr(),
        admin_token_file = %admin.admin_token_file().display(),
        proxy_token_file = %admin.proxy_token_file().display(),
        "ready"
    );
    let stop = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("stopping");
    };
    admin.run(stop).await
}
