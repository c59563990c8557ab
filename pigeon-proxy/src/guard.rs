//! What the proxy does when memory or file descriptors run short: it sheds what is new, so that those who are
//! served already go on being served. [`watch`] looks at the system; here it is decided.

pub mod watch;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use tokio::sync::watch as state;

/// Of the memory limit, in percent: where something begins, and below what it ends again.
const SHED: (u64, u64) = (85, 80);
const TIGHT: (u64, u64) = (95, 90);

/// How short memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It is not.
    #[default]
    Fine,
    /// No new connections; new calls are answered `overloaded`.
    Shed,
    /// Connections without a call are closed, too.
    Tight,
}

impl Level {
    /// The level after this one, when `used` of `limit` bytes are used.
    pub fn next(self, used: u64, limit: u64) -> Self {
        let percent = used.saturating_mul(100) / limit.max(1);
        let holds = |level: Self, (begins, ends): (u64, u64)| {
            percent >= begins || (self >= level && percent >= ends)
        };
        match () {
            () if holds(Self::Tight, TIGHT) => Self::Tight,
            () if holds(Self::Shed, SHED) => Self::Shed,
            () => Self::Fine,
        }
    }
}

/// What is short now.
#[derive(Debug)]
pub struct Guard {
    memory: AtomicU8,
    tight: state::Sender<bool>,
    /// Descriptors the process may have; 0 = not known.
    descriptors: AtomicU32,
    /// Descriptors are short, and that was said.
    short: AtomicBool,
}

impl Default for Guard {
    fn default() -> Self {
        let tight = state::Sender::default();
        Self { memory: AtomicU8::new(0), tight, descriptors: 0.into(), short: false.into() }
    }
}

impl Guard {
    /// How short memory is.
    pub fn memory(&self) -> Level {
        match self.memory.load(Ordering::Relaxed) {
            0 => Level::Fine,
            1 => Level::Shed,
            _ => Level::Tight,
        }
    }

    /// Notes how short memory is.
    pub fn set_memory(&self, level: Level) {
        self.memory.store(level as u8, Ordering::Relaxed);
        let tight = level == Level::Tight;
        self.tight.send_if_modified(|before| std::mem::replace(before, tight) != tight);
    }

    /// True while connections without a call are to be closed.
    pub(crate) fn tight(&self) -> state::Receiver<bool> {
        self.tight.subscribe()
    }

    /// Descriptors the process may have.
    pub fn set_descriptors(&self, limit: u32) {
        self.descriptors.store(limit, Ordering::Relaxed);
    }

    /// How many descriptors the process may have, if that is known.
    pub fn descriptors(&self) -> Option<u32> {
        Some(self.descriptors.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }

    /// Whether a connection that was just accepted as this descriptor may stay. The system gives the lowest
    /// number that is free, so the number tells how many are in use, without counting.
    pub(crate) fn takes_connection(&self, descriptor: i32) -> bool {
        let most = self.descriptors().map_or(u32::MAX, for_clients);
        if u32::try_from(descriptor).is_ok_and(|number| number >= most) {
            self.say_short("a new connection was closed");
            return false;
        }
        self.memory() == Level::Fine
    }

    /// Descriptors are short: said once, until [`Guard::descriptors_in_use`] has seen that it is over.
    pub(crate) fn say_short(&self, what: &str) {
        if !self.short.swap(true, Ordering::Relaxed) {
            let limit = self.descriptors().unwrap_or(0);
            tracing::warn!(
                limit,
                "file descriptors run short, {what}: new connections are closed, calls that need another \
                 connection to an engine are answered overloaded; raise the limit (LimitNOFILE, ulimit -n)"
            );
        }
    }

    /// Whether descriptors are short.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Notes how many descriptors are open; ends what `say_short` began.
    pub fn descriptors_in_use(&self, open: u32) {
        let most = self.descriptors().map_or(u32::MAX, for_clients);
        if self.is_short() && open < most - most / 20 {
            self.short.store(false, Ordering::Relaxed);
            tracing::info!(open, "there are enough file descriptors again");
        }
    }
}

/// How many descriptors may be in use when a client's connection is taken. The rest is for the connections
/// to engines of those who are served already, for checks, the admin, files and the status port.
pub fn for_clients(limit: u32) -> u32 {
    limit - (limit / 8).clamp(limit.min(16), 1_024).min(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_levels_come_and_go_with_a_gap_between() {
        let mut level = Level::Fine;
        let mut at = |percent: u64| {
            level = level.next(percent, 100);
            level
        };
        assert_eq!(at(84), Level::Fine);
        assert_eq!(at(85), Level::Shed);
        assert_eq!(at(81), Level::Shed);
        assert_eq!(at(96), Level::Tight);
        assert_eq!(at(91), Level::Tight);
        assert_eq!(at(89), Level::Shed);
        assert_eq!(at(79), Level::Fine);
        assert_eq!(at(99), Level::Tight);
        assert_eq!(at(10), Level::Fine);
        assert_eq!(Level::Fine.next(1, 0), Level::Tight);
    }

    #[test]
    fn a_reserve_of_descriptors_is_kept_from_clients() {
        assert_eq!([10, 64, 1_024, 1_000_000].map(for_clients), [0, 48, 896, 998_976]);
        let guard = Guard::default();
        assert!(guard.takes_connection(1_000_000), "no limit is known");
        guard.set_descriptors(64);
        assert!(guard.takes_connection(47));
        assert!(!guard.is_short());
        assert!(!guard.takes_connection(48));
        assert!(guard.is_short());
        guard.descriptors_in_use(47);
        assert!(guard.is_short(), "not before there is some room");
        guard.descriptors_in_use(40);
        assert!(!guard.is_short());
        guard.set_memory(Level::Shed);
        assert!(!guard.takes_connection(3));
    }
}
