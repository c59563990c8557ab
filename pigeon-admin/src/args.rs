//! The command line of pigeon-admin.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::app::Config;
use crate::data_dir::DataDir;
use crate::store::{Place, PostgresUrl};
use crate::tls::Files;

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
    /// Keep the store in this Postgres instead, which several admins may share:
    /// postgres://USER@HOST:PORT/NAME, its password in PGPASSFILE or in the environment variable.
    #[arg(
        long,
        env = "PIGEON_ADMIN_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true,
        global = true
    )]
    database_url: Option<PostgresUrl>,
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
    /// Speak TLS on both ports, with this certificate (PEM, with those it was signed with); read again when it
    /// changes.
    #[arg(long, env = "PIGEON_ADMIN_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of --tls-cert.
    #[arg(long, env = "PIGEON_ADMIN_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Callers of REST, browsers too, must show a certificate that one of these has signed, beside their token.
    #[arg(long, env = "PIGEON_ADMIN_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub client_ca: Option<PathBuf>,
    /// The same, for proxies on the stream port.
    #[arg(long, env = "PIGEON_ADMIN_GRPC_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub grpc_client_ca: Option<PathBuf>,
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
        // Everybody on the machine can read the command lines of its processes.
        let shown = std::env::args().any(|argument| {
            let value = argument.strip_prefix("--database-url=").unwrap_or(&argument);
            value.starts_with("postgres") && PostgresUrl::has_password(value)
        });
        let args = Self::parse();
        let wrong = |kind, message: &str| -> ! { Self::command().error(kind, message).exit() };
        if shown {
            wrong(
                ErrorKind::ValueValidation,
                "--database-url has a password, which every process list shows; leave it out, and put it into \
                 the file that PGPASSFILE names, or give the whole URL in PIGEON_ADMIN_DATABASE_URL",
            );
        }
        if args.data_dir.is_none() && args.needs_data_dir() {
            wrong(
                ErrorKind::MissingRequiredArgument,
                "--data-dir DIR is needed: where the store is, or is to be",
            );
        }
        args
    }

    /// What there is without one: files that are named, and a database that is elsewhere.
    fn needs_data_dir(&self) -> bool {
        match &self.command {
            Some(Command::Check { file: Some(_) }) => false,
            Some(Command::Check { file: None } | Command::Backup { .. }) => {
                self.database_url.is_none()
            }
            Some(Command::Restore { .. }) | None => true,
        }
    }

    /// Where the store is.
    pub fn place(&self) -> Place {
        match &self.database_url {
            Some(url) => Place::Postgres(url.clone()),
            None => Place::File(DataDir::database_in(&self.data_dir())),
        }
    }

    /// Where the store, the tokens and the lock are.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_default()
    }

    /// What the admin needs of it.
    pub fn config(&self) -> Config {
        let pair = self.tls_cert.clone().zip(self.tls_key.clone());
        let tls = pair.map(|(certificate, key)| Files {
            certificate,
            key,
            client_ca: self.client_ca.clone(),
            grpc_client_ca: self.grpc_client_ca.clone(),
        });
        Config {
            tls,
            data_dir: self.data_dir(),
            database_url: self.database_url.clone(),
            listen: self.listen,
            grpc_listen: self.grpc_listen,
            insecure_bind: self.insecure_bind,
        }
    }
}
