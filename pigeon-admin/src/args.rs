//! The command line of pigeon-admin.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::app::Config;

/// Pigeon's control plane: keeps the configuration, answers REST, streams it to the proxies.
#[derive(Parser, Debug)]
#[command(name = "pigeon-admin", version, args_conflicts_with_subcommands = false)]
pub struct Args {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where the store, the tokens and the lock are; made if missing.
    #[arg(long, env = "PIGEON_ADMIN_DATA_DIR", value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
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

/// What can be done with a data directory beside serving from it.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Write a copy of the store, as of one moment; an admin may be at work on it meanwhile.
    Backup {
        /// The copy; must not exist.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Put a backup in the place of the store, as a new generation; no admin may run on it. The store that
    /// was there is kept beside it.
    Restore {
        /// What `backup` wrote.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Say whether the store, or a backup of it, is sound; exit code 1 if not.
    Check {
        /// A backup; the store if it is left out.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
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
        let args = Self::parse();
        if args.data_dir.is_none()
            && !matches!(args.command, Some(Command::Check { file: Some(_) }))
        {
            let message = "--data-dir DIR is needed: where the store is, or is to be";
            Self::command().error(ErrorKind::MissingRequiredArgument, message).exit();
        }
        args
    }

    /// Where the store, the tokens and the lock are.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_default()
    }

    /// What the admin needs of it.
    pub fn config(&self) -> Config {
        Config {
            data_dir: self.data_dir(),
            listen: self.listen,
            grpc_listen: self.grpc_listen,
            insecure_bind: self.insecure_bind,
        }
    }
}
