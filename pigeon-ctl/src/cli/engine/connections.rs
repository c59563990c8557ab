//! The flags for the connections to an engine's endpoints.

use clap::{Args, ValueEnum};

use crate::cli::values::{self, Limit};

/// Connections to the endpoints.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connections (an empty value removes a limit)")]
pub struct ConnectionFields {
    /// How calls share connections
    #[arg(long)]
    pub reuse: Option<ReuseArg>,
    /// Calls at once on one HTTP/2 connection
    #[arg(long, value_name = "N")]
    pub max_streams: Option<u32>,
    /// Connections each worker keeps open to every endpoint ahead of calls
    #[arg(long, value_name = "N")]
    pub warm: Option<u32>,
    /// Longest time to connect to an endpoint
    #[arg(long, value_name = "TIME")]
    pub dial_timeout: Option<String>,
    /// Longest pause between attempts to reach an endpoint that refuses connections
    #[arg(long, value_name = "TIME")]
    pub dial_backoff_max: Option<String>,
    /// When an unused connection to an endpoint is closed
    #[arg(long, value_name = "TIME")]
    pub idle_timeout: Option<String>,
    /// A connection older than this takes no new calls
    #[arg(long, value_name = "TIME")]
    pub max_lifetime: Option<String>,
    /// A connection takes no more calls than this
    #[arg(long, value_name = "N", value_parser = values::limit)]
    pub max_requests: Option<Limit>,
    /// How long calls may go on at an endpoint that is removed or drained
    #[arg(long = "drain", value_name = "TIME")]
    pub drain_timeout: Option<String>,
    /// How long a slot rests after the gateway cancelled its call
    #[arg(long, value_name = "TIME")]
    pub cancel_cooldown: Option<String>,
    /// Send an HTTP/2 PING after this much silence
    #[arg(long, value_name = "TIME")]
    pub keepalive_time: Option<String>,
    /// Give a connection up when a PING stays unanswered for this long
    #[arg(long, value_name = "TIME")]
    pub keepalive_timeout: Option<String>,
    /// Also on connections without calls
    #[arg(long, value_name = "true|false")]
    pub keepalive_without_calls: Option<bool>,
    /// Most bytes an engine may send ahead on one call
    #[arg(long, value_name = "BYTES")]
    pub stream_window: Option<u32>,
    /// Most unread bytes held per connection
    #[arg(long, value_name = "BYTES")]
    pub connection_window: Option<u32>,
    /// Longest gRPC message either way
    #[arg(long, value_name = "BYTES", value_parser = values::limit)]
    pub max_message_bytes: Option<Limit>,
}

/// `--reuse`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReuseArg {
    /// Many calls at once on one connection.
    Multiplex,
    /// One call at a time per connection.
    Exclusive,
}
