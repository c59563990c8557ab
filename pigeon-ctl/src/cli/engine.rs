//! `engine …`

use clap::{Args, Subcommand, ValueEnum};

mod connections;
mod health;

pub use connections::ConnectionFields;
pub use health::HealthFields;

use super::tls::EngineTlsFields;
use super::values::{self, Balance, Label, StaticEndpoint};
use super::{ChangeArgs, ListArgs, Named, RemoveArgs, WriteArgs};

/// `engine …`
#[derive(Clone, Debug, Subcommand)]
pub enum EngineCommand {
    /// Add an engine
    #[command(
        after_help = "Example:\n  pigeon-ctl engine add asr --static 10.0.0.7:50051,10.0.0.8:50051 --pool strict --slots 32 --queue 64 --queue-timeout 2s"
    )]
    Add(Box<AddEngine>),
    /// List the engines and how many of their slots are in use
    List(ListArgs),
    /// Everything about one engine
    Get(Named),
    /// Change what is given of an engine, and nothing else
    #[command(after_help = "Example:\n  pigeon-ctl engine set asr --queue-timeout 100ms")]
    Set(Box<SetEngine>),
    /// Whether each endpoint of an engine gets calls, and if not why
    #[command(after_help = "Example:\n  pigeon-ctl engine endpoints asr -w")]
    Endpoints(EndpointsArgs),
    /// Send no new calls to an engine's endpoints; those that run go on
    #[command(after_help = "Example:\n  pigeon-ctl engine drain asr --endpoint 10.0.0.7:50051")]
    Drain(DrainArgs),
    /// Send calls to drained endpoints again
    Undrain(DrainArgs),
    /// Remove an engine that no route uses
    Rm(RemoveArgs),
}

/// `engine add`
#[derive(Clone, Debug, Args)]
pub struct AddEngine {
    /// Its name
    pub name: String,
    /// What it says.
    #[command(flatten)]
    pub fields: EngineFields,
    /// How to write.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// `engine set`
#[derive(Clone, Debug, Args)]
pub struct SetEngine {
    /// Its name
    pub name: String,
    /// What to change.
    #[command(flatten)]
    pub fields: EngineFields,
    /// How to write.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `engine endpoints`
#[derive(Clone, Debug, Args)]
pub struct EndpointsArgs {
    /// The engine
    pub name: String,
    /// How to list.
    #[command(flatten)]
    pub list: ListArgs,
}

/// `engine drain`, `engine undrain`
#[derive(Clone, Debug, Args)]
pub struct DrainArgs {
    /// The engine
    pub name: String,
    /// Only this endpoint; may be repeated
    #[arg(long = "endpoint", value_name = "HOST:PORT")]
    pub endpoints: Vec<String>,
    /// How to write.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The fields of an engine. An empty text removes a field.
#[derive(Clone, Debug, Default, Args)]
pub struct EngineFields {
    /// Its endpoints, all of them; HOST:PORT=SLOTS overrides --slots for one. Those that stay keep weight and drain
    #[arg(long = "static", value_name = "HOST:PORT,…", value_delimiter = ',', value_parser = values::endpoint)]
    pub endpoints: Option<Vec<StaticEndpoint>>,
    /// Whether slots limit calls: strictly, loosely, or not at all
    #[arg(long, value_name = "MODE")]
    pub pool: Option<PoolArg>,
    /// Calls at once per endpoint
    #[arg(long, value_name = "N")]
    pub slots: Option<u32>,
    /// How far a loose pool may grow, as a multiple of --slots
    #[arg(long, value_name = "N")]
    pub loose_factor: Option<u32>,
    /// Calls that may wait for a slot
    #[arg(long, value_name = "N")]
    pub queue: Option<u32>,
    /// Longest wait of one call, such as 2s
    #[arg(long, value_name = "TIME")]
    pub queue_timeout: Option<String>,
    /// How an endpoint is chosen: least-connections, random, round-robin, p2c, hash or hash:HEADER
    #[arg(long, value_name = "HOW", value_parser = values::balance)]
    pub lb: Option<Balance>,
    /// What --lb hash tells calls apart by: source, tenant or header:NAME
    #[arg(long, value_name = "KEY")]
    pub hash_key: Option<String>,
    /// Time in which a new or returning endpoint gets up to its full share, such as 30s
    #[arg(long, value_name = "TIME")]
    pub slow_start: Option<String>,
    /// What the endpoints speak
    #[arg(long)]
    pub protocol: Option<ProtocolArg>,
    /// Set a label; NAME= removes it; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = values::label)]
    pub labels: Vec<Label>,
    /// Its connections.
    #[command(flatten)]
    pub connections: ConnectionFields,
    /// How its health is checked.
    #[command(flatten)]
    pub health: HealthFields,
    /// TLS.
    #[command(flatten)]
    pub tls: EngineTlsFields,
}

/// `--pool`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PoolArg {
    /// Never more than the slots.
    Strict,
    /// Up to slots × loose-factor.
    Loose,
    /// No limit.
    Off,
}

/// `--protocol`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    /// gRPC by HTTP/2, all else by HTTP/1.1.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// Cleartext HTTP/2.
    H2c,
    /// HTTP/2 by TLS.
    H2,
}
