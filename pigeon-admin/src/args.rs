//! The command line of pigeon-admin.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::app::Config;

/// Pigeon's control plane: keeps the configuration, answers REST, streams it to the proxies.
#[derive(Parser, Debug)]
#[command(name = "pigeon-admin", version)]
pub struct Args {
    /// Where the store, the tokens and the lock are; made if missing.
    #[arg(long, env = "PIGEON_ADMIN_DATA_DIR", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Where REST and the dashboard listen.
    #[arg(
        long,
        env = "PIGEON_ADMIN_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:9800"
    )]
    pub listen: SocketAddr,
    /// Where the proxies' configuration stream listens.
    #[arg(
        long,
        env = "PIGEON_ADMIN_GRPC_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:9801"
    )]
    pub grpc_listen: SocketAddr,
    /// Allow addresses that other machines reach, although tokens then cross the network in clear.
    #[arg(long, env = "PIGEON_ADMIN_INSECURE_BIND")]
    pub insecure_bind: bool,
    /// How log lines on stderr are written.
    #[arg(long, env = "PIGEON_ADMIN_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged: a level, or target=level pairs such as info,pigeon_admin::stream=debug.
    #[arg(long, env = "PIGEON_ADMIN_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Args {
    /// Reads the command line; ends the process with exit code 2 if it is wrong.
    pub fn read() -> Self {
        Self::parse()
    }

    /// What the admin needs of it.
    pub fn config(&self) -> Config {
        Config {
            data_dir: self.data_dir.clone(),
            listen: self.listen,
            grpc_listen: self.grpc_listen,
            insecure_bind: self.insecure_bind,
        }
    }
}
