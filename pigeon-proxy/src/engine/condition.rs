//! The condition of an endpoint: what balancing needs of it in one look, and what people are told.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::balance::WHOLE;

/// What people call it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Takes calls.
    #[default]
    Healthy,
    /// Takes part of its calls until its slow start is over.
    Starting,
    /// Set to drain: no new calls.
    Draining,
    /// Failed calls; takes none for a while, unless no other is left.
    Ejected,
    /// Fails its checks: no new calls. Or could not be reached: none for a while, unless no other is left.
    Unhealthy,
}

impl State {
    /// The word, as in metrics and `/state`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Ejected => "ejected",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// Whether it takes its calls, or is about to.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Healthy | Self::Starting)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an endpoint is in its state: a few words only, so that a metric can have them as a label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// It is healthy.
    #[default]
    None,
    /// It is new, or back, and takes its calls over slowly.
    SlowStart,
    /// It is set to drain.
    Drain,
    /// Calls in a row failed.
    Failures,
    /// Far more of its calls failed than of the others'.
    Outlier,
    /// Its checks failed.
    Check,
    /// It could not be connected to.
    Unreachable,
}

impl Cause {
    /// The word, as in metrics; empty if it is healthy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::SlowStart => "slow_start",
            Self::Drain => "drain",
            Self::Failures => "failures",
            Self::Outlier => "outlier",
            Self::Check => "check",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What is set while something is not as usual. None set: the common case, told by one look.
pub(super) mod flag {
    /// Fails its checks.
    pub(crate) const UNHEALTHY: u8 = 1;
    /// Ejected until [`super::Condition::ejected_until`].
    pub(crate) const EJECTED: u8 = 2;
    /// In its slow start.
    pub(crate) const STARTING: u8 = 4;
    /// A dial failed since it was reached last; [`super::super::avoid::Avoid`] knows more.
    pub(crate) const AVOIDED: u8 = 8;
}

/// The part of an endpoint that checks and outcomes change.
#[derive(Debug, Default)]
pub(super) struct Condition {
    flags: AtomicU8,
    /// Only meaningful while [`flag::EJECTED`] is set.
    ejected_until_us: AtomicU64,
    /// Only meaningful while [`flag::STARTING`] is set.
    started_us: AtomicU64,
    /// Taken when something changes or is to be shown, never on a call's way.
    words: Mutex<Words>,
}

/// What the flags do not say.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// What the last failed check found.
    pub(super) unhealthy: String,
    /// Why it is ejected.
    pub(super) ejected: String,
    /// The same in one word.
    pub(super) ejected_cause: Cause,
    /// Why it could not be reached.
    pub(super) avoided: String,
    /// What was reported last.
    pub(super) told: State,
    /// Ejections so far, until it stays in service for long.
    pub(super) ejections: u32,
    /// When the last one ended.
    pub(super) returned_us: u64,
}

impl Condition {
    #[inline]
    pub(super) fn flags(&self) -> u8 {
        self.flags.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::Relaxed);
    }

    /// True if it was set.
    pub(super) fn clear(&self, flag: u8) -> bool {
        self.flags.fetch_and(!flag, Ordering::Relaxed) & flag != 0
    }

    pub(super) fn words(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn eject(&self, until_us: u64) {
        self.ejected_until_us.store(until_us, Ordering::Relaxed);
        self.set(flag::EJECTED);
    }

    /// Until when, if it is ejected now.
    pub(super) fn ejected_until(&self, now_us: u64) -> Option<u64> {
        let until = self.ejected_until_us.load(Ordering::Relaxed);
        (self.flags() & flag::EJECTED != 0 && until > now_us).then_some(until)
    }

    /// When its ejection ended, if nobody has taken note of that yet.
    pub(super) fn ejection_over(&self, now_us: u64) -> Option<u64> {
        let until = self.ejected_until_us.load(Ordering::Relaxed);
        (self.flags() & flag::EJECTED != 0 && until <= now_us).then_some(until)
    }

    /// It takes calls from now on, at first a few.
    pub(super) fn start(&self, now_us: u64) {
        self.started_us.store(now_us, Ordering::Relaxed);
        self.set(flag::STARTING);
    }

    /// What it takes of its share: from a tenth to the whole, linearly over `slow_start_us`.
    pub(super) fn started(&self, now_us: u64, slow_start_us: u64) -> u32 {
        let since = if self.flags() & flag::STARTING != 0 {
            self.started_us.load(Ordering::Relaxed)
        } else if let Some(over) = self.ejection_over(now_us) {
            over
        } else {
            return WHOLE;
        };
        let age = now_us.saturating_sub(since);
        if age >= slow_start_us {
            return WHOLE;
        }
        let tenth = WHOLE / 10;
        // Less than the other nine tenths, so it fits.
        tenth + (u64::from(WHOLE - tenth) * age / slow_start_us) as u32
    }
}
