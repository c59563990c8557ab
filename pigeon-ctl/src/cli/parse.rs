//! From the words on the command line to a [`Cli`], or to what is to be said instead.

use std::ffi::OsString;
use std::io;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use super::{Cli, Output};
use crate::error::Failure;

/// Why there is no command to run.
pub enum Unparsed {
    /// Help or the version was asked for, and printed.
    Shown,
    /// The command line is wrong.
    Usage {
        /// Prints it as people expect it.
        shown: Box<dyn FnOnce()>,
        /// The same as a failure.
        failure: Box<Failure>,
    },
}

/// Parses the command line; prints help or the version where that is what it asks for.
///
/// # Errors
/// There is nothing (more) to run, see [`Unparsed`].
pub fn parse(args: &[OsString]) -> Result<Cli, Unparsed> {
    let command = Cli::command().color(clap_color(args));
    let matches = command.try_get_matches_from(args);
    matches.and_then(|m| Cli::from_arg_matches(&m)).map_err(|e| match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody reads it: then there is nobody to tell either.
            let _ = e.print();
            Unparsed::Shown
        }
        _ => {
            let text = e.render().to_string();
            let failure = Box::new(Failure::usage(text.trim().trim_start_matches("error: ")));
            let shown = Box::new(move || drop(e.print()));
            Unparsed::Usage { shown, failure }
        }
    })
}

/// The colour choice, needed before anything is parsed: clap colours its own errors.
fn clap_color(args: &[OsString]) -> clap::ColorChoice {
    match flag(args, None, "--color").as_deref() {
        Some("always") => clap::ColorChoice::Always,
        Some("never") => clap::ColorChoice::Never,
        _ => clap::ColorChoice::Auto,
    }
}

/// The form of JSON that a command line asks for which could not be parsed.
pub fn json_wanted(args: &[OsString]) -> Option<Output> {
    let given = flag(args, Some("-o"), "--output");
    match given.or_else(|| std::env::var("PIGEON_OUTPUT").ok()).as_deref() {
        Some("json") => Some(Output::Json),
        Some("jsonl") => Some(Output::Jsonl),
        _ => None,
    }
}

fn flag(args: &[OsString], short: Option<&str>, long: &str) -> Option<String> {
    let mut args = args.iter().filter_map(|a| a.to_str());
    while let Some(arg) = args.next() {
        if arg == long || Some(arg) == short {
            return args.next().map(str::to_owned);
        }
        if let Some(value) = arg.strip_prefix(long).and_then(|v| v.strip_prefix('=')) {
            return Some(value.to_owned());
        }
        if let Some(value) = short.and_then(|s| arg.strip_prefix(s)) {
            return Some(value.trim_start_matches('=').to_owned());
        }
    }
    None
}

/// Writes the completion script of a shell.
pub fn write_completion(shell: clap_complete::Shell, to: &mut dyn io::Write) {
    let mut to = to;
    clap_complete::generate(shell, &mut Cli::command(), "pigeon-ctl", &mut to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    /// clap finds the value of an argument by its id, in commands and globally alike, and panics where two of one
    /// id have different types.
    #[test]
    fn no_argument_of_a_command_has_the_id_of_a_global_one() {
        fn own(command: &clap::Command, ids: &mut Vec<String>) {
            for sub in command.get_subcommands() {
                let args = sub.get_arguments().filter(|arg| !arg.is_global_set());
                ids.extend(args.map(|arg| arg.get_id().to_string()));
                own(sub, ids);
            }
        }
        let root = Cli::command();
        let globals = root.get_arguments().filter(|arg| arg.is_global_set());
        let globals: Vec<_> = globals.map(|arg| arg.get_id().to_string()).collect();
        let mut ids = Vec::new();
        own(&root, &mut ids);
        assert!(globals.len() > 8 && ids.len() > 100);
        let both: Vec<_> = globals.iter().filter(|id| ids.contains(id)).collect();
        assert!(both.is_empty(), "{both:?}");
        let longs = ["ca", "cert", "key"].map(|long| {
            root.get_arguments().any(|arg| arg.get_long() == Some(long) && arg.is_global_set())
        });
        assert_eq!(longs, [true; 3]);
    }

    #[test]
    fn json_is_noticed_in_a_line_that_does_not_parse() {
        let args = |s: &str| s.split(' ').map(OsString::from).collect::<Vec<_>>();
        for line in ["c nope -o json", "c -ojson x", "c --output=json", "c --output json"] {
            assert_eq!(json_wanted(&args(line)), Some(Output::Json), "{line}");
        }
        for line in ["c nope", "c -o yaml", "c json", "c --output=table"] {
            assert_eq!(json_wanted(&args(line)), None, "{line}");
        }
        assert_eq!(json_wanted(&args("c nope -o jsonl")), Some(Output::Jsonl));
    }
}
