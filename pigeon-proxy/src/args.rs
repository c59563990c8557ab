//! The command line of `pigeon-proxy`, and its way into [`app::Config`].

mod seeing;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgGroup, CommandFactory as _, Parser, ValueEnum};
use pigeon_proto::model::Name;

pub use self::seeing::{AccessLogChoice, LogFormat, SeeingArgs};
use crate::app::{self, AdminConfig, SourceConfig, TakeoverConfig};
use crate::config::address::AdminAddress;
use crate::config::stream::AdminTls;
use crate::logs::Levels;
use crate::record::AccessLog;

/// Carries calls to engines, as pigeon-admin or a file tells it.
///
/// With an admin:  pigeon-proxy --admin http://127.0.0.1:9801 --token-file D/proxy.token --state-dir S
/// Without one:    pigeon-proxy --config pigeon.yaml
#[derive(Debug, Parser)]
#[command(name = "pigeon-proxy", version, verbatim_doc_comment)]
#[command(group = ArgGroup::new("source").required(true).args(["admin", "config"]))]
pub struct Args {
    /// Take the configuration from this admin's stream port, such as https://10.0.0.7:9801; of several with one
    /// store (separate them by commas) from any of them
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        requires_all = ["token_file", "state_dir"]
    )]
    pub admin: Vec<AdminAddress>,

    /// Take the configuration from this YAML or JSON file, and again whenever it is saved
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// File that holds the proxy token (proxy.token in the admin's data directory)
    #[arg(long, value_name = "FILE", requires = "admin")]
    pub token_file: Option<PathBuf>,

    /// Whoever signed the certificates of admins with https; PEM [default: those that the system trusts]
    #[arg(long, value_name = "FILE", requires = "admin")]
    pub admin_ca: Option<PathBuf>,

    /// Certificate to show to admins with https; PEM
    #[arg(long, value_name = "FILE", requires = "admin_key")]
    pub admin_cert: Option<PathBuf>,

    /// The key of --admin-cert
    #[arg(long, value_name = "FILE", requires = "admin_cert")]
    pub admin_key: Option<PathBuf>,

    /// Directory for this proxy's identity and last known good configuration; one proxy each
    #[arg(long, value_name = "DIR", requires = "admin")]
    pub state_dir: Option<PathBuf>,

    /// Name of this proxy in lists [default: the host name and the beginning of the node id]
    #[arg(long, value_name = "NAME")]
    pub name: Option<Name>,

    /// Let a listener listen on another address on this proxy, such as default=0.0.0.0:80; repeat for more
    #[arg(long, value_name = "LISTENER=IP:PORT", value_parser = bind)]
    pub bind: Vec<(Name, SocketAddr)>,

    /// Address for /healthz, /readyz, /metrics and /state; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9901")]
    pub status_listen: SocketAddr,

    /// Threads that carry calls [default: one per core]
    #[arg(long, value_name = "N", env = "PIGEON_WORKERS", value_parser = workers)]
    pub workers: Option<usize>,

    /// How long running calls may take to end after SIGTERM
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,

    /// Take over from the running proxy with the same --state-dir (or --takeover-socket): it hands its
    /// sockets over and ends when its calls have; starts as usual if there is none
    #[arg(long)]
    pub takeover: bool,

    /// Socket for a take-over; only the same user is let in [default: takeover.sock in --state-dir]
    #[arg(long, value_name = "PATH")]
    pub takeover_socket: Option<PathBuf>,

    /// Memory this process may use, such as 2GiB; nearing it, new calls are shed [default: what its control
    /// group allows]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory_limit: Option<u64>,

    /// Logs.
    #[command(flatten)]
    pub seeing: SeeingArgs,

    /// off: carry HTTP/2 calls on the general path too; for finding out whether the relay is to blame
    #[arg(long, value_name = "ON|OFF", env = "PIGEON_RELAY", default_value = "on")]
    pub relay: Switch,

    /// Allow the status address to be reached from other machines
    #[arg(long)]
    pub insecure_bind: bool,

    /// Allow the token to travel unencrypted to an admin on another machine
    #[arg(long)]
    pub insecure_admin: bool,
}

/// What `--relay` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

impl Args {
    /// Reads the command line; help and usage errors end the process here.
    pub fn read() -> Self {
        Self::parse()
    }

    /// The configuration of the proxy.
    ///
    /// # Errors
    /// A usage error: arguments that do not go together.
    pub fn into_config(
        self,
        access_log: AccessLog,
        levels: Option<Levels>,
    ) -> Result<app::Config, clap::Error> {
        let usage = |kind, message: String| Args::command().error(kind, message);
        let source = match (self.config, self.token_file, self.state_dir) {
            (None, Some(token_file), Some(state_dir)) if !self.admin.is_empty() => {
                let (addresses, insecure) = (self.admin, self.insecure_admin);
                let identity = self.admin_cert.zip(self.admin_key);
                let tls = AdminTls { ca: self.admin_ca, identity };
                if tls != AdminTls::default() && addresses.iter().all(|address| !address.is_tls()) {
                    let message =
                        "--admin-ca, --admin-cert and --admin-key are for admins with https://";
                    return Err(usage(ErrorKind::ArgumentConflict, message.to_owned()));
                }
                SourceConfig::Admin(AdminConfig { addresses, token_file, state_dir, tls, insecure })
            }
            (Some(path), None, None) => SourceConfig::File(path),
            // clap's own rules leave no other case.
            _ => {
                let message = "give --admin with --token-file and --state-dir, or --config alone";
                return Err(usage(ErrorKind::ArgumentConflict, message.to_owned()));
            }
        };
        let mut binds = BTreeMap::new();
        for (name, address) in self.bind {
            if let Some(first) = binds.insert(name.clone(), address) {
                let message = format!("--bind gives listener {name} both {first} and {address}");
                return Err(usage(ErrorKind::ArgumentConflict, message));
            }
        }
        let config = app::Config {
            name: self.name,
            binds,
            status_listen: self.status_listen,
            workers: self.workers,
            drain_timeout: self.drain_timeout,
            access_log,
            levels,
            traces: self.seeing.traces(),
            relay: self.relay == Switch::On,
            insecure_bind: self.insecure_bind,
            memory_limit: self.memory_limit,
            takeover: TakeoverConfig { now: self.takeover, socket: self.takeover_socket },
            ..app::Config::new(source)
        };
        match config.check() {
            Ok(()) => Ok(config),
            Err(e) => Err(usage(ErrorKind::ValueValidation, e.to_string())),
        }
    }
}

fn bind(text: &str) -> Result<(Name, SocketAddr), String> {
    let example = "write it like default=127.0.0.1:8080";
    let (name, address) = text.split_once('=').ok_or(format!("the = is missing; {example}"))?;
    let name = name.parse::<Name>().map_err(|e| e.to_string())?;
    let address = address
        .parse()
        .map_err(|_| format!("\"{}\" is not IP:port; {example}", address.escape_debug()))?;
    Ok((name, address))
}

/// Bytes, or KiB, MiB or GiB.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" => Some(0),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        _ => None,
    };
    let bytes = shift.zip(number.parse::<u64>().ok()).and_then(|(s, n)| n.checked_mul(1 << s));
    bytes.filter(|bytes| *bytes > 0).ok_or("write it like 512MiB or 2GiB".to_owned())
}

fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1024) => Ok(n),
        _ => Err("give a number from 1 to 1024".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: [&str; 6] =
        ["--admin", "http://127.0.0.1:9801", "--token-file", "t", "--state-dir", "s"];

    fn parse(args: &[&str]) -> Result<app::Config, clap::Error> {
        let args = Args::try_parse_from(["pigeon-proxy"].iter().chain(args))?;
        args.into_config(AccessLog::off(), None)
    }

    fn with_admin(more: &[&str]) -> Result<app::Config, clap::Error> {
        parse(&[&ADMIN[..], more].concat())
    }

    #[test]
    fn the_tree_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults() {
        let config = with_admin(&[]).expect("admin");
        assert_eq!(config.status_listen.to_string(), "127.0.0.1:9901");
        assert_eq!(config.drain_timeout, Duration::from_secs(30));
        assert!(config.binds.is_empty() && config.name.is_none());
        let plain = app::Config::new(config.source.clone());
        assert_eq!(format!("{plain:?}"), format!("{config:?}"), "two sets of defaults");
        assert!(matches!(config.source, SourceConfig::Admin(a) if !a.insecure));
        let both = "http://127.0.0.1:1,http://[::1]:2";
        let config = parse(&["--admin", both, "--token-file", "t", "--state-dir", "s"]);
        let source = config.expect("two admins").source;
        assert!(matches!(source, SourceConfig::Admin(a) if a.addresses.len() == 2));
        let config = parse(&["--config", "f.yaml", "--bind", "a=0.0.0.0:0"]).expect("file");
        assert!(matches!(config.source, SourceConfig::File(p) if p.ends_with("f.yaml")));
        assert_eq!(config.binds.len(), 1);
        assert!(config.relay);
        assert!(!parse(&["--config", "f", "--relay", "off"]).expect("off").relay);
    }

    #[test]
    fn usage_errors_say_what_to_do() {
        let cases: [(&[&str], &str); 11] = [
            (&["--config", "f", "--memory-limit", "2G"], "2GiB"),
            (&["--config", "f", "--takeover"], "--takeover-socket"),
            (&[], "--admin"),
            (&["--admin", "http://127.0.0.1:1"], "--token-file"),
            (
                &[
                    "--admin",
                    "http://127.0.0.1:1",
                    "--token-file",
                    "t",
                    "--state-dir",
                    "s",
                    "--admin-ca",
                    "ca.pem",
                ],
                "https://",
            ),
            (
                &[
                    "--admin",
                    "http://127.0.0.1:1,http://10.0.0.1:1",
                    "--token-file",
                    "t",
                    "--state-dir",
                    "s",
                ],
                "--insecure-admin",
            ),
            (&["--config", "f", "--state-dir", "s"], "--admin"),
            (&["--config", "f", "--status-listen", "0.0.0.0:1"], "--insecure-bind"),
            (&["--config", "f", "--bind", "default"], "default=127.0.0.1:8080"),
            (&["--config", "f", "--bind", "a=1.1.1.1:1", "--bind", "a=1.1.1.1:2"], "both"),
            (&["--config", "f", "--workers", "0"], "1 to 1024"),
        ];
        for (args, why) in cases {
            let e = parse(args).expect_err(why);
            assert_eq!(e.exit_code(), 2, "{args:?}");
            assert!(e.to_string().contains(why), "{args:?}: {e}");
        }
        let both = with_admin(&["--config", "f"]).expect_err("both");
        assert!(both.to_string().contains("cannot be used with"), "{both}");
    }

    #[test]
    fn being_told_is_enough() {
        let args = ["--admin", "http://10.0.0.1:1", "--token-file", "t", "--state-dir", "s"];
        parse(&[&args[..], &["--insecure-admin"]].concat()).expect("told");
        let args = ["--admin", "https://10.0.0.1:1", "--token-file", "t", "--state-dir", "s"];
        parse(&[&args[..], &["--admin-ca", "ca.pem"]].concat()).expect("by TLS");
        let args = ["--config", "f", "--status-listen", "0.0.0.0:1", "--insecure-bind"];
        parse(&args).expect("told");
    }
}
