//! Looks for the keys that tokens are checked with: in files when they change, at URLs as often as their
//! answers say, and earlier when a token names a key that is not known yet.
//!
//! Off the path of calls: these know the keys that were found last, and go on with them when a look brings
//! nothing.

mod fetch;

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pigeon_proto::model::JwksLocation;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Timings;
use crate::config::file::Changes;
use crate::filter::identity::{KeySet, KeySource, LARGEST, Looked};
use crate::gateway::Gateway;
use crate::reload::Asked;

/// No look because of a key that is not known before the last look is so long ago.
const MISS: Duration = Duration::from_secs(10);
/// How long keys from a URL are good, if it does not say; what is said is taken within bounds.
const FRESH: Duration = Duration::from_secs(300);
const FRESH_LEAST: Duration = Duration::from_secs(30);
const FRESH_MOST: Duration = Duration::from_secs(3_600);
/// How long a reading of everything waits for servers of keys.
const ALL: Duration = Duration::from_secs(30);
/// Until the next look after one that has failed: at first, and at most.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_secs(60);

/// Follows all sources of keys until told to stop.
pub async fn run(gateway: Arc<Gateway>, timings: Timings, stop: CancellationToken) {
    let mut tasks = JoinSet::new();
    let mut followed: Vec<(Arc<KeySource>, CancellationToken)> = Vec::new();
    let mut reload = gateway.reload().part();
    loop {
        let sources = gateway.key_sources();
        let (stay, gone): (Vec<_>, _) = followed
            .into_iter()
            .partition(|(known, _)| sources.iter().any(|source| Arc::ptr_eq(source, known)));
        gone.iter().for_each(|(_, end)| end.cancel());
        followed = stay;
        for source in sources {
            if followed.iter().all(|(known, _)| !Arc::ptr_eq(&source, known)) {
                let end = stop.child_token();
                let follow = follow(Arc::clone(&source), timings);
                tasks.spawn(end.clone().run_until_cancelled_owned(follow));
                followed.push((source, end));
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = gateway.keys_asked() => {}
            asked = reload.asked() => {
                tasks.spawn(all(followed.iter().map(|(known, _)| Arc::clone(known)).collect(), asked));
            }
            Some(_) = tasks.join_next() => {}
        }
    }
    tasks.shutdown().await;
}

/// Looks once at every source that has no keys yet, all at a time and no longer than `most`.
pub async fn first(gateway: &Gateway, most: Duration) {
    let mut looks = JoinSet::new();
    for source in gateway.key_sources().into_iter().filter(|source| !source.has_keys()) {
        looks.spawn(async move { look(&source).await });
    }
    let all = async { while looks.join_next().await.is_some() {} };
    // What is not there by then comes later.
    let _ = timeout(most, all).await;
}

/// Has every source looked at.
async fn all(sources: Vec<Arc<KeySource>>, asked: Asked) -> Option<()> {
    // All are asked before one is waited for.
    let looks: Vec<_> = sources.iter().map(|source| (source, source.ask())).collect();
    let looked = async {
        for (source, look) in looks {
            source.looked(look).await;
        }
    };
    // A source that the configuration has just left is not looked at any more.
    let _ = timeout(ALL, looked).await;
    drop(asked);
    Some(())
}

async fn follow(source: Arc<KeySource>, timings: Timings) {
    let mut changes = match &source.location {
        JwksLocation::File(path) => Some(Changes::of_all(vec![path.into()], timings)),
        JwksLocation::Url(_) => None,
    };
    let mut failures = 0;
    loop {
        let begun = Instant::now();
        let next = match look(&source).await {
            Some(fresh) => {
                failures = 0;
                fresh
            }
            None => {
                failures += 1;
                after_failures(failures)
            }
        };
        // Not all proxies at once.
        let next = begun + next.mul_f64(1.0 - fastrand::f64() / 10.0);
        tokio::select! {
            () = due(&mut changes, next) => {}
            () = source.asked() => {}
            () = missed(&source, begun + MISS) => {}
        }
    }
}

/// Resolves when a file has changed, or at `next`.
async fn due(changes: &mut Option<Changes>, next: Instant) {
    match changes {
        Some(changes) => changes.next().await,
        None => sleep_until(next).await,
    }
}

/// Resolves when a key was missed, and not before `earliest`.
async fn missed(source: &KeySource, earliest: Instant) {
    source.missed().await;
    sleep_until(earliest).await;
}

/// Doubles each time.
fn after_failures(failures: u32) -> Duration {
    AGAIN.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(AGAIN_MOST)
}

/// Looks once; how long what was found is good, if something was.
async fn look(source: &Arc<KeySource>) -> Option<Duration> {
    source.begins();
    let found = match &source.location {
        JwksLocation::Url(url) => fetch::fetch(url, source.ca.as_deref()).await,
        JwksLocation::File(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || read(&path)).await;
            read.unwrap_or_else(|error| Err(error.to_string())).map(|bytes| (bytes.into(), None))
        }
    };
    let found = found.and_then(|(bytes, said)| Ok((KeySet::read(&bytes)?, said)));
    let said = found.as_ref().ok().map(|(_, said)| said.unwrap_or(FRESH));
    let had = source.has_keys();
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let looked = source.ends(found.map(|(keys, _)| keys), at);
    tell(source, looked, had);
    said.map(|said| said.clamp(FRESH_LEAST, FRESH_MOST))
}

fn tell(source: &KeySource, looked: Looked, had: bool) {
    let shown = source.shown();
    let (jwks, error) = (&shown.location, shown.error.unwrap_or_default());
    match looked {
        Looked::Same | Looked::FailedAgain => {}
        Looked::New => tracing::info!(
            %jwks, keys = shown.count, names = ?shown.names, "tokens are checked with these keys now"
        ),
        Looked::Failed if had => {
            tracing::error!(%jwks, "the keys of tokens cannot be read, the old ones serve on: {error}");
        }
        Looked::Failed => tracing::error!(
            %jwks, "the keys of tokens cannot be read, calls with tokens of theirs are refused (no_keys): {error}"
        ),
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot read {path}: {error}");
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        // To open a pipe would wait for its writer.
        return Err(format!("cannot read {path}: it is not a file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(LARGEST as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > LARGEST {
        return Err(format!("cannot read {path}: it is larger than {LARGEST} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_later_and_later() {
        let waits: Vec<_> = (1..=9).map(|n| after_failures(n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(after_failures(u32::MAX), AGAIN_MOST);
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_path() {
        for (path, why) in [("/nowhere/keys.json", "No such file"), ("/dev", "not a file")] {
            let error = read(path).expect_err(path);
            assert!(error.contains(path) && error.contains(why), "{error}");
        }
    }
}
