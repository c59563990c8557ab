//! The table: a configuration compiled for deciding where a call goes. Pure; replaced whole.

mod hash_key;
mod matcher;
mod shadow;
mod target;
mod trie;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pigeon_proto::model::{Name, Route, Snapshot};

pub use self::hash_key::hash_of;
pub use self::matcher::{Found, Head, Matcher, host_of};
pub use self::shadow::Shadow;
pub use self::target::Target;
use self::target::Targets;
use crate::engine::{Engine, Registry};
use crate::filter::Filters;
use crate::filter::identity::Directory;
use crate::metrics::{CallSeries, Metrics};
use crate::retry::{Budget, Policy};

/// A compiled configuration. A call keeps the one it began with.
pub struct Table {
    /// Unique in this process: what was worked out with one table does not hold for another.
    pub id: u64,
    matcher: Matcher<Arc<RouteEntry>>,
    /// The routes of listeners that take raw connections.
    raw: HashMap<Name, Arc<RouteEntry>>,
    /// The engines, by name.
    pub engines: BTreeMap<Name, Arc<Engine>>,
    /// The series of calls that match no route.
    pub unmatched: Arc<CallSeries>,
    /// The budgets of the routes, for the table that comes next.
    budgets: HashMap<Name, Arc<Budget>>,
    /// Those of them that have any retries.
    retried: Vec<Name>,
    /// The filters of the routes, for the same reason.
    filters: HashMap<Name, Arc<Filters>>,
    /// Whoever is known to call.
    callers: Arc<Directory>,
}

/// A compiled route.
pub struct RouteEntry {
    /// Its name.
    pub name: Name,
    targets: Targets,
    /// Longest time a call may take, waiting included.
    pub timeout: Option<Duration>,
    /// What its calls must pass first. What they count lives on when the configuration changes.
    pub filters: Arc<Filters>,
    /// When its calls are tried again.
    pub retry: Policy,
    /// Calls may come as JSON.
    pub transcode: bool,
    /// Who gets copies of its calls.
    pub shadow: Option<Shadow>,
    /// How often they are, over all of them. Lives on when the configuration changes.
    pub budget: Arc<Budget>,
}

impl RouteEntry {
    /// Where a call goes; `seed` is random and decides between the engines of a split.
    pub fn target(&self, seed: u64) -> &Target {
        self.targets.choose(seed)
    }
}

impl Table {
    /// Compiles `snapshot`. Engines and series that exist already are used again, and so are the budgets
    /// of the table `before`.
    pub fn compile(
        snapshot: &Snapshot,
        registry: &Registry,
        metrics: &Metrics,
        before: Option<&Table>,
        now: Instant,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let engines = registry.update(snapshot.engines());
        let routes: Vec<_> = snapshot.routes().collect();
        let pairs = routes
            .iter()
            .flat_map(|(name, route)| Targets::engines(route).map(|(engine, _)| (*name, engine)));
        let mut series = metrics.call_series(pairs).into_iter();
        let copied =
            routes.iter().filter_map(|(name, r)| Some((*name, &r.shadow.as_ref()?.engine)));
        let mut copies = metrics.shadow_series(copied).into_iter();
        let callers = Directory::compile(snapshot, before.map(|t| &t.callers), now);
        let (mut budgets, mut retried) = (HashMap::new(), Vec::new());
        let mut filters = HashMap::new();
        let mut entry = |name: &Name, route: &Route| {
            let budget = budget(before.and_then(|t| t.budgets.get(name)), route, now);
            budgets.insert(name.clone(), Arc::clone(&budget));
            let retry = Policy::from(&route.retry);
            if retry.is_on() {
                retried.push(name.clone());
            }
            let passed = before.and_then(|t| t.filters.get(name)).map(Arc::as_ref);
            let passed = Arc::new(Filters::new(route, &callers, passed, now));
            filters.insert(name.clone(), Arc::clone(&passed));
            Arc::new(RouteEntry {
                name: name.clone(),
                targets: Targets::new(route, &engines, &mut series),
                timeout: route.timeout.map(|t| t.duration()),
                filters: passed,
                retry,
                transcode: route.transcode,
                shadow: route
                    .shadow
                    .as_ref()
                    .and_then(|s| Shadow::new(s, &engines, copies.next()?)),
                budget,
            })
        };
        let entries: Vec<_> = routes.iter().map(|(name, route)| entry(name, route)).collect();
        type Pairs<'r> = Vec<(&'r Route, Arc<RouteEntry>)>;
        let (raw, calls): (Pairs<'_>, Pairs<'_>) = routes
            .iter()
            .map(|(_, route)| *route)
            .zip(entries)
            .partition(|(route, _)| is_raw(snapshot, route));
        let matcher = Matcher::new(calls.into_iter());
        Self {
            id,
            matcher,
            raw: first_of_each(raw),
            engines,
            unmatched: metrics.unmatched(),
            budgets,
            retried,
            filters,
            callers,
        }
    }

    /// The route of the raw connections of a listener.
    pub fn raw(&self, listener: &Name) -> Option<&Arc<RouteEntry>> {
        self.raw.get(listener)
    }

    /// Whoever is known to call.
    pub fn callers(&self) -> &Directory {
        &self.callers
    }

    /// The budget of a route's retries.
    pub fn budget(&self, route: &Name) -> Option<&Arc<Budget>> {
        self.budgets.get(route)
    }

    /// The budgets of the routes that have any retries.
    pub fn budgets_in_use(&self) -> impl Iterator<Item = (&Name, &Budget)> {
        self.retried.iter().filter_map(|name| Some((name, &**self.budgets.get(name)?)))
    }

    /// The route of a call.
    pub fn find(&self, head: &Head<'_>) -> Found<'_, Arc<RouteEntry>> {
        self.matcher.find(head)
    }
}

/// Whether the route is for raw connections. One that names no listener takes calls alone.
fn is_raw(snapshot: &Snapshot, route: &Route) -> bool {
    route.matches.listener.as_ref().is_some_and(|listener| snapshot.is_raw(listener))
}

/// Of each listener the route with the highest priority.
fn first_of_each(mut routes: Vec<(&Route, Arc<RouteEntry>)>) -> HashMap<Name, Arc<RouteEntry>> {
    let mut raw = HashMap::new();
    routes.sort_by_key(|(route, _)| std::cmp::Reverse(route.priority));
    for (route, entry) in routes {
        if let Some(listener) = &route.matches.listener {
            raw.entry(listener.clone()).or_insert(entry);
        }
    }
    raw
}

/// The budget the route had, with the share it has now.
fn budget(before: Option<&Arc<Budget>>, route: &Route, now: Instant) -> Arc<Budget> {
    match before {
        Some(budget) => {
            budget.set_percent(route.retry.budget);
            Arc::clone(budget)
        }
        None => Arc::new(Budget::new(route.retry.budget, now)),
    }
}

#[cfg(test)]
mod tests;
