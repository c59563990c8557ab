//! The flags for the health of an engine's endpoints.

use clap::Args;

/// Active checks, and ejection of endpoints whose calls fail.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Health")]
pub struct HealthFields {
    /// What endpoints are asked: auto, grpc, grpc:SERVICE, http:/path, tcp or none
    #[arg(long = "health", value_name = "CHECK")]
    pub check: Option<String>,
    /// From one check of an endpoint to the next
    #[arg(long = "health-interval", value_name = "TIME")]
    pub interval: Option<String>,
    /// A check without an answer for this long has failed
    #[arg(long = "health-timeout", value_name = "TIME")]
    pub timeout: Option<String>,
    /// Successes in a row that make an endpoint healthy again
    #[arg(long = "health-up", value_name = "N")]
    pub up: Option<u32>,
    /// Failures in a row that make an endpoint unhealthy
    #[arg(long = "health-down", value_name = "N")]
    pub down: Option<u32>,
    /// Failed calls in a row that eject an endpoint; 0: never
    #[arg(long, value_name = "N")]
    pub eject_failures: Option<u32>,
    /// Whether an endpoint with far more failures than the others is ejected too
    #[arg(long, value_name = "true|false")]
    pub eject_outliers: Option<bool>,
    /// How long the first ejection lasts; the n-th lasts n times as long
    #[arg(long, value_name = "TIME")]
    pub eject_time: Option<String>,
    /// The longest one lasts
    #[arg(long, value_name = "TIME")]
    pub eject_max_time: Option<String>,
    /// Most endpoints ejected at once, in percent
    #[arg(long, value_name = "PERCENT")]
    pub eject_max: Option<u32>,
}
