//! Where the configuration comes from, and how it comes to serve.
//!
//! A source ([`stream`] or [`mod@file`]) follows the raw state: exactly what was sent or saved. [`serve`] applies
//! each raw state as far as it can be used, installs it, keeps it as last known good, and says what came of
//! it; the stream tells the admin.

pub mod address;
pub mod apply;
mod durable;
pub mod file;
pub mod identity;
pub mod last_known_good;
pub mod protocol;
pub mod serve;
pub mod stream;
pub mod token;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pigeon_proto::model::{Name, Snapshot};
use serde::Serialize;

pub use protocol::Held;

/// Where a configuration came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// There is none.
    #[default]
    None,
    /// From the admin, in this run.
    Stream,
    /// Last known good: from the admin, in an earlier run.
    Lkg,
    /// From the file given.
    File,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 4] = [Self::None, Self::Stream, Self::Lkg, Self::File];

    /// The word for it in metrics and status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Stream => "stream",
            Self::Lkg => "lkg",
            Self::File => "file",
        }
    }
}

/// A raw state, on its way from a source to [`serve`].
#[derive(Clone, Debug)]
pub struct Received {
    /// The state and whose it is.
    pub held: Held,
    /// Where it came from.
    pub source: Source,
    /// When it was known to be current.
    pub at: SystemTime,
}

/// One object that this proxy cannot use as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// Its kind, also where this version does not know it.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The version refused.
    pub mod_revision: u64,
    /// `PGN-P301` (cannot listen) or `PGN-P302` (cannot use).
    pub code: String,
    /// Why.
    pub message: String,
    /// The version still serving in its place; 0 = the object is not served at all.
    pub serving_mod_revision: u64,
}

/// What serves now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// Where it came from.
    pub source: Source,
    /// The raw state received last is of this revision; 0 = none.
    pub received: u64,
    /// The newest revision that served with nothing refused.
    pub effective: u64,
    /// What of the received state is not served as sent.
    pub rejected: Vec<Rejected>,
    /// Where listeners really listen.
    pub listen: BTreeMap<Name, SocketAddr>,
    /// The configuration that serves.
    pub config: Arc<Snapshot>,
    /// When the configuration was received, or for last known good saved.
    pub at: Option<SystemTime>,
}

/// How the connection to the source stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// A stream to the admin is open and was welcomed; always false with a file.
    pub connected: bool,
    /// When the admin last said anything.
    pub last_message: Option<SystemTime>,
    /// Why the last attempt or stream ended, or why the saved file was refused; gone once it works again.
    pub last_error: Option<String>,
    /// Every reason why the file that was saved last is not used.
    pub refused: Vec<String>,
}

/// How long things wait; the defaults are right outside of tests.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// How long a start waits for the admin before it serves last known good.
    pub first_contact: Duration,
    /// Between attempts to open listeners that could not be opened.
    pub listen_retry: Duration,
    /// Least time between two writes of last known good.
    pub save_every: Duration,
    /// Bounds of the delay before the admin is tried again.
    pub reconnect: (Duration, Duration),
    /// About how long to wait after the admin refused this proxy.
    pub refused: Duration,
    /// How long a connection to the admin may take to come about.
    pub connect: Duration,
    /// How long a file must rest after a change before it is read.
    pub file_settle: Duration,
    /// How often a file is looked at where the system does not report changes (network file systems).
    pub file_poll: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            first_contact: Duration::from_secs(2),
            listen_retry: Duration::from_secs(3),
            save_every: Duration::from_secs(1),
            reconnect: (Duration::from_millis(200), Duration::from_secs(30)),
            refused: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            file_settle: Duration::from_millis(100),
            file_poll: Duration::from_secs(2),
        }
    }
}

/// A text from outside, cut to what an acknowledgement or a log line should carry.
fn clip(text: &str) -> String {
    const MOST: usize = 500;
    if text.len() <= MOST {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MOST)])
}
