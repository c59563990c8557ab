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

/// `apply`
#[derive(Clone, Debug, Args)]
pub struct ApplyArgs {
    /// What to read.
    #[command(flatten)]
    pub files: FileArgs,
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
