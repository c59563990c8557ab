//! Counting a request's body where the record of its call is not at hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::open::Open;
use crate::metrics::CallSeries;

/// What came of a request's body.
pub struct Inbound {
    /// None: it is not a call's.
    series: Option<Arc<CallSeries>>,
    open: Option<Arc<Open>>,
    bytes: AtomicU64,
    messages: AtomicU64,
}

impl Inbound {
    pub(super) fn new(series: Arc<CallSeries>, open: Option<Arc<Open>>) -> Self {
        let series = Some(series);
        Self { series, open, bytes: AtomicU64::new(0), messages: AtomicU64::new(0) }
    }

    /// Of a copy of a call, whose bytes are counted with the call itself.
    pub fn of_copy() -> Self {
        Self { series: None, open: None, bytes: AtomicU64::new(0), messages: AtomicU64::new(0) }
    }

    /// So many bytes came, and in them so many messages began.
    pub fn took(&self, bytes: usize, messages: u32) {
        let all = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let mut begun = self.messages();
        if messages > 0 {
            begun =
                self.messages.fetch_add(messages.into(), Ordering::Relaxed) + u64::from(messages);
            if let Some(series) = &self.series {
                series.messages_received(messages);
            }
        }
        if let Some(open) = &self.open {
            open.counts.bytes_in.store(all, Ordering::Relaxed);
            open.counts.messages_in.store(begun, Ordering::Relaxed);
        }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Messages so far.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }
}
