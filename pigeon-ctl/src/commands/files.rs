//! Objects from files, folders and standard input.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pigeon_proto::model::{Errors, FieldError, Key, Object, code, document};

use crate::cli::FileArgs;
use crate::error::Failure;

/// Largest file that is read, in bytes: as much as the server takes.
const LARGEST: u64 = 32 << 20;
/// How deep folders are followed.
const DEEPEST: usize = 32;

/// Objects, and the file each comes from.
pub(super) struct Found {
    /// In the order they were found.
    pub(super) objects: Vec<Object>,
    /// Where each was found.
    pub(super) places: BTreeMap<Key, String>,
}

/// Errors, each with the file it is in.
pub(super) type Faults = Vec<(String, FieldError)>;

/// Reads every object of every file.
///
/// # Errors
/// A file cannot be read, there is no object at all, or objects are not valid: then all errors of all files.
pub(super) fn read(args: &FileArgs) -> Result<Found, Failure> {
    let (found, faults) = scan(args)?;
    let errors = Errors(faults.into_iter().map(|(place, error)| at(error, &place)).collect());
    errors.into_result().map_err(Failure::invalid)?;
    Ok(found)
}

/// Reads the objects that can be read, and says what is wrong with the others.
///
/// # Errors
/// A file cannot be read, or there is no object at all.
pub(super) fn scan(args: &FileArgs) -> Result<(Found, Faults), Failure> {
    let mut faults = Faults::new();
    let mut found = Found { objects: Vec::new(), places: BTreeMap::new() };
    for file in &files(args)? {
        let place = if is_stdin(file) { "stdin".to_owned() } else { file.display().to_string() };
        match text(file)?.map(|text| document::parse(&text)) {
            None => faults.push((place, not_text())),
            Some(Ok(objects)) => found.take(objects, &place, &mut faults),
            Some(Err(wrong)) => faults.extend(wrong.0.into_iter().map(|e| (place.clone(), e))),
        }
    }
    if found.objects.is_empty() && faults.is_empty() {
        let names: Vec<_> = args.files.iter().map(|f| f.display().to_string()).collect();
        return Err(Failure::usage(format!("there is no object in {}", names.join(", "))));
    }
    Ok((found, faults))
}

impl Found {
    fn take(&mut self, objects: Vec<Object>, place: &str, faults: &mut Faults) {
        for object in objects {
            if let Some(first) = self.places.get(&object.key) {
                let message = format!("{} is also in {first}; keep one", object.key);
                let error = FieldError::new("/name", code::DUPLICATE_OBJECT, message);
                faults.push((place.to_owned(), error.of(&object.key)));
            } else {
                self.places.insert(object.key.clone(), place.to_owned());
                self.objects.push(object);
            }
        }
    }

    /// Names the file beside the object in each of a server's errors.
    pub(super) fn name_files(&self, mut failure: Failure) -> Failure {
        for error in &mut failure.problem.errors {
            let place = self.places.iter().find(|(k, _)| error.object == Some(k.to_string()));
            if let Some((key, place)) = place {
                error.object = Some(format!("{place}: {key}"));
            }
        }
        failure
    }
}

fn at(mut error: FieldError, place: &str) -> FieldError {
    error.object = Some(match error.object {
        Some(object) => format!("{place}: {object}"),
        None => place.to_owned(),
    });
    error
}

pub(super) fn not_text() -> FieldError {
    FieldError::new("", code::MALFORMED, "is not text (UTF-8); save it as UTF-8")
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Every file that is meant.
pub(super) fn files(args: &FileArgs) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in &args.files {
        let is_folder = !is_stdin(path) && path.is_dir();
        if !is_folder {
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        folder(path, if args.recursive { DEEPEST } else { 0 }, &mut files)?;
        if files.len() == before {
            let hint = if args.recursive { "" } else { "; -R also reads the folders in it" };
            let detail = format!("{}: no *.yaml, *.yml or *.json there{hint}", path.display());
            return Err(Failure::usage(detail));
        }
    }
    Ok(files)
}

fn folder(path: &Path, deeper: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let cannot = |e: io::Error| Failure::usage(format!("cannot read {}: {e}", path.display()));
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(cannot)? {
        entries.push(entry.map_err(cannot)?.path());
    }
    entries.sort();
    for entry in entries {
        let extension = entry.extension().and_then(|e| e.to_str());
        if entry.is_dir() {
            if deeper > 0 {
                folder(&entry, deeper - 1, files)?;
            }
        } else if matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(entry);
        }
    }
    Ok(())
}

/// The text of a file; none if it is not UTF-8.
pub(super) fn text(path: &Path) -> Result<Option<String>, Failure> {
    let cannot = |e: io::Error| Failure::usage(format!("cannot read {}: {e}", path.display()));
    let source: Box<dyn Read> = if is_stdin(path) {
        Box::new(io::stdin().lock())
    } else {
        Box::new(fs::File::open(path).map_err(cannot)?)
    };
    let mut bytes = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > LARGEST {
        let detail = format!("{} has more than {} MiB; split it", path.display(), LARGEST >> 20);
        return Err(Failure::usage(detail));
    }
    Ok(String::from_utf8(bytes).ok())
}
