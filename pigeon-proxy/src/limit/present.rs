//! Who is there now: the sources that have connections to a listener, and how many calls of each run.
//!
//! The lock is for connections that come and go. A call moves the one number that all connections of its
//! source share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::source;

/// The sources of a listener. As many as have connections, so never more than connections.
#[derive(Debug, Default)]
pub struct Present(Mutex<HashMap<u64, Source>>);

#[derive(Debug, Default)]
struct Source {
    connections: u32,
    calls: Arc<AtomicU32>,
}

/// A connection, counted for its source until it is dropped.
#[derive(Debug)]
pub struct Presence {
    all: Arc<Present>,
    source: u64,
    calls: Arc<AtomicU32>,
}

impl Present {
    /// Counts one more connection from `address`, unless there are `most` already.
    pub fn enter(self: &Arc<Self>, address: IpAddr, most: Option<u32>) -> Option<Presence> {
        let source = source(address);
        let mut sources = self.sources();
        let here = sources.entry(source).or_default();
        // Somebody new is let in: there is room for one at least.
        if here.connections > 0 && most.is_some_and(|most| here.connections >= most) {
            return None;
        }
        here.connections += 1;
        let calls = Arc::clone(&here.calls);
        drop(sources);
        Some(Presence { all: Arc::clone(self), source, calls })
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<u64, Source>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Presence {
    /// Counts one more call of the source, unless there are `most` already. True: [`Self::ends`] is due.
    pub fn begins(&self, most: u32) -> bool {
        let one_more = |calls| (calls < most).then_some(calls + 1);
        self.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// A call that was counted has ended.
    pub fn ends(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut sources = self.all.sources();
        if let Some(here) = sources.get_mut(&self.source) {
            here.connections -= 1;
            if here.connections == 0 {
                sources.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    proptest! {
        /// Against plain counts, whatever comes and goes.
        #[test]
        fn nobody_has_more_than_the_most_and_nobody_else_has_less(
            events in prop::collection::vec((0..3_u8, 0..4_u8, any::<prop::sample::Index>()), 1..120),
            most in 1..4_u32,
        ) {
            let present = Arc::new(Present::default());
            let (mut open, mut calls): (Vec<(u8, Presence)>, Vec<u8>) = (Vec::new(), Vec::new());
            for (who, what, which) in events {
                let has = open.iter().filter(|(n, _)| *n == who).count();
                let of = open.iter().find(|(n, _)| *n == who).map(|(_, presence)| presence);
                let running = calls.iter().filter(|n| **n == who).count();
                match what {
                    0 => {
                        let entered = present.enter(address(who), Some(most));
                        prop_assert_eq!(entered.is_some(), has < most as usize);
                        open.extend(entered.map(|presence| (who, presence)));
                    }
                    1 if !open.is_empty() => {
                        let (gone, presence) = open.swap_remove(which.index(open.len()));
                        // Calls end before the last connection does.
                        if !open.iter().any(|(n, _)| *n == gone) {
                            calls.iter().filter(|n| **n == gone).for_each(|_| presence.ends());
                            calls.retain(|n| *n != gone);
                        }
                    }
                    2 => if let Some(presence) = of {
                        prop_assert_eq!(presence.begins(most), running < most as usize);
                        if running < most as usize {
                            calls.push(who);
                        }
                    },
                    _ => if let (Some(presence), true) = (of, running > 0) {
                        presence.ends();
                        let at = calls.iter().position(|n| *n == who);
                        calls.swap_remove(at.unwrap_or(0));
                    },
                }
            }
            drop(open);
            prop_assert!(present.sources().is_empty(), "who is gone is forgotten");
        }
    }

    #[test]
    fn threads_together_have_no_more_than_the_most() {
        let present = Arc::new(Present::default());
        let entered = std::thread::scope(|scope| {
            let enter = || (0..50).filter_map(|_| present.enter(address(1), Some(20))).collect();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(enter)).collect();
            let all: Vec<Vec<_>> =
                threads.into_iter().map(|t| t.join().expect("counted")).collect();
            all.into_iter().flatten().collect::<Vec<_>>()
        });
        assert_eq!(entered.len(), 20);
        assert!(present.enter(address(2), Some(20)).is_some(), "others are not concerned");
        assert!(present.enter(address(1), None).is_some(), "no limit");
    }
}
