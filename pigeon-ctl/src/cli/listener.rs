//! `listener …`

use clap::{Args, Subcommand};

use super::tls::ListenerTlsFields;
use super::values::{self, Issuer, Label};
use super::{ChangeArgs, ListArgs, Named, RemoveArgs, WriteArgs};

/// `listener …`
#[derive(Clone, Debug, Subcommand)]
pub enum ListenerCommand {
    /// Add a listener
    #[command(
        after_help = "Examples:\n  pigeon-ctl listener add public --address 0.0.0.0:8443 --tls-cert /etc/pigeon/a.pem --tls-key /etc/pigeon/a.key\n  pigeon-ctl listener add redis --address 127.0.0.1:6379 --protocol tcp --idle-timeout 10m"
    )]
    Add(Box<AddListener>),
    /// List the listeners
    List(ListArgs),
    /// Everything about one listener
    Get(Named),
    /// Change what is given of a listener, and nothing else
    Set(Box<SetListener>),
    /// Remove a listener
    Rm(RemoveArgs),
}

/// `listener add`
#[derive(Clone, Debug, Args)]
pub struct AddListener {
    /// Its name
    pub name: String,
    /// Where to listen
    #[arg(long, value_name = "IP:PORT")]
    pub address: String,
    /// Its limits.
    #[command(flatten)]
    pub fields: ListenerFields,
    /// How to write.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// `listener set`
#[derive(Clone, Debug, Args)]
pub struct SetListener {
    /// Its name
    pub name: String,
    /// Where to listen
    #[arg(long, value_name = "IP:PORT")]
    pub address: Option<String>,
    /// What to change.
    #[command(flatten)]
    pub fields: ListenerFields,
    /// How to write.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The fields of a listener but its address.
#[derive(Clone, Debug, Default, Args)]
pub struct ListenerFields {
    /// What is spoken: auto (HTTP/1.1 and HTTP/2) or tcp (raw bytes, one connection is one call)
    #[arg(long, value_name = "auto|tcp")]
    pub protocol: Option<String>,
    /// With tcp: close a connection on which nothing moves for this long; 0s: never
    #[arg(long, value_name = "TIME")]
    pub idle_timeout: Option<String>,
    /// With tcp: close a connection that is older than this; 0s: no limit
    #[arg(long, value_name = "TIME")]
    pub max_lifetime: Option<String>,
    /// In the clear: let callers change from HTTP/1.1 to HTTP/2 (upgrade: h2c); not behind a proxy that lets callers' upgrades pass
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub h2c_upgrade: Option<bool>,
    /// Connections at once, per proxy
    #[arg(long, value_name = "N")]
    pub max_connections: Option<u32>,
    /// Connections at once from one address (of IPv6: one /64), per proxy; 0: no limit
    #[arg(long, value_name = "N")]
    pub max_connections_per_source: Option<u32>,
    /// Calls at once from one address (of IPv6: one /64), per proxy; 0: no limit
    #[arg(long, value_name = "N")]
    pub max_streams_per_source: Option<u32>,
    /// Calls at once on one HTTP/2 connection
    #[arg(long, value_name = "N")]
    pub max_concurrent_streams: Option<u32>,
    /// All header fields of one request together
    #[arg(long, value_name = "BYTES")]
    pub max_header_bytes: Option<u32>,
    /// Longest time from the start of a request to the end of its head
    #[arg(long, value_name = "TIME")]
    pub header_timeout: Option<String>,
    /// An issuer whose tokens (JWT) are believed; may be repeated, and sets all; '' removes them
    #[arg(long, value_name = "issuer=…,audience=…,jwks=…", value_parser = values::issuer)]
    pub jwt: Vec<Issuer>,
    /// Set a label; NAME= removes it; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = values::label)]
    pub labels: Vec<Label>,
    /// TLS.
    #[command(flatten)]
    pub tls: ListenerTlsFields,
}
