//! What the engine has seen: calls open now, the most at a time, all, and the cancelled ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pigeon_proto::demo::v1::StatsReply;
use tokio::sync::watch;

/// The counts of one engine, to be read or waited for while it runs. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    // Every change happens under the channel's lock, so that no two counts ever disagree.
    counts: watch::Sender<StatsReply>,
}

impl Stats {
    /// The counts as they are now.
    pub fn read(&self) -> StatsReply {
        *self.counts.borrow()
    }

    /// Waits until the counts are as wanted and returns them.
    pub async fn wait_for(&self, wanted: impl FnMut(&StatsReply) -> bool) -> StatsReply {
        let mut counts = self.counts.subscribe();
        // Waiting fails only once every sender is gone, and `self` holds one.
        counts.wait_for(wanted).await.map_or_else(|_| self.read(), |counts| *counts)
    }

    /// The counts as they are now, after which the highest number starts anew from the calls still open.
    pub(crate) fn take(&self) -> StatsReply {
        let mut before = StatsReply::default();
        self.counts.send_modify(|counts| {
            before = *counts;
            counts.max_concurrent_seen = counts.concurrent_now;
        });
        before
    }

    /// Counts a call from now until the returned guard goes.
    pub(crate) fn enter(&self) -> Call {
        let mut number = 0;
        self.counts.send_modify(|counts| {
            counts.calls += 1;
            counts.concurrent_now += 1;
            counts.max_concurrent_seen = counts.max_concurrent_seen.max(counts.concurrent_now);
            number = counts.concurrent_now;
        });
        Call { stats: self.clone(), number, ended: false, broken: Arc::default() }
    }
}

/// One open call. Dropping it without [`Call::end`] means that the client cancelled.
#[derive(Debug)]
pub(crate) struct Call {
    stats: Stats,
    number: u32,
    ended: bool,
    broken: Arc<AtomicBool>,
}

impl Call {
    /// How many calls were open when this one began, itself included.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Set by the request's body once it broke off. The service sees an upload that ended or failed and
    /// answers it before the loss of the stream is noticed; the call was cancelled all the same.
    pub(crate) fn broken(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.broken)
    }

    /// The answer is complete.
    pub(crate) fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let cancelled = !self.ended || self.broken.load(Ordering::Acquire);
        self.stats.counts.send_modify(|counts| {
            debug_assert!(counts.concurrent_now > 0, "a call left twice");
            counts.concurrent_now -= 1;
            counts.cancelled += u64::from(cancelled);
        });
    }
}
