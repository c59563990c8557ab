//! Compiled routes: where their calls go, and what survives a change.

use pigeon_proto::model::{Object, Versioned, document};

use super::*;
use crate::engine::Clock;

fn snapshot(routes: &str) -> Snapshot {
    let engine = |name| format!("---\nkind: engine\nname: {name}\nspec: {{endpoints: []}}\n");
    let text = format!("{}{}{}{routes}", engine("a"), engine("b"), engine("c"));
    let version = |o: Object| (o.key, Versioned { mod_revision: 1, spec: Arc::new(o.spec) });
    let objects = document::parse(&text).expect("objects").into_iter().map(version).collect();
    Snapshot { revision: 1, objects }
}

fn compile(routes: &str, registry: &Registry, metrics: &Metrics, before: Option<&Table>) -> Table {
    Table::compile(&snapshot(routes), registry, metrics, before, Instant::now())
}

fn route(table: &Table) -> Arc<RouteEntry> {
    let listener = "l".parse().expect("name");
    let head = Head { listener: &listener, host: "", path: "/", method: "GET", grpc: false };
    match table.find(&head) {
        Found::Route(route) => Arc::clone(route),
        _ => panic!("no route"),
    }
}

const SPLIT: &str = "---\nkind: route\nname: r\nspec: {match: {}, engine: a, \
    split: [{engine: b, percent: 25}, {engine: c, percent: 5}], \
    retry: {attempts: 2, on: [UNAVAILABLE, '503', reset]}}\n";

#[test]
fn a_split_is_kept_to_the_percent() {
    let (registry, metrics) = (Registry::new(Clock::monotonic()), Metrics::new());
    let table = compile(SPLIT, &registry, &metrics, None);
    let route = route(&table);
    let mut calls = BTreeMap::new();
    for seed in 0..100_000 {
        let engine = route.target(seed).engine.as_ref().expect("an engine");
        *calls.entry(engine.name().to_string()).or_insert(0_u32) += 1;
    }
    for (engine, wanted) in [("a", 70_000), ("b", 25_000), ("c", 5_000)] {
        // Ten standard deviations and more.
        assert!(calls[engine].abs_diff(wanted) < 1_500, "{engine}: {calls:?}");
    }
}

#[test]
fn each_engine_of_a_split_has_its_series() {
    let (registry, metrics) = (Registry::new(Clock::monotonic()), Metrics::new());
    let table = compile(SPLIT, &registry, &metrics, None);
    let route = route(&table);
    for seed in 0..1_000 {
        let target = route.target(seed);
        target.series.ended(crate::metrics::Code::Grpc(0), None, Some(Duration::ZERO));
    }
    let text = metrics.render();
    for engine in ["a", "b", "c"] {
        let series = format!(r#"pigeon_calls_total{{code="OK",engine="{engine}",route="r"}}"#);
        assert!(text.contains(&series), "{text}");
    }
}

#[test]
fn the_budget_survives_a_change_and_takes_its_new_share() {
    let (registry, metrics) = (Registry::new(Clock::monotonic()), Metrics::new());
    let first = compile(SPLIT, &registry, &metrics, None);
    let now = Instant::now();
    let budget = Arc::clone(&route(&first).budget);
    (0..100).for_each(|_| budget.called(now));
    assert!((0..20).all(|_| budget.take(now)));
    assert!(!budget.take(now));
    let more = SPLIT.replace("on: [", "budget: 30, on: [");
    let second = compile(&more, &registry, &metrics, Some(&first));
    let budget = &route(&second).budget;
    assert!((0..10).all(|_| budget.take(now)));
    assert!(!budget.take(now));
}

#[test]
fn the_policy_is_what_the_route_says() {
    let (registry, metrics) = (Registry::new(Clock::monotonic()), Metrics::new());
    let policy = &route(&compile(SPLIT, &registry, &metrics, None)).retry;
    assert_eq!((policy.attempts, policy.grpc, policy.reset), (2, 1 << 14, true));
    assert_eq!((policy.http.as_slice(), policy.buffer), (&[503][..], 65_536));
    assert_eq!(policy.max_backoff, Duration::from_millis(250));
}
