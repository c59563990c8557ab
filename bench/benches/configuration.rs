//! What a change of the configuration costs: reading, compiling, the digest. `cargo bench -p pigeon-bench`.

// Benchmarks may panic like tests.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use std::sync::Arc;

use divan::{Bencher, black_box};
use pigeon_proto::digest::Digest;
use pigeon_proto::model::{Snapshot, Versioned, document, validate};
use pigeon_proxy::engine::{Clock, Registry};
use pigeon_proxy::metrics::Metrics;
use pigeon_proxy::table::Table;

const ROUTES: usize = 10_000;

fn main() {
    divan::main();
}

fn text() -> String {
    let engine = |n: usize| {
        format!(
            "---\nkind: engine\nname: e{n}\nspec: {{endpoints: [{{address: '10.0.0.1:{}'}}]}}\n",
            n + 1
        )
    };
    let route = |n: usize| {
        let engine = n % 100;
        format!(
            "---\nkind: route\nname: r{n}\nspec: {{match: {{grpc: p{n}.v1.S}}, engine: e{engine}}}\n"
        )
    };
    let listener = "kind: listener\nname: default\nspec: {address: '127.0.0.1:8080'}\n".to_owned();
    std::iter::once(listener).chain((0..100).map(engine)).chain((0..ROUTES).map(route)).collect()
}

fn snapshot() -> Snapshot {
    let version = |object: pigeon_proto::model::Object| {
        (object.key, Versioned { mod_revision: 1, spec: Arc::new(object.spec) })
    };
    Snapshot {
        revision: 1,
        objects: document::parse(&text()).unwrap().into_iter().map(version).collect(),
    }
}

#[divan::bench(sample_count = 10)]
fn read_10000_routes_from_yaml(bencher: Bencher) {
    let text = text();
    bencher.bench_local(|| document::parse(black_box(&text)).unwrap().len());
}

#[divan::bench(sample_count = 20)]
fn validate_10000_routes(bencher: Bencher) {
    let snapshot = snapshot();
    bencher.bench_local(|| validate(black_box(&snapshot)).is_ok());
}

#[divan::bench(sample_count = 20)]
fn compile_10000_routes(bencher: Bencher) {
    let (snapshot, registry, metrics) =
        (snapshot(), Registry::new(Clock::monotonic()), Metrics::new());
    // Tables follow one another: engines and series are there already, as after any change but the first.
    let first = Table::compile(&snapshot, &registry, &metrics, None, Instant::now());
    bencher.bench_local(|| {
        Table::compile(black_box(&snapshot), &registry, &metrics, Some(&first), Instant::now())
            .engines
            .len()
    });
    drop(first);
}

/// One object of 200 bytes counted in and out.
#[divan::bench]
fn digest_of_a_change(bencher: Bencher) {
    let spec = [7; 200];
    bencher.bench_local(|| {
        let mut digest = Digest::default();
        digest.add("route", black_box("asr"), 42, black_box(&spec));
        digest.remove("route", "asr", 41, black_box(&spec));
        digest
    });
}
