//! The engines of a route, and the choice between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use pigeon_proto::model::{Name, Route};

use crate::engine::{Engine, scramble};
use crate::metrics::CallSeries;

/// One engine of a route.
pub struct Target {
    /// None if the configuration names an engine that it does not have, or the route answers by itself.
    pub engine: Option<Arc<Engine>>,
    /// Where the calls that go there are counted.
    pub series: Arc<CallSeries>,
}

/// The engines of a route with their shares.
pub(super) struct Targets {
    main: Target,
    /// The others, each with its share in percent.
    split: Vec<(u64, Target)>,
}

impl Targets {
    /// The names of a route's engines with their shares; the first gets what the others leave, and is none of
    /// a route that answers by itself.
    pub(super) fn engines(route: &Route) -> impl Iterator<Item = (Option<&Name>, u32)> {
        let split = route.split.iter().map(|split| (Some(&split.engine), split.percent));
        std::iter::once((route.engine.as_ref(), 0)).chain(split)
    }

    /// `series` gives one for each of [`Targets::engines`].
    pub(super) fn new(
        route: &Route,
        engines: &BTreeMap<Name, Arc<Engine>>,
        series: &mut impl Iterator<Item = Arc<CallSeries>>,
    ) -> Self {
        let engine = |name: Option<&Name>| name.and_then(|name| engines.get(name)).cloned();
        let target = |name, series| Target { engine: engine(name), series };
        let mut targets = Self::engines(route)
            .zip(series)
            .map(|((name, percent), series)| (u64::from(percent), target(name, series)));
        let Some((_, main)) = targets.next() else { unreachable!("the first is always there") };
        Self { main, split: targets.collect() }
    }

    pub(super) fn choose(&self, seed: u64) -> &Target {
        if self.split.is_empty() {
            return &self.main;
        }
        let mut point = scramble(seed) % 100;
        for (percent, target) in &self.split {
            if point < *percent {
                return target;
            }
            point -= percent;
        }
        &self.main
    }
}
