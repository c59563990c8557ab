//! `engine …`

use clap::{Args, Subcommand, ValueEnum};

use super::values::{self, Label, StaticEndpoint};
use super::{ChangeArgs, Named, RemoveArgs, WriteArgs};

/// `engine …`
#[derive(Clone, Debug, Subcommand)]
pub enum EngineCommand {
    /// Add an engine
    #[command(
        after_help = "Example:\n  pigeon-ctl engine add asr --static 10.0.0.7:50051,10.0.0.8:50051 --pool strict --slots 32 --queue 64 --queue-timeout 2s"
    )]
    Add(AddEngine),
    /// List the engines and how many of their slots are in use
    List,
    /// Everything about one engine
    Get(Named),
    /// Change what is given of an engine, and nothing else
    #[command(after_help = "Example:\n  pigeon-ctl engine set asr --queue-timeout 100ms")]
    Set(SetEngine),
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

/// The fields of an engine.
#[derive(Clone, Debug, Default, Args)]
pub struct EngineFields {
    /// Its endpoints, all of them; HOST:PORT=SLOTS overrides --slots for one
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
    /// How an endpoint is chosen
    #[arg(long, value_name = "HOW")]
    pub lb: Option<BalanceArg>,
    /// What the endpoints speak
    #[arg(long)]
    pub protocol: Option<ProtocolArg>,
    /// How endpoints are checked
    #[arg(long, value_name = "CHECK")]
    pub health: Option<HealthArg>,
    /// Longest time to connect to an endpoint
    #[arg(long, value_name = "TIME")]
    pub dial_timeout: Option<String>,
    /// When an unused connection to an endpoint is closed
    #[arg(long, value_name = "TIME")]
    pub idle_timeout: Option<String>,
    /// How long a slot rests after the gateway cancelled its call
    #[arg(long, value_name = "TIME")]
    pub cancel_cooldown: Option<String>,
    /// Set a label; NAME= removes it; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = values::label)]
    pub labels: Vec<Label>,
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

/// `--lb`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BalanceArg {
    /// The endpoint with the most free slots.
    LeastConnections,
    /// Any with a free slot.
    Random,
}

/// `--protocol`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    /// gRPC by cleartext HTTP/2, all else by HTTP/1.1.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// Cleartext HTTP/2.
    H2c,
}

/// `--health`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HealthArg {
    /// Not actively.
    None,
}
