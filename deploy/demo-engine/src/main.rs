//! The demo engine as a program of its own.

mod args;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use pigeon_demo_engine::{Config, bind};
use tokio::signal::unix::{SignalKind, signal};

// One thread runs its tasks in the order they were woken: of a reset and a new call that one read brings,
// the cancelled call leaves before the one in its place enters.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(args::Args::parse().into()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> io::Result<()> {
    // Before the line that says "ready", after which a signal may come at any time.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = config.name.clone();
    let engine = bind(config).await?;
    // Written by hand because `println!` panics when whoever started the engine does not listen.
    writeln!(io::stdout(), "demo engine {name} listening on {}", engine.local_addr())?;
    engine
        .run(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await
}
