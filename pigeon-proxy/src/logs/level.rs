//! The level of the process's own log, per module, changed while it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// The longest filter.
const LONGEST: usize = 1_000;
/// The longest time after which a filter goes back.
const LONGEST_TIME: Duration = Duration::from_secs(7 * 86_400);

/// A filter that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LevelError(String);

/// The level in force. Clones are the same.
#[derive(Clone, Debug)]
pub struct Levels(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handle: reload::Handle<EnvFilter, Registry>,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    filter: String,
    /// What it goes back to.
    lasting: String,
    until: Option<Timestamp>,
    /// Counts changes, so that only the last one goes back.
    change: u64,
}

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The filter.
    pub filter: String,
    /// When it goes back, and to what.
    pub then: Option<(Timestamp, String)>,
}

/// Reads a filter such as `info` or `info,pigeon_proxy::relay=debug`.
///
/// # Errors
/// It is none, with what is wrong and an example.
pub fn filter(text: &str) -> Result<EnvFilter, LevelError> {
    const EXAMPLE: &str = "write it like info or info,pigeon_proxy=debug";
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let wrong = |what: String| Err(LevelError(format!("{what}; {EXAMPLE}")));
    if text.is_empty() {
        return wrong("the filter is empty".to_owned());
    }
    if text.len() > LONGEST {
        return wrong(format!("the filter is longer than {LONGEST} bytes"));
    }
    for part in text.split(',') {
        // A bare word that is no level would be taken for a module, and switch everything else off.
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level).trim();
        if !LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known)) {
            let (level, known) = (level.escape_debug(), LEVELS.join(", "));
            return wrong(format!("\"{level}\" is not one of {known}"));
        }
    }
    EnvFilter::try_new(text).or_else(|e| wrong(format!("\"{}\": {e}", text.escape_debug())))
}

impl Levels {
    /// `lasting` = the filter that `handle` began with.
    pub fn new(handle: reload::Handle<EnvFilter, Registry>, lasting: &str) -> Self {
        let (filter, lasting) = (lasting.to_owned(), lasting.to_owned());
        let now = Mutex::new(Now { filter, lasting, until: None, change: 0 });
        Self(Arc::new(Inner { handle, now }))
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in force.
    pub fn get(&self) -> InForce {
        let now = self.lock();
        let then = now.until.map(|until| (until, now.lasting.clone()));
        InForce { filter: now.filter.clone(), then }
    }

    /// Puts a filter in force: for good, or for a time after which the one before comes back. Within a runtime.
    ///
    /// # Errors
    /// It cannot be used; nothing changes.
    pub fn set(&self, text: &str, time: Option<Duration>) -> Result<InForce, LevelError> {
        let filter = filter(text)?;
        if time.is_some_and(|time| time.is_zero() || time > LONGEST_TIME) {
            return Err(LevelError("the time is from 1ms to 7days".to_owned()));
        }
        let change = {
            let mut now = self.lock();
            self.0.handle.reload(filter).map_err(|e| LevelError(e.to_string()))?;
            now.change += 1;
            text.clone_into(&mut now.filter);
            now.until = time.and_then(|time| Timestamp::now().checked_add(time).ok());
            if time.is_none() {
                text.clone_into(&mut now.lasting);
            }
            now.change
        };
        tracing::info!(filter = text, ?time, "the log level was changed");
        if let Some(time) = time {
            let levels = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                levels.go_back(change);
            });
        }
        Ok(self.get())
    }

    fn go_back(&self, change: u64) {
        let lasting = {
            let mut now = self.lock();
            if now.change != change {
                return;
            }
            let lasting = now.lasting.clone();
            let Ok(filter) = filter(&lasting) else { return };
            if self.0.handle.reload(filter).is_err() {
                return;
            }
            lasting.clone_into(&mut now.filter);
            now.until = None;
            lasting
        };
        tracing::info!(filter = lasting, "the log level is back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_says_why() {
        for good in ["info", "info,pigeon_proxy::relay=debug", "OFF", "warn,h2=trace"] {
            filter(good).unwrap_or_else(|e| panic!("{good}: {e}"));
        }
        for (bad, why) in [
            ("", "empty"),
            ("debgu", "not one of"),
            ("info,pigeon_proxy", "not one of"),
            ("info,pigeon_proxy=loud", "\"loud\""),
            (&"x".repeat(2_000), "longer"),
        ] {
            let error = filter(bad).expect_err(bad).to_string();
            assert!(error.contains(why) && error.contains("write it like"), "{bad}: {error}");
        }
    }

    #[tokio::test]
    async fn a_filter_for_a_time_goes_back() {
        let (layer, handle) = reload::Layer::new(EnvFilter::new("info"));
        let levels = Levels::new(handle, "info");
        levels.set("debug", Some(Duration::from_millis(1))).expect("set");
        // The last one counts, however long the one before was meant for.
        levels.set("trace", Some(Duration::from_secs(3600))).expect("set");
        levels.go_back(1);
        let now = levels.get();
        assert_eq!((now.filter.as_str(), now.then.map(|t| t.1)), ("trace", Some("info".into())));
        assert!(levels.set("loud", None).is_err());
        assert_eq!(levels.get().filter, "trace");
        levels.set("warn", Some(Duration::from_millis(1))).expect("set");
        while levels.get().filter != "info" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(levels.get(), InForce { filter: "info".into(), then: None });
        drop(layer);
    }
}
