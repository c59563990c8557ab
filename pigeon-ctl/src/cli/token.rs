//! `token …`

use clap::{Args, Subcommand};

use super::ListArgs;
use super::values::{self, Expiry, Label};

/// `token …`
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it; it is shown this once
    #[command(
        after_help = "Roles, each with what those before it may:\n  viewer    read everything but tokens\n  operator  drain and undrain endpoints\n  editor    write the configuration\n  admin     make and revoke tokens\n\nExamples:\n  pigeon-ctl token create grafana --role viewer\n  pigeon-ctl -q token create ci --role editor --label-scope team=speech --expires 90d > ci.token"
    )]
    Create(CreateToken),
    /// List the tokens: what they may do, when they expire and were used last
    List(ListArgs),
    /// Revoke a token: it is worth nothing any more
    Revoke(RevokeToken),
}

/// `token create`
#[derive(Clone, Debug, Args)]
pub struct CreateToken {
    /// What the history calls whoever has it
    pub name: String,
    /// What it may do
    #[arg(long, value_parser = ["viewer", "operator", "editor", "admin"])]
    pub role: String,
    /// It may write only objects that have this label, before and after; may be repeated
    #[arg(long = "label-scope", value_name = "NAME=VALUE", value_parser = values::label)]
    pub scope: Vec<Label>,
    /// When it expires, or in how long [default: never]
    #[arg(long, value_name = "TIME", value_parser = values::expiry)]
    pub expires: Option<Expiry>,
    /// Let the server check everything, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `token revoke`
#[derive(Clone, Debug, Args)]
pub struct RevokeToken {
    /// Its name
    pub name: String,
    /// Let the server check everything, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}
