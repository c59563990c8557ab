//! What the parts log: warnings, or more with `-v`, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::context::environment;

/// Starts logging for the whole process.
pub(super) fn start(verbose: u8) {
    let filter = match verbose {
        0 => "warn",
        1 => "warn,pigeon_admin=info,pigeon_proxy=info,pigeon_demo_engine=info,pigeon_ctl=info",
        2 => "info,pigeon_admin=debug,pigeon_proxy=debug,pigeon_demo_engine=debug,pigeon_ctl=debug",
        _ => "debug",
    };
    let filter = environment("PIGEON_LOG").unwrap_or_else(|| filter.to_owned());
    let colours = std::io::stderr().is_terminal() && environment("NO_COLOR").is_none();
    // Fails only if there is a logger already; then that one logs.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .try_init();
}
