//! Waiting for a condition, with a deadline.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a passing test never waits that long.
const SOON: Duration = Duration::from_secs(30);

/// Asks `probe` again and again until it gives a value, and returns it.
///
/// # Panics
/// After 30 s, with `what` and the last answer.
pub fn until<T, E: Display>(what: &str, probe: impl FnMut() -> Result<T, E>) -> T {
    within(SOON, what, probe)
}

/// As [`until`], with its own limit.
///
/// # Panics
/// After `limit`, with `what` and the last answer.
pub fn within<T, E: Display>(
    limit: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T, E>,
) -> T {
    let start = Instant::now();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > limit => {
                panic!("{what}: not within {limit:?}; seen last: {seen}")
            }
            // The pause between two looks, so that looking does not take the processor from the looked at.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
