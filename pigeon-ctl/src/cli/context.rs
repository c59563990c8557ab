//! `login` and `context …`

use clap::{Args, Subcommand};

/// `login`
#[derive(Clone, Debug, Args)]
pub struct LoginArgs {
    /// Read the token from standard input and keep it beside the configuration file
    #[arg(long, conflicts_with = "token_file")]
    pub token_stdin: bool,
    /// Name of the context [default: host and port of the server]
    #[arg(long, value_name = "CONTEXT")]
    pub name: Option<String>,
}

/// `context …`
#[derive(Clone, Debug, Subcommand)]
pub enum ContextCommand {
    /// List the contexts
    List,
    /// Select a context
    Use {
        /// Its name
        name: String,
    },
    /// Forget a context, and its token if login stored it
    Rm {
        /// Its name
        name: String,
    },
    /// Which server and token a command would use, and where they come from
    Show,
}
