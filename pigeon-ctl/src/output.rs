//! Printing: tables for people, JSON and YAML for programs; a reader that leaves early is no error.

pub mod table;
pub mod time;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::Value;

use crate::cli::{Color, Global, Output};
use crate::error::Failure;

/// Where and how a command prints.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    format: Output,
    quiet: bool,
}

impl Printer {
    /// Of the global flags; also settles for the whole program whether there are colours.
    pub fn new(global: &Global) -> Self {
        match global.color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::AlwaysAnsi,
            Color::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        Self { format: global.output.unwrap_or_default(), quiet: global.quiet }
    }

    /// The format asked for.
    pub fn format(&self) -> Output {
        self.format
    }

    /// Whether people read it on a terminal: then hints make sense.
    pub fn is_terminal(&self) -> bool {
        self.format == Output::Table && !self.quiet && io::stdout().is_terminal()
    }

    /// Prints text that was asked for.
    ///
    /// # Errors
    /// Standard output cannot be written, for another reason than that nobody reads it.
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        self.reaches(text).map(|_| ())
    }

    /// Prints text, and says whether there still is someone to read it.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn reaches(&self, text: &str) -> Result<bool, Failure> {
        let mut stdout = anstream::stdout();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(e) => Err(Failure::system(format!("cannot write to standard output: {e}"))),
        }
    }

    /// Prints a line about what was done; silent with `--quiet`.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn done(&self, line: &str) -> Result<(), Failure> {
        if self.quiet { Ok(()) } else { self.text(&format!("{line}\n")) }
    }

    /// Prints a value as JSON or YAML if one of these was asked for; says whether it did.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn value(&self, value: &Value) -> Result<bool, Failure> {
        match self.format {
            Output::Table => return Ok(false),
            Output::Json => self.text(&format!("{value:#}\n"))?,
            Output::Jsonl => self.text(&json_lines(value))?,
            Output::Yaml => self.text(&yaml(value)?)?,
        }
        Ok(true)
    }
}

/// Warns, or tells what a program need not read: to standard error.
pub fn note(line: &str) {
    // There is no one left to tell that standard error is closed.
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// A line of JSON for each item of a list, or for what is no list.
pub fn json_lines(value: &Value) -> String {
    match value.get("items").and_then(Value::as_array) {
        Some(items) => items.iter().map(|item| format!("{item}\n")).collect(),
        None => format!("{value}\n"),
    }
}

/// YAML, with a newline at the end.
///
/// # Errors
/// None for what this program writes.
pub fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_saphyr::to_string(value)
        .map_err(|e| Failure::bug(format!("cannot be written as YAML: {e}")))?;
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}
