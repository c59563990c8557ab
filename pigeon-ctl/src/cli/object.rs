//! What the commands for objects of any kind share.

use clap::Args;
use pigeon_proto::model::Key;

use super::values;

/// How to write.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Writing")]
pub struct WriteArgs {
    /// Do not wait for the proxies
    #[arg(long)]
    pub no_wait: bool,
    /// Have the server check everything, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// How to change what is there.
#[derive(Clone, Copy, Debug, Args)]
pub struct ChangeArgs {
    /// How to write.
    #[command(flatten)]
    pub write: WriteArgs,
    /// Only if the object is still at this revision
    #[arg(long, value_name = "REVISION", value_parser = values::revision, help_heading = "Writing")]
    pub if_match: Option<u64>,
}

/// How to list.
#[derive(Clone, Copy, Debug, Args)]
pub struct ListArgs {
    /// Print again whenever something changed, until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,
}

/// Which object.
#[derive(Clone, Debug, Args)]
pub struct Named {
    /// Its name
    pub name: String,
}

/// `edit`
#[derive(Clone, Debug, Args)]
pub struct EditArgs {
    /// The object, such as route/asr
    #[arg(value_name = "KIND/NAME", value_parser = values::key)]
    pub key: Key,
    /// How to write.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// Which object to remove.
#[derive(Clone, Debug, Args)]
pub struct RemoveArgs {
    /// Its name
    pub name: String,
    /// How to write.
    #[command(flatten)]
    pub change: ChangeArgs,
}
