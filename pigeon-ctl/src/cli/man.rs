//! Man pages of the command tree.

use std::io;

use clap::builder::{Resettable, StyledStr};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::{Cli, text};

/// A page: the name of its file, and what is in it.
pub struct Page {
    /// Such as `pigeon-ctl-route-add.1`.
    pub file: String,
    /// In roff.
    pub text: Vec<u8>,
}

/// The page of the program itself, and one of each command and subcommand.
///
/// # Errors
/// None: memory takes everything.
pub fn pages() -> io::Result<Vec<Page>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    add(&root, &mut pages)?;
    if let Some(first) = pages.first_mut() {
        // Topics of `help` that have no page of their own.
        first.text.extend(verbatim("EXIT STATUS", text::EXIT_CODES)?);
        first.text.extend(verbatim("ENVIRONMENT", text::ENVIRONMENT)?);
    }
    Ok(pages)
}

fn add(command: &Command, pages: &mut Vec<Page>) -> io::Result<()> {
    pages.push(page(command)?);
    command.get_subcommands().filter(|sub| !sub.is_hide_set()).try_for_each(|sub| add(sub, pages))
}

fn page(command: &Command) -> io::Result<Page> {
    // clap_mangen would join the lines of examples; they are written here instead.
    let after = command.get_after_help().map(StyledStr::to_string);
    let man = Man::new(command.clone().after_help(Resettable::Reset));
    let mut text = Vec::new();
    man.render(&mut text)?;
    if let Some(after) = after {
        text.extend(verbatim("NOTES", &after)?);
    }
    Ok(Page { file: man.get_filename(), text })
}

/// A section whose lines stay as they are.
fn verbatim(heading: &str, lines: &str) -> io::Result<Vec<u8>> {
    let mut roff = Roff::new();
    roff.control("SH", [heading]).control("nf", []);
    for line in lines.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    let mut text = Vec::new();
    roff.to_writer(&mut text)?;
    Ok(text)
}
