//! `dev`

use std::path::PathBuf;

use clap::Args;

use super::text;

/// `dev`
#[derive(Clone, Debug, Args)]
#[command(after_help = text::DEV_HELP)]
pub struct DevArgs {
    /// Port of the gateway
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Port of the REST API and the dashboard
    #[arg(long, value_name = "PORT", default_value_t = 9800)]
    pub admin_port: u16,
    /// Port of the config stream
    #[arg(long, value_name = "PORT", default_value_t = 9801)]
    pub grpc_port: u16,
    /// Port of the proxy's health and metrics
    #[arg(long, value_name = "PORT", default_value_t = 9901)]
    pub status_port: u16,
    /// Where to keep the configuration [default: ~/.local/share/pigeon/dev]
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    pub data_dir: Option<PathBuf>,
    /// Keep nothing
    #[arg(long)]
    pub ephemeral: bool,
    /// Start with no demo engines and routes
    #[arg(long)]
    pub no_demo: bool,
    /// Make this many demo calls per second
    #[arg(long, value_name = "RPS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=2000), conflicts_with = "no_demo")]
    pub traffic: u32,
    /// Log more: -v what happens, -vv details
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}
