//! Failures as text for people, and as problem documents for programs.

use std::fmt::Write as _;
use std::io::Write as _;

use pigeon_proto::model::FieldError;

use super::{Failure, Problem};
use crate::cli::Output;

const RED: &str = "\x1b[1;31m";
const RESET: &str = "\x1b[0m";

/// Writes a failure to standard error, in the form that goes with the format asked for.
pub fn print(failure: &Failure, format: Output) {
    // There is no one left to tell that standard error is closed.
    let _ = match format {
        Output::Json => match serde_json::to_string_pretty(&failure.problem) {
            Ok(json) => writeln!(std::io::stderr(), "{json}"),
            Err(_) => writeln!(std::io::stderr(), "{{}}"),
        },
        Output::Jsonl => {
            let json = serde_json::to_string(&failure.problem).unwrap_or_else(|_| "{}".to_owned());
            writeln!(std::io::stderr(), "{json}")
        }
        Output::Table | Output::Yaml => write!(anstream::stderr(), "{}", text(&failure.problem)),
    };
}

/// The form of docs/cli.md, "Output".
fn text(problem: &Problem) -> String {
    let mut text = format!("{RED}error:{RESET} {}\n", headline(problem));
    for error in &problem.errors {
        let mut place = String::new();
        if problem.errors.len() > 1
            && let Some(object) = &error.object
        {
            place.push_str(object);
            place.push(' ');
        }
        place.push_str(&error.pointer);
        let place = place.trim_end();
        let colon = if place.is_empty() { "" } else { ": " };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {place}{colon}{}", clean(&error.message));
    }
    if !problem.next.is_empty() {
        text.push_str("next:\n");
        for command in &problem.next {
            let _ = writeln!(text, "  {}", clean(command));
        }
    }
    if let Some(code) = &problem.code {
        let _ = writeln!(text, "code {}", clean(code));
    }
    text
}

/// What is wrong, in one line.
fn headline(problem: &Problem) -> String {
    match &problem.errors[..] {
        [] if problem.detail.is_empty() => clean(&problem.title),
        [] => clean(&problem.detail),
        [one] => field(one),
        many => format!("{} ({} errors)", lower(&clean(&problem.title)), many.len()),
    }
}

/// `route/asr: there is no engine "asr"`; where the message is about the field, the field is named.
fn field(error: &FieldError) -> String {
    let message = clean(&error.message);
    let short = message.split("; ").next().unwrap_or_default();
    let about_the_field = ["is ", "has ", "must ", "excludes ", "the number "];
    let name = error.pointer.trim_start_matches("/spec").trim_start_matches('/').replace('/', ".");
    let mut line = error.object.as_ref().map(|o| format!("{}: ", clean(o))).unwrap_or_default();
    if !name.is_empty() && about_the_field.iter().any(|verb| short.starts_with(verb)) {
        line.push_str(&clean(&name));
        line.push(' ');
    }
    line + short
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// Keeps what a server or a file says from steering the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Problem;
    use super::*;

    fn plain(problem: &Problem) -> String {
        text(problem).replace(RED, "").replace(RESET, "")
    }

    #[test]
    fn one_error_is_said_in_the_headline() {
        let message = "there is no engine \"asr\"; add it first";
        let error = FieldError::new("/spec/engine", "PGN-R101", message).of("route/asr");
        let problem = Problem {
            errors: vec![error],
            next: vec!["pigeon-ctl engine list".into()],
            code: Some("PGN-R101".into()),
            ..Problem::default()
        };
        let expected = "error: route/asr: there is no engine \"asr\"\n  /spec/engine: there is no engine \"asr\"; add it first\nnext:\n  pigeon-ctl engine list\ncode PGN-R101\n";
        assert_eq!(plain(&problem), expected);
    }

    #[test]
    fn a_message_about_a_field_names_it() {
        let error = FieldError::new("/spec/pool/slots", "PGN-V105", "is 0; it must be from 1");
        let problem = Problem { errors: vec![error.of("engine/a")], ..Problem::default() };
        assert!(plain(&problem).starts_with("error: engine/a: pool.slots is 0\n"));
    }

    #[test]
    fn several_errors_are_counted_and_listed_with_their_objects() {
        let error = |o: &str| FieldError::new("/spec/x", "PGN-V101", "there is no field").of(o);
        let problem = Problem {
            title: "The configuration is not valid".into(),
            errors: vec![error("engine/a"), error("engine/b")],
            ..Problem::default()
        };
        let text = plain(&problem);
        assert!(text.starts_with("error: the configuration is not valid (2 errors)\n"), "{text}");
        assert!(text.contains("  engine/b /spec/x: there is no field\n"), "{text}");
    }

    #[test]
    fn nothing_a_server_says_reaches_the_terminal_raw() {
        let problem = Problem { detail: "a\x1b[2Jb".into(), ..Problem::default() };
        assert!(!plain(&problem).contains('\x1b'));
    }
}
