//! The access log: which calls get which lines. Lines go out without waiting for the disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::line::{Event, Line};
use super::open::Open;
use crate::logs::Lines;

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

/// Which calls are written down, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogSettings {
    /// The part of the calls, from 0 to 1.
    pub sample: f64,
    /// Calls that fail are written whether they are of that part or not.
    pub errors: bool,
    /// Calls of that part get a line when they have found their engine, too.
    pub start: bool,
    /// Calls of that part that go on get a line as often as this.
    pub interval: Option<Duration>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { sample: 1.0, errors: true, start: false, interval: None }
    }
}

/// What is written of a call; decided when it begins, so that its lines agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    All,
    /// Its end, if it fails.
    Failure,
    Nothing,
}

/// Where and how the access log is written. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct AccessLog(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    format: LogFormat,
    lines: Lines,
    settings: LogSettings,
    /// Calls that get a line from time to time, by the place they are at.
    open: [Mutex<Shard>; SHARDS],
}

/// Open calls, by the place they are at.
type Shard = HashMap<usize, Arc<Open>>;

/// So that workers rarely wait for each other.
const SHARDS: usize = 16;
/// How often the open calls are looked at, at most.
const LOOK: Duration = Duration::from_secs(1);

impl AccessLog {
    /// No access log.
    pub fn off() -> Self {
        Self(None)
    }

    /// A log of this format; a line for which there is no room is dropped, never waited for.
    pub fn new(format: LogFormat, lines: Lines, settings: LogSettings) -> Self {
        let open = std::array::from_fn(|_| Mutex::default());
        let inner = || Arc::new(Inner { format, lines, settings, open });
        Self((format != LogFormat::Off).then(inner))
    }

    /// Whether lines are written at all.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Lines that could not be written.
    pub fn lost(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.lines.lost())
    }

    /// What is written of a call with this random number.
    pub(super) fn choose(&self, seed: u64) -> Chosen {
        let Some(inner) = &self.0 else { return Chosen::Nothing };
        let LogSettings { sample, errors, .. } = inner.settings;
        // 53 bits are what a float holds.
        match (seed >> 11) as f64 / (1_u64 << 53) as f64 {
            part if part < sample => Chosen::All,
            _ if errors => Chosen::Failure,
            _ => Chosen::Nothing,
        }
    }

    /// Whether calls have lines before their end.
    pub(super) fn follows(&self) -> Option<LogSettings> {
        let settings = self.0.as_ref()?.settings;
        (settings.start || settings.interval.is_some()).then_some(settings)
    }

    pub(super) fn write(&self, line: &Line<'_>) {
        let Some(inner) = &self.0 else { return };
        let text = match inner.format {
            LogFormat::Off => return,
            LogFormat::Text => line.text(),
            LogFormat::Json => line.json(),
        };
        inner.lines.send(text.into_bytes());
    }

    fn shard(&self, open: &Arc<Open>) -> Option<(&Mutex<Shard>, usize)> {
        let place = Arc::as_ptr(open) as usize;
        // The lowest bits are the same for all.
        Some((&self.0.as_ref()?.open[(place >> 6) % SHARDS], place))
    }

    /// From now on the call gets a line from time to time.
    pub(super) fn follow(&self, open: &Arc<Open>) {
        if let Some((shard, place)) = self.shard(open) {
            shard.lock().unwrap_or_else(PoisonError::into_inner).insert(place, Arc::clone(open));
        }
    }

    /// The call has ended.
    pub(super) fn leave(&self, open: &Arc<Open>) {
        if let Some((shard, place)) = self.shard(open) {
            shard.lock().unwrap_or_else(PoisonError::into_inner).remove(&place);
        }
    }

    /// Writes a line of each open call whose time it is.
    pub(crate) fn write_open(&self, now: Instant) {
        let Some(inner) = &self.0 else { return };
        let Some(interval) = inner.settings.interval else { return };
        for shard in &inner.open {
            // Copied, so that no call waits for lines to be made.
            let calls: Vec<_> =
                shard.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
            for call in calls.iter().filter(|call| call.is_due(now, interval)) {
                call.with(|facts| {
                    let duration = now.saturating_duration_since(call.started);
                    self.write(&Line { head: &call.head, event: Event::Open, facts, duration });
                });
            }
        }
    }

    /// Looks after the open calls as long as the log is used; for one task.
    pub(crate) fn follow_calls(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let interval = self.0.as_ref()?.settings.interval?;
        let inner: Weak<Inner> = Arc::downgrade(self.0.as_ref()?);
        Some(async move {
            loop {
                tokio::time::sleep(interval.min(LOOK)).await;
                let Some(inner) = inner.upgrade() else { return };
                Self(Some(inner)).write_open(Instant::now());
            }
        })
    }
}
