//! The engine that gets copies of a route's calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use pigeon_proto::model::{self, Name};

use crate::engine::{Engine, scramble};
use crate::metrics::ShadowSeries;

/// An engine, and of which calls it gets copies.
pub struct Shadow {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Where the copies are counted.
    pub series: Arc<ShadowSeries>,
    percent: u64,
}

impl Shadow {
    /// None if the configuration does not have the engine.
    pub(super) fn new(
        shadow: &model::Shadow,
        engines: &BTreeMap<Name, Arc<Engine>>,
        series: Arc<ShadowSeries>,
    ) -> Option<Self> {
        let engine = Arc::clone(engines.get(&shadow.engine)?);
        Some(Self { engine, series, percent: shadow.percent.into() })
    }

    /// Whether a call is copied; `seed` is random.
    pub fn takes(&self, seed: u64) -> bool {
        scramble(seed) % 100 < self.percent
    }
}
