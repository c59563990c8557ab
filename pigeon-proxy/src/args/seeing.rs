//! What the proxy tells about itself and its calls: the part of the command line for logs.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::Switch;
use crate::app::TraceConfig;
use crate::logs::{self, Rotation};
use crate::record::{self, LogSettings};

/// Logs.
#[derive(Debug, clap::Args)]
pub struct SeeingArgs {
    /// Lines about calls
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub access_log: AccessLogChoice,

    /// File for the access log [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub access_log_file: Option<PathBuf>,

    /// Part of the calls that is written down, from 0 to 1
    #[arg(long, value_name = "PART", default_value = "1", value_parser = part)]
    pub access_log_sample: f64,

    /// Write calls that fail whether they are of that part or not
    #[arg(long, value_name = "ON|OFF", default_value = "on")]
    pub access_log_errors: Switch,

    /// A line also when a call goes to its engine, not only at its end
    #[arg(long)]
    pub access_log_start: bool,

    /// A line as often as this for calls that go on, such as 60s
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub access_log_interval: Option<Duration>,

    /// Send traces to this collector, by OTLP over gRPC, such as http://127.0.0.1:4317
    #[arg(long, value_name = "URL", value_parser = collector)]
    pub otlp: Option<http::Uri>,

    /// Part of the traces that begin here which is kept, from 0 to 1; those that callers keep are all kept
    #[arg(long, value_name = "PART", default_value = "1", value_parser = part, requires = "otlp")]
    pub otlp_sample: f64,

    /// Form of the process's own log; PIGEON_LOG sets its level (such as info,pigeon_proxy::relay=debug),
    /// PUT /log on the status port changes it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// File for the process's own log [default: standard error]
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,

    /// Turn a log file over before it gets larger than this; 0 = never
    #[arg(long, value_name = "SIZE", default_value = "100MiB", value_parser = size)]
    pub log_max_size: u64,

    /// Turn log files over each day, in UTC
    #[arg(long)]
    pub log_daily: bool,

    /// Files that were turned over and are kept, of each log
    #[arg(long, value_name = "N", default_value = "10")]
    pub log_keep: usize,

    /// Remove files that were turned over longer ago than this, such as 30days
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub log_max_age: Option<Duration>,
}

/// What `--access-log` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AccessLogChoice {
    /// None.
    Off,
    /// Lines for people.
    Text,
    /// JSON objects.
    Json,
}

/// What `--log-format` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// JSON objects.
    Json,
}

impl SeeingArgs {
    /// Where traces go.
    pub(super) fn traces(&self) -> Option<TraceConfig> {
        let sample = self.otlp_sample;
        self.otlp.clone().map(|to| TraceConfig { to, sample })
    }

    /// The logs that are asked for.
    pub fn logs(&self) -> logs::Wanted {
        logs::Wanted {
            json: self.log_format == LogFormat::Json,
            file: self.log_file.clone(),
            access: match self.access_log {
                AccessLogChoice::Off => record::LogFormat::Off,
                AccessLogChoice::Text => record::LogFormat::Text,
                AccessLogChoice::Json => record::LogFormat::Json,
            },
            access_file: self.access_log_file.clone(),
            settings: LogSettings {
                sample: self.access_log_sample,
                errors: self.access_log_errors == Switch::On,
                start: self.access_log_start,
                interval: self.access_log_interval,
            },
            rotation: Rotation {
                max_bytes: Some(self.log_max_size).filter(|size| *size > 0),
                daily: self.log_daily,
                keep: self.log_keep,
                max_age: self.log_max_age,
            },
        }
    }
}

pub(super) fn part(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => Err("give a number from 0 to 1, such as 0.01".to_owned()),
    }
}

fn collector(text: &str) -> Result<http::Uri, String> {
    const EXAMPLE: &str = "write it like http://127.0.0.1:4317";
    if cfg!(not(feature = "otlp")) {
        return Err("this program was built without OTLP".to_owned());
    }
    let url = text.parse::<http::Uri>().map_err(|e| format!("{e}; {EXAMPLE}"))?;
    if url.scheme_str() == Some("https") {
        return Err("https to a collector is not supported; run one on this machine".to_owned());
    }
    let whole = url.scheme_str() == Some("http")
        && url.host().is_some()
        && url.authority().is_none_or(|authority| !authority.as_str().contains('@'))
        && matches!(url.path(), "" | "/")
        && url.query().is_none();
    if whole { Ok(url) } else { Err(EXAMPLE.to_owned()) }
}

fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time >= Duration::from_secs(1) => Ok(time),
        Ok(_) => Err("give at least 1s".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("", 1),
    ];
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let number = digits.trim_end().parse::<u64>().ok();
    let size = unit.zip(number).and_then(|((_, unit), number)| number.checked_mul(*unit));
    size.ok_or_else(|| "write it like 100MiB, or 0 for never".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_parts() {
        for (text, bytes) in
            [("0", 0), ("7", 7), ("100MiB", 100 << 20), ("1 kb", 1_000), ("2gib", 2 << 30)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "-1", "1.5MiB", "1 parsec", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!((part("0.01"), part("1")), (Ok(0.01), Ok(1.0)));
        for bad in ["-0.1", "1.1", "NaN", "half"] {
            assert!(part(bad).is_err(), "{bad}");
        }
        assert!(collector("http://127.0.0.1:4317").is_ok());
        for bad in [
            "127.0.0.1:4317",
            "https://c:1",
            "http://c:1/v1/traces",
            "http://u:p@c:1",
            "grpc://c:1",
        ] {
            assert!(collector(bad).is_err(), "{bad}");
        }
        assert!(interval("10ms").is_err() && interval("1m").is_ok());
    }
}
