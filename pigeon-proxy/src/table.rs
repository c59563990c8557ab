//! The table: a configuration compiled for deciding where a call goes. Pure; replaced whole.

mod matcher;
mod trie;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pigeon_proto::model::{Name, Snapshot};

pub use self::matcher::{Found, Head, Matcher, host_of};
use crate::engine::{Engine, Registry};
use crate::metrics::{CallSeries, Metrics};

/// A compiled configuration. A call keeps the one it began with.
pub struct Table {
    matcher: Matcher<Arc<RouteEntry>>,
    /// The engines, by name.
    pub engines: BTreeMap<Name, Arc<Engine>>,
    /// The series of calls that match no route.
    pub unmatched: Arc<CallSeries>,
}

/// A compiled route.
pub struct RouteEntry {
    /// Its name.
    pub name: Name,
    /// Where its calls go; none if the configuration names an engine that it does not have.
    pub engine: Option<Arc<Engine>>,
    /// Longest time a call may take, waiting included.
    pub timeout: Option<Duration>,
    /// Where its calls are counted.
    pub series: Arc<CallSeries>,
}

impl Table {
    /// Compiles `snapshot`. Engines and series that exist already are used again.
    pub fn compile(snapshot: &Snapshot, registry: &Registry, metrics: &Metrics) -> Self {
        let engines = registry.update(snapshot.engines());
        let routes: Vec<_> = snapshot.routes().collect();
        let series = metrics.call_series(routes.iter().map(|(name, r)| (*name, &r.engine)));
        let entry = |((name, route), series): (&(&Name, &_), Arc<CallSeries>)| {
            let (name, route): (&Name, &pigeon_proto::model::Route) = (name, route);
            Arc::new(RouteEntry {
                name: name.clone(),
                engine: engines.get(&route.engine).cloned(),
                timeout: route.timeout.map(|t| t.duration()),
                series,
            })
        };
        let entries = routes.iter().zip(series).map(entry);
        let matcher = Matcher::new(routes.iter().map(|(_, route)| *route).zip(entries));
        Self { matcher, engines, unmatched: metrics.unmatched() }
    }

    /// The route of a call.
    pub fn find(&self, head: &Head<'_>) -> Found<'_, Arc<RouteEntry>> {
        self.matcher.find(head)
    }
}
