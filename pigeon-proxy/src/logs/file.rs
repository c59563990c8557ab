//! A log file that is turned over by size and by day, kept for so long and so often, and opened anew when it is
//! told to. What is no plain file (a pipe, /dev/stderr) is written to as it is.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Collected before it is written.
const BUFFER: usize = 64 << 10;
/// How often a destination that takes nothing is spoken of.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// How often files that are too old are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// What follows the name of a file that was turned over: the moment, in UTC.
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// When a file is turned over, and what is kept of those that were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Before it gets larger than this.
    pub max_bytes: Option<u64>,
    /// With the first line of a day, in UTC.
    pub daily: bool,
    /// So many of those that were turned over.
    pub keep: usize,
    /// And none turned over longer ago.
    pub max_age: Option<Duration>,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { max_bytes: Some(100 << 20), daily: false, keep: 10, max_age: None }
    }
}

/// A file that cannot be a log.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the log {}: {source}; give another file, or make it writable for this user", .path.display())]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

/// Has a log file opened anew with its next line: after somebody else moved it away.
#[derive(Clone, Debug, Default)]
pub struct Reopen(Arc<AtomicBool>);

impl Reopen {
    /// Opens it anew.
    pub fn reopen(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The file.
pub struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    reopen: Reopen,
    clock: Box<dyn Fn() -> Timestamp + Send>,
    /// Neither turned over nor pruned.
    special: bool,
    open: Option<Open>,
    complained: Option<Instant>,
    pruned: Instant,
}

struct Open {
    file: BufWriter<File>,
    size: u64,
    day: i64,
}

impl LogFile {
    /// Opens the file. What is no plain file is opened with the first line, by whoever writes it: opening a pipe
    /// waits for its reader.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(path: &Path, rotation: Rotation) -> Result<Self, OpenError> {
        Self::with_clock(path, rotation, Timestamp::now)
    }

    fn with_clock(
        path: &Path,
        rotation: Rotation,
        clock: impl Fn() -> Timestamp + Send + 'static,
    ) -> Result<Self, OpenError> {
        let special =
            std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        let mut log = Self {
            path: path.to_owned(),
            rotation,
            reopen: Reopen::default(),
            clock: Box::new(clock),
            special,
            open: None,
            complained: None,
            pruned: Instant::now(),
        };
        if !special {
            let failed = |source| OpenError { path: path.to_owned(), source };
            log.open = Some(log.opened().map_err(failed)?);
            log.prune();
        }
        Ok(log)
    }

    /// For having it opened anew.
    pub fn reopener(&self) -> Reopen {
        self.reopen.clone()
    }

    fn opened(&self) -> io::Result<Open> {
        let mut options = OpenOptions::new();
        // What people's calls say is not for everybody on this machine.
        options.append(true).create(!self.special).mode(0o640);
        let file = options.open(&self.path)?;
        let found = file.metadata()?;
        let begun = found.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
        let size = found.len();
        let begun = begun.filter(|_| size > 0).unwrap_or_else(|| (self.clock)());
        Ok(Open { file: BufWriter::with_capacity(BUFFER, file), size, day: day(begun) })
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.reopen.0.swap(false, Ordering::AcqRel) {
            self.close();
        }
        if self.open.as_ref().is_some_and(|open| self.is_due(open, line.len())) {
            self.turn_over()?;
        }
        if self.open.is_none() {
            self.open = Some(self.opened()?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.file.write_all(line)?;
        open.size += line.len() as u64;
        if self.pruned.elapsed() >= PRUNE_EVERY {
            self.prune();
        }
        Ok(())
    }

    fn is_due(&self, open: &Open, more: usize) -> bool {
        let large = |most: u64| open.size > 0 && open.size + more as u64 > most;
        let old = || self.rotation.daily && open.size > 0 && open.day != day((self.clock)());
        !self.special && (self.rotation.max_bytes.is_some_and(large) || old())
    }

    /// Gives the file its name for keeping; the next line goes to a new one.
    fn turn_over(&mut self) -> io::Result<()> {
        self.close();
        let stamp = (self.clock)().strftime(STAMP).to_string();
        let mut to = self.kept_as(&stamp, 0);
        // Several in a second.
        for n in 1..10_000 {
            if !to.try_exists().unwrap_or(false) {
                break;
            }
            to = self.kept_as(&stamp, n);
        }
        match std::fs::rename(&self.path, to) {
            // Somebody else has moved it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.prune();
        Ok(())
    }

    fn kept_as(&self, stamp: &str, n: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(if n == 0 { format!(".{stamp}") } else { format!(".{stamp}.{n:04}") });
        name.into()
    }

    fn close(&mut self) {
        if let Some(mut open) = self.open.take()
            && let Err(error) = open.file.flush()
        {
            self.complain(&error);
        }
    }

    /// Removes what is too old or too much.
    fn prune(&mut self) {
        self.pruned = Instant::now();
        let kept = self.kept();
        let now = (self.clock)();
        let too_old = |stamp: &str| {
            let at = jiff::civil::DateTime::strptime(STAMP, stamp).ok();
            let at = at.and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok());
            let age = at.map(|at| now.as_second() - at.timestamp().as_second());
            let most = self.rotation.max_age.map(|most| most.as_secs() as i64);
            matches!((age, most), (Some(age), Some(most)) if age > most)
        };
        let surplus = kept.len().saturating_sub(self.rotation.keep);
        for (n, (path, stamp)) in kept.iter().enumerate() {
            if n < surplus || too_old(stamp) {
                // Tried again with the next.
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// The files that were turned over, the oldest first, each with its moment.
    fn kept(&self) -> Vec<(PathBuf, String)> {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let mut prefix = self.path.file_name().map(OsString::from).unwrap_or_default();
        prefix.push(".");
        let Some(prefix) = prefix.to_str() else { return Vec::new() };
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut kept: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name();
                let stamp = stamp_of(name.to_str()?.strip_prefix(prefix)?)?;
                Some((entry.path(), stamp.to_owned()))
            })
            .collect();
        kept.sort();
        kept
    }

    /// Once a minute at most: every line may fail.
    fn complain(&mut self, error: &io::Error) {
        if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            tracing::warn!(%error, "lines of the log {} are lost", self.path.display());
        }
    }
}

impl Write for LogFile {
    /// Takes one whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.line(line) {
            Ok(()) => Ok(line.len()),
            Err(error) => {
                self.complain(&error);
                if self.special {
                    // The reader of a pipe went away; the next one gets what follows.
                    self.open = None;
                }
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let flushed = open.file.flush();
        if let Err(error) = &flushed {
            self.complain(error);
        }
        flushed
    }
}

fn day(at: Timestamp) -> i64 {
    at.as_second().div_euclid(86_400)
}

/// `20261125T035512Z`, alone or with a number.
fn stamp_of(rest: &str) -> Option<&str> {
    let (stamp, number) = rest.split_at_checked(16)?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let good = digits(&stamp[..8])
        && &stamp[8..9] == "T"
        && digits(&stamp[9..15])
        && stamp.ends_with('Z')
        && (number.is_empty() || number.strip_prefix('.').is_some_and(digits));
    good.then_some(stamp)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|e| e.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    fn at(second: &Arc<AtomicI64>) -> impl Fn() -> Timestamp + Send + 'static {
        let second = Arc::clone(second);
        move || Timestamp::from_second(second.load(Ordering::Relaxed)).expect("a time")
    }

    #[test]
    fn size_turns_it_over_and_the_oldest_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        std::fs::write(folder.path().join("access.log.old"), "theirs").expect("written");
        let clock = Arc::new(AtomicI64::new(1_000_000_000));
        let rotation = Rotation { max_bytes: Some(10), keep: 2, ..Rotation::default() };
        let mut log = LogFile::with_clock(&path, rotation, at(&clock)).expect("open");
        for n in 0..9 {
            clock.fetch_add(n % 2, Ordering::Relaxed);
            log.write_all(format!("{n}234\n").as_bytes()).expect("written");
        }
        log.flush().expect("flushed");
        let found = names(folder.path());
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found.contains(&"access.log.old".to_owned()), "what is not ours stays: {found:?}");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "8234\n");
        let kept: String =
            log.kept().iter().map(|(p, _)| std::fs::read_to_string(p).expect("there")).collect();
        assert_eq!(kept, "4234\n5234\n6234\n7234\n");
    }

    #[test]
    fn a_day_turns_it_over_and_age_removes_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        let clock = Arc::new(AtomicI64::new(86_400 * 20_000 + 86_390));
        let day = Duration::from_secs(86_400);
        let rotation = Rotation { daily: true, max_age: Some(day * 2), ..Rotation::default() };
        let mut log = LogFile::with_clock(&path, rotation, at(&clock)).expect("open");
        for _ in 0..3 {
            log.write_all(b"x\n").expect("written");
            clock.fetch_add(86_400, Ordering::Relaxed);
        }
        log.write_all(b"y\n").expect("written");
        log.flush().expect("flushed");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "y\n");
        assert_eq!(log.kept().len(), 3);
        clock.fetch_add(86_400 * 2, Ordering::Relaxed);
        log.prune();
        assert_eq!(log.kept().len(), 1, "{:?}", log.kept());
    }

    #[test]
    fn what_somebody_moved_away_is_opened_anew_when_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, moved) = (folder.path().join("a.log"), folder.path().join("a.log.1"));
        let mut log = LogFile::open(&path, Rotation::default()).expect("open");
        log.write_all(b"1\n").expect("written");
        std::fs::rename(&path, &moved).expect("moved");
        log.write_all(b"2\n").expect("written");
        log.reopener().reopen();
        log.write_all(b"3\n").expect("written");
        log.flush().expect("flushed");
        assert_eq!(std::fs::read_to_string(&moved).expect("there"), "1\n2\n");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "3\n");
    }

    #[test]
    fn a_full_disk_loses_lines_but_not_the_log() {
        let mut log = LogFile::open(Path::new("/dev/full"), Rotation::default()).expect("open");
        log.write_all(b"1\n").expect("collected");
        assert!(log.flush().is_err());
        let folder = tempfile::tempdir().expect("a folder");
        let error = LogFile::open(folder.path(), Rotation::default()).err().expect("a folder");
        assert!(error.to_string().contains("give another file"), "{error}");
    }
}
