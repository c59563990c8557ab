//! Questions: asked only where someone can answer.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::context::environment;
use crate::error::Failure;

use super::Desk;

/// Asks whether to go on; `--yes` answers it.
///
/// # Errors
/// There is no one to ask, or the answer is no.
pub(crate) fn confirm(desk: &Desk, question: &str) -> Result<(), Failure> {
    if desk.global.yes {
        return Ok(());
    }
    if !may_ask(desk) {
        let detail = format!("{question} There is no one to ask here; give -y to say yes");
        return Err(Failure::usage(detail));
    }
    let mut stderr = io::stderr();
    let _ = write!(stderr, "{question} [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" | "Yes" if read.is_ok() => Ok(()),
        _ => Err(Failure::declined("not confirmed; nothing was changed")),
    }
}

/// Whether there is someone at a terminal, who wants to be asked.
pub(crate) fn may_ask(desk: &Desk) -> bool {
    let set =
        |name: &str| environment(name).is_some_and(|v| !["0", "false", "no"].contains(&v.as_str()));
    let silenced = desk.global.no_input || set("PIGEON_NO_INPUT") || set("CI");
    !silenced && io::stdin().is_terminal() && io::stderr().is_terminal()
}
