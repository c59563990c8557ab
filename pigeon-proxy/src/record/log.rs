//! The access log: one line per call, written without waiting for the disk.

use std::io::Write as _;

use tracing_appender::non_blocking::NonBlocking;

use super::line::Line;

/// How a line of the access log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// No access log.
    #[default]
    Off,
    /// Words separated by spaces.
    Text,
    /// One JSON object per line.
    Json,
}

/// Where and how the access log is written. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: LogFormat,
    writer: Option<NonBlocking>,
}

impl AccessLog {
    /// No access log.
    pub fn off() -> Self {
        Self { format: LogFormat::Off, writer: None }
    }

    /// A log of this format; a line that finds the writer's buffer full is dropped, never waited for.
    pub fn new(format: LogFormat, writer: NonBlocking) -> Self {
        let writer = (format != LogFormat::Off).then_some(writer);
        Self { format, writer }
    }

    /// Whether lines are written at all.
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    pub(super) fn write(&self, line: &Line<'_>) {
        let text = match self.format {
            LogFormat::Off => return,
            LogFormat::Text => line.text(),
            LogFormat::Json => line.json(),
        };
        if let Some(mut writer) = self.writer.clone() {
            // Handing over to the writer's thread; it counts what it has to drop.
            let _ = writer.write_all(text.as_bytes());
        }
    }
}
