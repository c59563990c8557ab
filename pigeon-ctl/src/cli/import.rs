//! `import`

use std::path::PathBuf;

use clap::Subcommand;

use super::text;

/// `import …`
#[derive(Clone, Debug, Subcommand)]
pub enum ImportCommand {
    /// The files of rpc-pigeon: Config.yaml, PoolConfig.yaml, RouteConfig.yaml, TenantConfig.yaml
    #[command(after_help = text::RPC_PIGEON_HELP)]
    RpcPigeon {
        /// The folder they are in; some of them may be missing
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Gateways, GRPCRoutes and HTTPRoutes of the Kubernetes Gateway API
    #[command(after_help = text::GATEWAY_API_HELP)]
    GatewayApi {
        /// A file, a folder, or - for standard input
        #[arg(value_name = "FILE|DIR|-")]
        source: PathBuf,
        /// Print no documents and exit with 1 if anything has no counterpart
        #[arg(long)]
        strict: bool,
    },
}
