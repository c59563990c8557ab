//! What a call decides: its route, its slot, its place in line. `cargo bench -p pigeon-bench`.

// Benchmarks may panic like tests.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use divan::{Bencher, black_box};
use pigeon_proto::model::{Name, Object, Spec, document};
use pigeon_proxy::admit::{Admission, Ask, Tried, admit};
use pigeon_proxy::engine::{Clock, Engine};
use pigeon_proxy::table::{Head, Matcher};

fn main() {
    divan::main();
}

/// So many routes: a third each by host, by gRPC service and by path.
fn routes(count: usize) -> Vec<Object> {
    let one = |n: usize| {
        let found = match n % 3 {
            0 => format!("{{host: h{n}.example.com, path: /*}}"),
            1 => format!("{{grpc: pkg{n}.v1.Service}}"),
            _ => format!("{{path: /api/v{n}/things*}}"),
        };
        format!("---\nkind: route\nname: r{n}\nspec: {{match: {found}, engine: e}}\n")
    };
    document::parse(&(0..count).map(one).collect::<String>()).unwrap()
}

#[divan::bench(args = [10, 1_000, 10_000])]
fn match_route(bencher: Bencher, count: usize) {
    let routes = routes(count);
    let specs = routes.iter().filter_map(|object| match &object.spec {
        Spec::Route(route) => Some((route, ())),
        _ => None,
    });
    let matcher = Matcher::new(specs);
    let listener: Name = "default".parse().unwrap();
    // The last gRPC route.
    let n = (0..count).rev().find(|n| n % 3 == 1).unwrap();
    let path = format!("/pkg{n}.v1.Service/Recognize");
    bencher.bench_local(|| {
        let head = Head {
            listener: black_box(&listener),
            host: black_box("gateway.example.com"),
            path: black_box(&path),
            method: "POST",
            grpc: true,
        };
        matches!(matcher.find(&head), pigeon_proxy::table::Found::Route(()))
    });
}

fn engine(endpoints: usize, slots: u32, queue: u32) -> Arc<Engine> {
    let list: Vec<_> = (0..endpoints).map(|n| format!("{{address: 'e{n}:1'}}")).collect();
    let pool = format!("{{mode: strict, slots: {slots}, queue: {queue}}}");
    let list = list.join(", ");
    let text = format!("kind: engine\nname: e\nspec: {{endpoints: [{list}], pool: {pool}}}\n");
    let Spec::Engine(spec) = document::parse(&text).unwrap().remove(0).spec else { unreachable!() };
    let engine = Arc::new(Engine::new("e".parse().unwrap(), Clock::monotonic()));
    engine.update(&spec);
    engine
}

/// A slot taken and given back: choosing the endpoint, counting, the permit.
#[divan::bench(args = [1, 8, 100], threads = [1, 16])]
fn take_and_give_back(bencher: Bencher, endpoints: usize) {
    let engine = engine(endpoints, 1000, 10);
    bencher.bench(|| match admit(&engine, &Ask::new(&Tried::default(), black_box(7))) {
        Admission::Granted(permit) => drop(permit),
        other => panic!("{other:?}"),
    });
}

/// A place in line taken and left, with so many in front.
#[divan::bench(args = [0, 100, 1_000])]
fn line_up_and_leave(bencher: Bencher, waiting: usize) {
    let engine = engine(1, 1, 10_000);
    let ask = || admit(&engine, &Ask::new(&Tried::default(), 7));
    let before: Vec<_> = (0..=waiting).map(|_| ask()).collect();
    bencher.bench_local(|| match ask() {
        Admission::Waiting(waiting) => drop(waiting),
        other => panic!("{other:?}"),
    });
    drop(before);
}
