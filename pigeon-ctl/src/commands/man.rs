//! `man`

use std::fs;
use std::io;
use std::path::Path;

use super::Desk;
use crate::Outcome;
use crate::cli::man_pages;
use crate::error::{Exit, Failure};

pub(crate) fn man(desk: &Desk, folder: Option<&Path>) -> Outcome {
    let cannot_make = |e| Failure::bug(format!("the pages cannot be made: {e}"));
    let pages = man_pages().map_err(cannot_make)?;
    let Some(folder) = folder else {
        let first = pages.first().map(|page| String::from_utf8_lossy(&page.text));
        return desk.out.text(&first.unwrap_or_default()).map(|()| Exit::Done);
    };
    let cannot = |path: &Path, e: io::Error| {
        Failure::system(format!("cannot write {}: {e}", path.display()))
    };
    fs::create_dir_all(folder).map_err(|e| cannot(folder, e))?;
    for page in &pages {
        let path = folder.join(&page.file);
        fs::write(&path, &page.text).map_err(|e| cannot(&path, e))?;
    }
    desk.out.done(&format!("{} pages written to {}", pages.len(), folder.display()))?;
    Ok(Exit::Done)
}
