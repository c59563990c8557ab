//! The private file that is edited, and the editor.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

use pigeon_proto::model::Key;
use tempfile::TempPath;

use crate::context::environment;
use crate::error::Failure;

/// How a shell says that it found no such program, or that it is none.
const NOT_STARTED: [i32; 2] = [126, 127];

/// A file that is removed in the end, unless it is kept.
pub(super) struct Draft {
    path: TempPath,
    shown: String,
}

impl Draft {
    /// Makes the file; nobody else may read it.
    pub(super) fn new(key: &Key, heading: &str, document: &str) -> Result<Self, Failure> {
        let cannot = |e: io::Error| Failure::system(format!("cannot make a file to edit: {e}"));
        // Temporary files have mode 0600.
        let file = tempfile::Builder::new()
            .prefix(&format!("pigeon-{}-{}-", key.kind, key.name))
            .suffix(".yaml")
            .tempfile()
            .map_err(cannot)?;
        let mut draft = Self { path: file.into_temp_path(), shown: String::new() };
        draft.show(heading, document)?;
        Ok(draft)
    }

    /// What the editor was last given.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Has someone edit it; gives what was saved.
    ///
    /// # Errors
    /// The editor failed, or its file cannot be read. Work that was saved is kept.
    pub(super) fn edit(&mut self) -> Result<String, Failure> {
        let ran = run_editor(&self.path);
        let saved = fs::read_to_string(&self.path);
        match (ran, saved) {
            (Ok(()), Ok(text)) => Ok(text),
            (Ok(()), Err(e)) => {
                let detail = format!("cannot read {}: {e}; nothing was sent", self.path.display());
                Err(Failure::system(detail))
            }
            (Err(mut failure), saved) => {
                if saved.is_ok_and(|text| text != self.shown) {
                    let path = self.keep()?;
                    failure.problem.detail += &format!("; what you saved is kept in {path}");
                }
                Err(failure)
            }
        }
    }

    /// Puts `heading` before what was saved, in place of the one before.
    pub(super) fn refuse(&mut self, heading: &str) -> Result<(), Failure> {
        let cannot = |e| Failure::system(format!("cannot read {}: {e}", self.path.display()));
        let saved = fs::read_to_string(&self.path).map_err(cannot)?;
        let document = saved.split_inclusive('\n').skip_while(|line| line.starts_with('#'));
        self.show(heading, &document.collect::<String>())
    }

    fn show(&mut self, heading: &str, document: &str) -> Result<(), Failure> {
        let comment: String = heading.lines().map(|line| format!("# {line}\n")).collect();
        self.shown = comment + document;
        // Written in place, so that the mode stays.
        let file = fs::OpenOptions::new().write(true).truncate(true).open(&self.path);
        file.and_then(|mut file| file.write_all(self.shown.as_bytes()))
            .map_err(|e| Failure::system(format!("cannot write {}: {e}", self.path.display())))
    }

    /// Leaves the file where it is, and says where.
    pub(super) fn keep(&mut self) -> Result<String, Failure> {
        let path = self.path.display().to_string();
        self.path.disable_cleanup(true);
        Ok(path)
    }
}

/// Runs the editor as git does: by the shell, so that it may have arguments.
fn run_editor(file: &Path) -> Result<(), Failure> {
    let editor = ["VISUAL", "EDITOR"].into_iter().find_map(environment);
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(file);
    let status = command
        .status()
        .map_err(|e| Failure::system(format!("cannot start the editor \"{editor}\": {e}")))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) if NOT_STARTED.contains(&code) => {
            let detail = format!("the editor \"{editor}\" cannot be started; nothing was sent");
            Err(Failure::system(detail).next("set VISUAL or EDITOR to an editor that is there"))
        }
        _ => {
            let detail = format!("the editor \"{editor}\" ended with {status}; nothing was sent");
            Err(Failure::declined(detail))
        }
    }
}
