//! Metrics of the keys that tokens are checked with.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::{counters, gauges};
use crate::filter::identity::ShownKeys;

/// By JWKS: its file or URL.
pub(super) struct JwksGauges {
    keys: IntGaugeVec,
    read: IntGaugeVec,
    errors: IntCounterVec,
}

impl JwksGauges {
    pub(super) fn new(r: &Registry) -> Self {
        let labels = ["jwks"];
        Self {
            keys: gauges(r, "pigeon_jwks_keys", "Keys that tokens are checked with.", &labels),
            read: gauges(
                r,
                "pigeon_jwks_read_seconds",
                "When the keys of tokens were read last, in seconds since 1970; 0: never.",
                &labels,
            ),
            errors: counters(
                r,
                "pigeon_jwks_errors_total",
                "Times that the keys of tokens could not be read and those before went on.",
                &labels,
            ),
        }
    }

    /// Those that are gone are forgotten.
    pub(super) fn set(&self, shown: impl Iterator<Item = ShownKeys>) {
        self.keys.reset();
        self.read.reset();
        self.errors.reset();
        for ShownKeys { location, count, at, errors, .. } in shown {
            let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            self.keys.with_label_values(&[&location]).set(gauge(count as u64));
            self.read.with_label_values(&[&location]).set(gauge(at.unwrap_or(0)));
            self.errors.with_label_values(&[&location]).inc_by(errors);
        }
    }
}
