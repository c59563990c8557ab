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
}
