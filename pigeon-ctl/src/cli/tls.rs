//! The flags for TLS, of listeners and of engines.

use clap::{Args, ValueEnum};

/// TLS towards callers.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "TLS")]
pub struct ListenerTlsFields {
    /// PEM file on the proxy's machine with a certificate; may be repeated, each with its --tls-key. '' turns TLS off
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Vec<String>,
    /// PEM file on the proxy's machine with the key of the --tls-cert before it; may be repeated
    #[arg(long, value_name = "FILE")]
    pub tls_key: Vec<String>,
    /// The oldest version that is spoken
    #[arg(long, value_name = "1.2|1.3")]
    pub tls_min_version: Option<String>,
    /// PEM file on the proxy's machine: who signs the certificates of callers
    #[arg(long, value_name = "FILE")]
    pub client_ca: Option<String>,
    /// Whether callers show a certificate
    #[arg(long, value_name = "WHETHER")]
    pub client_certificates: Option<ClientCertificatesArg>,
}

/// `--client-certificates`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientCertificatesArg {
    /// Not asked for.
    None,
    /// Asked for; callers without one are served, too.
    Optional,
    /// Callers without one are not served.
    Required,
}

/// TLS towards endpoints.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "TLS")]
pub struct EngineTlsFields {
    /// Whether the endpoints speak TLS
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub tls: Option<bool>,
    /// PEM file on the proxy's machine: who signs the endpoints' certificates; '': the roots of its system
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<String>,
    /// The name that the endpoints' certificates are for; '': the host of each
    #[arg(long, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// PEM file on the proxy's machine: the certificate it shows the endpoints
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// PEM file on the proxy's machine: its key
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
}
