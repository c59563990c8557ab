//! Pigeon's command line: configures gateways through the admin's REST API.
//!
//! A command is: [`cli`] parses → [`context`] says which server and token → [`commands`] ask the server
//! through [`session`] and [`client`] → [`output`] prints; what goes wrong is a [`error::Failure`], which
//! carries its exit code. Nothing asynchronous starts before the command line is parsed.

pub mod cli;
pub mod client;
pub mod commands;
pub mod context;
#[cfg(feature = "dev")]
pub mod dev;
pub mod document;
pub mod error;
pub mod output;
pub mod session;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::{Exit, Failure};
use crate::output::Printer;

/// Parses `args` (the program's name first), runs the command, prints its failure, says how to exit.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match cli::parse(&args) {
        Ok(cli) => cli,
        Err(cli::Unparsed::Shown) => return Exit::Done.into(),
        Err(cli::Unparsed::Usage { shown, failure }) => {
            match cli::json_wanted(&args) {
                Some(format) => error::print(&failure, format),
                None => shown(),
            }
            return failure.exit.into();
        }
    };
    let out = Printer::new(&cli.global);
    let format = out.format();
    match commands::run(cli, out) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            error::print(&failure, format);
            failure.exit.into()
        }
    }
}

/// What commands return: how to exit, or what went wrong.
pub type Outcome = Result<Exit, Failure>;
