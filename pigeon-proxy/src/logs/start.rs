//! Opening the logs of a process: once, at its start.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, reload};

use super::{Levels, Lines, LogFile, OpenError, Reopen, Rotation, filter};
use crate::record::{AccessLog, LogFormat, LogSettings};

/// How long the end of a process waits for a destination that takes nothing.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What a process is asked to write.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The process's own log as JSON.
    pub json: bool,
    /// Its file; none = standard error.
    pub file: Option<PathBuf>,
    /// The access log.
    pub access: LogFormat,
    /// Its file; none = standard output.
    pub access_file: Option<PathBuf>,
    /// Which calls are in it.
    pub settings: LogSettings,
    /// Of all files.
    pub rotation: Rotation,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file.
    #[error("{0}")]
    Open(OpenError),
    /// Two logs that would turn each other over.
    #[error("--log-file and --access-log-file are both {}; give each log its own file", .0.display())]
    Same(PathBuf),
    /// A file for nothing.
    #[error("--access-log-file is given, but --access-log is off; leave one of them out")]
    Off,
    /// No thread.
    #[error("cannot start the thread of a log: {0}")]
    Thread(io::Error),
}

/// The logs of a process.
pub struct Logs {
    access: AccessLog,
    levels: Levels,
    lines: Vec<Lines>,
    files: Vec<Reopen>,
}

impl Logs {
    /// Opens them, and makes the process's own log what `tracing` writes to. `level` = what was asked for by the
    /// environment.
    ///
    /// # Errors
    /// A file cannot be written, or what is asked for does not go together.
    pub fn start(wanted: &Wanted, level: Option<String>) -> Result<Self, StartError> {
        if let (Some(one), true) = (&wanted.file, wanted.file == wanted.access_file) {
            return Err(StartError::Same(one.clone()));
        }
        let (mut lines, mut files) = (Vec::new(), Vec::new());
        let mut open = |name: &str, path: &Path| {
            let file = LogFile::open(path, wanted.rotation).map_err(StartError::Open)?;
            files.push(file.reopener());
            lines.push(Lines::start(name, file).map_err(StartError::Thread)?);
            Ok(lines[lines.len() - 1].clone())
        };
        let own = wanted.file.as_deref().map(|path| open("log", path)).transpose()?;
        let access = match (wanted.access, &wanted.access_file) {
            (LogFormat::Off, Some(_)) => return Err(StartError::Off),
            (LogFormat::Off, None) => None,
            (_, Some(path)) => Some(open("access-log", path)?),
            (_, None) => {
                let to = io::BufWriter::new(Stdout);
                lines.push(Lines::start("access-log", to).map_err(StartError::Thread)?);
                lines.last().cloned()
            }
        };
        let access = access.map(|to| AccessLog::new(wanted.access, to, wanted.settings));
        let levels = init(own, wanted.json, level);
        Ok(Self { access: access.unwrap_or(AccessLog::off()), levels, lines, files })
    }

    /// The access log.
    pub fn access(&self) -> AccessLog {
        self.access.clone()
    }

    /// The level of the process's own log.
    pub fn levels(&self) -> Levels {
        self.levels.clone()
    }

    /// For having the files opened anew.
    pub fn reopeners(&self) -> Vec<Reopen> {
        self.files.clone()
    }

    /// Writes out what is left; a destination that takes nothing is not waited for.
    pub fn end(&self) {
        for lines in &self.lines {
            lines.flush(LAST_LINES);
        }
    }
}

/// Standard output without its lock and its buffer, which a reader that is stuck would keep from everybody.
struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(rustix::stdio::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn init(lines: Option<Lines>, json: bool, asked: Option<String>) -> Levels {
    let asked = asked.filter(|asked| !asked.is_empty()).unwrap_or_else(|| "info".to_owned());
    let (filter, wrong) = match filter(&asked) {
        Ok(filter) => (filter, None),
        Err(e) => (EnvFilter::new("info"), Some(e)),
    };
    let lasting = if wrong.is_none() { &asked } else { "info" };
    let (filter, handle) = reload::Layer::new(filter);
    let ansi = lines.is_none() && io::stderr().is_terminal();
    let writer = match lines {
        Some(lines) => BoxMakeWriter::new(lines),
        None => BoxMakeWriter::new(io::stderr),
    };
    // A log that nobody reads any more must not end the proxy: saying so would panic.
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).log_internal_errors(false);
    let all = tracing_subscriber::registry().with(filter);
    if json {
        all.with(layer.json().flatten_event(true)).init();
    } else {
        all.with(layer.with_ansi(ansi)).init();
    }
    if let Some(e) = wrong {
        tracing::warn!("PIGEON_LOG is not a level: {e}; using info");
    }
    Levels::new(handle, lasting)
}
