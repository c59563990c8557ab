//! Limits of what a peer may cost: token buckets for frames that are cheap to send and worth nothing.
//!
//! Honest peers send such frames too, in proportion to work: a bucket fills with time, and with what the peer did
//! that was worth something.

/// Bytes of replies (SETTINGS and PING acknowledgements, RST_STREAM, WINDOW_UPDATE) that may wait unsent.
pub const MAX_UNSENT_REPLIES: usize = 1 << 20;
/// Entries in one SETTINGS frame. Ten are defined.
pub const MAX_SETTINGS: usize = 32;
/// CONTINUATIONs of one block: full ones carry a megabyte.
pub const MAX_CONTINUATIONS: u16 = 64;
/// CONTINUATIONs without a byte in one block.
pub const MAX_EMPTY_CONTINUATIONS: u16 = 4;
/// Bytes of one WINDOW_UPDATE below which it is taken for tiny.
pub const TINY_INCREMENT: u32 = 1024;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// A stream ended by the peer, or by a rule it broke, before it was answered ("rapid reset").
    PrematureReset,
    /// RST_STREAM that the peer made us send.
    ForcedReset,
    /// PING to answer.
    Ping,
    /// SETTINGS.
    Settings,
    /// A small WINDOW_UPDATE, or one of a stream that is gone.
    TinyWindow,
    /// DATA without a byte that does not end its stream.
    EmptyData,
    /// PRIORITY, unknown types, and frames about streams that are gone.
    Noise,
}

/// One kind's limit.
struct Limit {
    /// Full bucket.
    burst: u32,
    /// Tokens a second.
    rate: u32,
    /// What else fills it.
    earned: Earned,
}

/// What the peer did that was worth something.
enum Earned {
    Nothing,
    /// One token for each stream that ended properly.
    Streams,
    /// One token for each DATA frame we sent: a BDP probe, a small WINDOW_UPDATE.
    Sent,
    /// Two of these: readers that credit each frame do it for the stream and for the connection.
    SentTwice,
}

impl Cost {
    const COUNT: usize = 7;

    const fn limit(self) -> Limit {
        let (burst, rate, earned) = match self {
            Self::PrematureReset | Self::ForcedReset => (1000, 100, Earned::Streams),
            Self::Ping => (1000, 100, Earned::Sent),
            Self::Settings => (100, 10, Earned::Nothing),
            Self::TinyWindow => (1000, 1000, Earned::SentTwice),
            Self::EmptyData => (1000, 100, Earned::Streams),
            Self::Noise => (10_000, 1000, Earned::Streams),
        };
        Limit { burst, rate, earned }
    }

    /// The rule it breaks, for the log.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::PrematureReset => "too many streams were reset before they were answered",
            Self::ForcedReset => "too many streams had to be reset",
            Self::Ping => "too many PINGs",
            Self::Settings => "too many SETTINGS",
            Self::TinyWindow => "too many small WINDOW_UPDATEs",
            Self::EmptyData => "too many empty DATA frames",
            Self::Noise => "too many frames that say nothing",
        }
    }
}

/// Tokens of one kind. What was spent is counted, so that a fresh bucket is all zero.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    spent: u32,
    /// Up to when `rate` has been given, in milliseconds; wraps.
    at_ms: u32,
    /// Up to which count earned tokens have been given; wraps.
    earned: u32,
}

/// The buckets of a connection.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    buckets: [Bucket; Cost::COUNT],
    /// Streams that ended properly; wraps.
    ended: u32,
    /// DATA frames we sent; wraps.
    sent: u32,
}

impl Guard {
    /// A stream ended on both sides, without a reset.
    #[inline]
    pub fn stream_ended(&mut self) {
        self.ended = self.ended.wrapping_add(1);
    }

    /// A DATA frame was sent.
    #[inline]
    pub fn data_sent(&mut self) {
        self.sent = self.sent.wrapping_add(1);
    }

    /// Takes a token. False: there is none left.
    #[must_use]
    pub fn spend(&mut self, cost: Cost, now_ms: u64) -> bool {
        let limit = cost.limit();
        let count = match limit.earned {
            Earned::Nothing => 0,
            Earned::Streams => self.ended,
            Earned::Sent => self.sent,
            Earned::SentTwice => self.sent.wrapping_mul(2),
        };
        let bucket = &mut self.buckets[cost as usize];
        let elapsed = (now_ms as u32).wrapping_sub(bucket.at_ms);
        let filled = u64::from(elapsed) * u64::from(limit.rate) / 1000;
        // The part of a token that is left over stays in `at_ms`.
        bucket.at_ms = bucket.at_ms.wrapping_add((filled * 1000 / u64::from(limit.rate)) as u32);
        let filled = filled + u64::from(count.wrapping_sub(bucket.earned));
        bucket.earned = count;
        bucket.spent = u64::from(bucket.spent).saturating_sub(filled) as u32;
        if bucket.spent >= limit.burst {
            return false;
        }
        bucket.spent += 1;
        true
    }
}
