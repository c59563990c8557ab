//! `apply`, `diff` and `export`

use std::path::PathBuf;

use clap::Args;

use super::{WriteArgs, values};

/// Files to read.
#[derive(Clone, Debug, Args)]
pub struct FileArgs {
    /// A file, a folder, or - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Also read folders inside of folders
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// Whose the objects of files are.
#[derive(Clone, Debug, Args)]
pub struct SetArgs {
    /// The objects belong to this owner from now on, and to no other: a name, such as the one of a repository
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    /// Remove what belongs to the owner and is in no file
    #[arg(long, requires = "owner")]
    pub prune: bool,
}

/// `diff`
#[derive(Clone, Debug, Args)]
pub struct DiffArgs {
    /// What to read.
    #[command(flatten)]
    pub files: FileArgs,
    /// Whose the objects are.
    #[command(flatten)]
    pub set: SetArgs,
}

/// `apply`
#[derive(Clone, Debug, Args)]
pub struct ApplyArgs {
    /// What to read.
    #[command(flatten)]
    pub files: FileArgs,
    /// Whose the objects are.
    #[command(flatten)]
    pub set: SetArgs,
    /// How many objects --prune may remove [default: 10]
    #[arg(long, value_name = "N", requires = "prune")]
    pub allow_deletes: Option<usize>,
    /// How to write.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// `export`
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Only these kinds
    #[arg(value_name = "KIND")]
    pub kinds: Vec<values::KindArg>,
}
