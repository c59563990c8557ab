//! Times to the first response message: histograms that add up over proxies, and percentiles of them.

use serde::Serialize;
use utoipa::ToSchema;

/// How many classes a proxy tells apart (`EndpointUsage.first_message` of the config stream).
const CLASSES: usize = 24;
/// What the first class ends at, in milliseconds; every other ends at twice the one before.
const FIRST_MS: f64 = 0.064;

/// Calls by time: class `i` counts those below 2^i × 64 µs that no earlier class counts; the last one
/// takes the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram([u64; CLASSES]);

/// Time to the first response message over the last 10 s, in milliseconds, estimated from the histograms
/// of the proxies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct FirstMessage {
    /// Half of the calls were faster.
    pub p50: f64,
    /// 99 of 100 calls were faster.
    pub p99: f64,
}

impl Histogram {
    /// Of the counts as a proxy sends them: classes left out at the end are empty, and ones that this
    /// version does not know count as the last.
    pub fn of(counts: &[u32]) -> Self {
        let mut histogram = Self::default();
        for (i, count) in counts.iter().enumerate() {
            histogram.0[i.min(CLASSES - 1)] += u64::from(*count);
        }
        histogram
    }

    /// Adds the calls of another.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// Its percentiles; `None` without a call.
    pub fn first_message(&self) -> Option<FirstMessage> {
        Some(FirstMessage { p50: self.quantile(0.5)?, p99: self.quantile(0.99)? })
    }

    /// The time that the share `q` of the calls stayed below, as if they were spread evenly over their
    /// class; of the last class only its beginning is known.
    #[allow(clippy::cast_precision_loss)] // Counts beyond 2^52 would be wrong in the 16th digit.
    fn quantile(&self, q: f64) -> Option<f64> {
        let total: u64 = self.0.iter().fold(0, |sum, n| sum.saturating_add(*n));
        if total == 0 {
            return None;
        }
        let rank = q * total as f64;
        let (mut before, mut from, mut to) = (0.0, 0.0, FIRST_MS);
        for (i, count) in self.0.iter().enumerate() {
            let count = *count as f64;
            if i == CLASSES - 1 {
                break;
            }
            if count > 0.0 && before + count >= rank {
                return Some(rounded(from + (to - from) * (rank - before) / count));
            }
            before += count;
            (from, to) = (to, to * 2.0);
        }
        Some(rounded(from))
    }
}

/// To a hundredth of a millisecond: the classes are wider than that.
fn rounded(ms: f64) -> f64 {
    (ms * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(counts: &[u32]) -> Option<(f64, f64)> {
        Histogram::of(counts).first_message().map(|f| (f.p50, f.p99))
    }

    #[test]
    fn percentiles_lie_within_their_class() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[0, 0, 0]), None);
        // All below 64 µs, spread evenly.
        assert_eq!(of(&[100]), Some((0.03, 0.06)));
        // One class, 0.512 ms to 1.024 ms.
        assert_eq!(of(&[0, 0, 0, 0, 10]), Some((0.77, 1.02)));
        // 98 of 100 fast, two between 524 s / 2^10 and twice that.
        let mut counts = [0; 15];
        counts[1] = 98;
        counts[14] = 2;
        let (p50, p99) = of(&counts).expect("calls");
        assert!((0.064..0.128).contains(&p50), "{p50}");
        assert!((524.28..1048.58).contains(&p99), "{p99}");
    }

    #[test]
    fn the_last_class_takes_the_rest() {
        let mut counts = vec![0; 40];
        counts[39] = 1;
        let beginning = 0.064 * f64::from(1 << 22);
        assert_eq!(of(&counts), Some((rounded(beginning), rounded(beginning))));
        counts.truncate(23);
        counts[22] = 1;
        let (p50, _) = of(&counts).expect("a call");
        assert!((beginning / 2.0..beginning).contains(&p50), "{p50}");
    }

    #[test]
    fn histograms_add_up() {
        let mut sum = Histogram::of(&[1, 2]);
        sum.add(&Histogram::of(&[0, 3, u32::MAX]));
        assert_eq!(sum, Histogram::of(&[1, 5, u32::MAX]));
    }
}
