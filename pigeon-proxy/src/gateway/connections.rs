//! Client connections that are open: who is at the other end, since when, and with how many calls.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use pigeon_proto::model::Name;

use crate::limit::Presence;

/// So that workers rarely wait for each other.
const SHARDS: usize = 16;

/// Open connections of a worker's share, by the place of their tally.
type Shard = HashMap<usize, Weak<Tally>>;

/// All open connections.
#[derive(Default)]
pub(super) struct Connections([Mutex<Shard>; SHARDS]);

/// What is counted of one connection, as long as anything of it lives.
pub(crate) struct Tally {
    all: Arc<Connections>,
    listener: Name,
    peer: SocketAddr,
    opened: Instant,
    calls_open: AtomicU32,
    calls: AtomicU64,
    /// Among the connections of its source, if the listener has limits for that; and the calls at once that
    /// the source may have.
    source: Option<(Presence, Option<u32>)>,
}

/// An open connection, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenConnection {
    /// The listener it came in on.
    pub listener: Name,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// How long it has been open.
    pub age: Duration,
    /// Calls that run or wait.
    pub calls_open: u32,
    /// Calls that have begun.
    pub calls: u64,
}

impl Connections {
    /// One more.
    pub(super) fn add(
        self: &Arc<Self>,
        listener: &Name,
        peer: SocketAddr,
        source: Option<(Presence, Option<u32>)>,
    ) -> Arc<Tally> {
        let tally = Arc::new(Tally {
            all: Arc::clone(self),
            listener: listener.clone(),
            peer,
            opened: Instant::now(),
            calls_open: AtomicU32::new(0),
            calls: AtomicU64::new(0),
            source,
        });
        let place = Arc::as_ptr(&tally) as usize;
        self.shard(place).insert(place, Arc::downgrade(&tally));
        tally
    }

    fn shard(&self, place: usize) -> MutexGuard<'_, Shard> {
        // The lowest bits are the same for all.
        self.0[(place >> 7) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are, and the `most` busiest: those with most calls open, then the oldest.
    pub(super) fn busiest(&self, most: usize, now: Instant) -> (usize, Vec<OpenConnection>) {
        let mut all: Vec<Arc<Tally>> = Vec::new();
        for shard in &self.0 {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.values().filter_map(Weak::upgrade));
        }
        let count = all.len();
        let busy = |tally: &Arc<Tally>| {
            (std::cmp::Reverse(tally.calls_open.load(Ordering::Relaxed)), tally.opened)
        };
        all.sort_by_cached_key(busy);
        all.truncate(most);
        (count, all.iter().map(|tally| tally.shown(now)).collect())
    }
}

impl Tally {
    /// A call begins; false: its source has as many as it may have.
    pub(super) fn begins(&self) -> bool {
        self.calls_open.fetch_add(1, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        match &self.source {
            Some((source, Some(most))) => source.begins(*most),
            _ => true,
        }
    }

    /// A call has ended, of which [`Self::begins`] has said what `fits` is.
    pub(super) fn ends(&self, fits: bool) {
        self.calls_open.fetch_sub(1, Ordering::Relaxed);
        if let (Some((source, Some(_))), true) = (&self.source, fits) {
            source.ends();
        }
    }

    fn shown(&self, now: Instant) -> OpenConnection {
        OpenConnection {
            listener: self.listener.clone(),
            peer: self.peer,
            age: now.saturating_duration_since(self.opened),
            calls_open: self.calls_open.load(Ordering::Relaxed),
            calls: self.calls.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let place = std::ptr::from_ref(self) as usize;
        self.all.shard(place).remove(&place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_come_first_and_the_gone_are_gone() {
        let all = Arc::<Connections>::default();
        let name: Name = "default".parse().expect("a name");
        let peer = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut open: Vec<_> = (1..=100).map(|port| all.add(&name, peer(port), None)).collect();
        open[70].begins();
        open[80].begins();
        open[80].begins();
        open[3].begins();
        open[3].ends(true);
        let (count, busiest) = all.busiest(3, Instant::now());
        let ports: Vec<_> = busiest.iter().map(|c| c.peer.port()).collect();
        assert_eq!((count, ports), (100, vec![81, 71, 1]));
        assert_eq!((busiest[0].calls_open, busiest[0].calls), (2, 2));
        open.truncate(4);
        let (count, busiest) = all.busiest(50, Instant::now());
        assert_eq!((count, busiest.len(), busiest[3].calls), (4, 4, 1));
    }
}
