//! The config stream can be measured: a few subscribers, with the admin of the same build if there is one.

// Helpers of tests may panic like the tests themselves.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use pigeon_bench::subscribers::curve;

#[test]
fn a_few_subscribers() {
    let program = Path::new(env!("CARGO_BIN_EXE_pigeon-bench")).with_file_name("pigeon-admin");
    if !program.is_file() {
        eprintln!("SKIPPED: there is no {}; cargo build -p pigeon-admin", program.display());
        return;
    }
    let points = curve(&program, 20, &[3], 3).unwrap();
    let [point] = points.as_slice() else { panic!("{points:?}") };
    assert_eq!((point.subscribers, point.routes, point.changes), (3, 20, 3));
    assert!(0.0 < point.p50_ms && point.p50_ms <= point.p99_ms, "{point:?}");
    assert!(point.p99_ms <= point.max_ms, "{point:?}");
    assert!(point.subscribed_ms > 0.0 && point.admin_cpu_us_per_change > 0.0, "{point:?}");
    assert!(point.idle_kib > 0 && point.resident_kib > 0, "{point:?}");
}

#[test]
fn an_admin_that_is_none_is_an_error() {
    let error = format!("{:#}", curve(Path::new("/bin/false"), 1, &[1], 1).unwrap_err());
    assert!(error.contains("pigeon-admin ended"), "{error}");
}
