//! What a slot costs: `cargo run --release -p pigeon-proxy --example slots`.
//!
//! Nanoseconds of CPU per slot taken and given back, and per slot with the end of its stay reported; for one and
//! for many threads, one and many endpoints, and each way to balance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pigeon_proto::model::{self, Balance, Spec, document};
use pigeon_proxy::admit::{Admission, Ask, Tried, admit};
use pigeon_proxy::engine::{Clock, Engine, Outcome, Stay};

const ROUNDS: u64 = 5;

fn engine(endpoints: usize, pool: &str, balance: Balance) -> Arc<Engine> {
    let endpoint = |i| format!("{{address: '10.0.{}.{}:1'}}", i / 250, i % 250);
    let endpoints = (0..endpoints).map(endpoint).collect::<Vec<_>>().join(", ");
    let text =
        format!("kind: engine\nname: e\nspec: {{endpoints: [{endpoints}], pool: {{{pool}}}}}\n");
    let object = document::parse(&text).expect("an engine").remove(0);
    let Spec::Engine(mut spec) = object.spec else { panic!("not an engine") };
    (spec.balance, spec.hash_key) = (balance, None);
    if balance == Balance::Hash {
        spec.hash_key = Some(model::HashKey::Source);
    }
    let engine = Arc::new(Engine::new("e".parse().expect("a name"), Clock::monotonic()));
    engine.update(&spec);
    engine
}

/// Takes and gives back so many slots.
fn calls(engine: &Arc<Engine>, n: u64, first: u64, report: bool) {
    let tried = Tried::default();
    let now_us = engine.clock().now_us();
    let stay = Stay { outcome: Outcome::Well, held_us: 100, first_message_us: Some(90) };
    for i in first..first + n {
        let seed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match admit(engine, &Ask { hash: Some(seed), ..Ask::new(&tried, seed) }) {
            Admission::Granted(permit) => {
                if report {
                    engine.ended(permit.endpoint(), &stay, now_us);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// CPU time of this thread so far, in nanoseconds, as Linux counts it: what other programs of a busy
/// machine take is not in it.
fn thread_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number")
}

/// The best round, in nanoseconds of CPU per slot.
fn measure(engine: &Arc<Engine>, threads: u64, n: u64, report: bool) -> f64 {
    let round = |_| {
        let used = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let used = &used;
                scope.spawn(move || {
                    let before = thread_ns();
                    calls(engine, n, thread * n, report);
                    used.fetch_add(thread_ns() - before, Ordering::Relaxed);
                });
            }
        });
        used.into_inner() as f64 / (n * threads) as f64
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

fn main() {
    let strict = "mode: strict, slots: 1000, queue: 9";
    for (threads, endpoints) in [(1, 1), (2, 1), (16, 1), (16, 8)] {
        let engine = engine(endpoints, strict, Balance::LeastConnections);
        let slot = measure(&engine, threads, 1_000_000, false);
        let whole = measure(&engine, threads, 1_000_000, true);
        println!(
            "{threads:>2} threads, {endpoints} endpoints: slot {slot:6.1} ns, with its report {whole:6.1} ns"
        );
    }
    let all = [
        Balance::LeastConnections,
        Balance::Random,
        Balance::RoundRobin,
        Balance::P2c,
        Balance::Hash,
    ];
    for balance in all {
        for endpoints in [1, 10, 32, 1_000] {
            let idle = engine(endpoints, strict, balance);
            let ns = measure(&idle, 1, 2_000_000 / (1 + endpoints.min(32) as u64 / 4), false);
            // All but one taken: the worst case, a free slot that has to be sought.
            let full = engine(endpoints, "mode: strict, slots: 1, queue: 9", balance);
            let tried = Tried::default();
            let taken: Vec<_> =
                (1..endpoints as u64).map(|i| admit(&full, &Ask::new(&tried, i))).collect();
            let seek = measure(&full, 1, 2_000_000 / (1 + endpoints as u64 / 4), false);
            drop(taken);
            println!(
                "{balance:?}, {endpoints:>4} endpoints: {ns:7.1} ns; one slot free {seek:8.1} ns"
            );
        }
    }
}
