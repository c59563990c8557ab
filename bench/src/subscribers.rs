//! How the admin's config stream scales: a real pigeon-admin, and many simulated proxies that follow it.
//!
//! All of it is on one machine, and the subscribers share one thread: the times hold what it costs them to
//! receive and to acknowledge, too. CPU and memory are the admin's alone.

mod admin;
mod churn;
mod proxy;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::process;
use admin::Admin;
pub use churn::{Churn, Churned, churn};
use proxy::{Acknowledged, Proxy, Report};

/// How long a change may take to reach everyone.
const CHANGE: Duration = Duration::from_secs(60);
/// How long everyone together may take to get the first snapshot.
const SUBSCRIBE: Duration = Duration::from_secs(300);
/// How many subscribers connect at once: fewer than the admin's listener has room for, as a connection that
/// the kernel drops comes again only a second later.
const CONNECTING: usize = 256;
/// Open files that are no subscriber's connection.
const OTHER_FILES: u64 = 100;

/// What was measured at one number of subscribers.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Point {
    /// Simulated proxies, each with a connection of its own.
    pub subscribers: u32,
    /// Routes that the admin held.
    pub routes: u32,
    /// Changes measured, one after another.
    pub changes: u32,
    /// From just before a change is sent over REST until all have acknowledged it, milliseconds: the median.
    pub p50_ms: f64,
    /// The same, of 99 % of the changes.
    pub p99_ms: f64,
    /// The same, of the slowest change.
    pub max_ms: f64,
    /// Resident memory of the admin with its routes, before the first subscriber, KiB.
    pub idle_kib: u64,
    /// Resident memory of the admin with all subscribers, after the changes, KiB.
    pub resident_kib: u64,
    /// From the first connection until all have acknowledged their first snapshot, milliseconds.
    pub subscribed_ms: f64,
    /// CPU time of the admin, user and system, per change, microseconds: from the request to the last
    /// acknowledgement.
    pub admin_cpu_us_per_change: f64,
}

/// Measures each number of subscribers with a fresh admin that holds `routes` routes.
///
/// # Errors
/// When the admin does not start or fails, or a subscriber misses a change; which one, and why.
pub fn curve(
    admin: &Path,
    routes: u32,
    subscribers: &[u32],
    changes: u32,
) -> anyhow::Result<Vec<Point>> {
    ensure!(routes > 0, "a change needs a route");
    ensure!(changes > 0, "there is nothing to measure without a change");
    // The admin inherits it.
    let files = raise_open_files();
    let measured = |count: &u32| {
        ensure!(*count > 0, "at least one subscriber");
        let needed = u64::from(*count) + OTHER_FILES;
        ensure!(
            needed <= files,
            "{count} subscribers need {needed} open files, {files} are allowed"
        );
        measure(admin, routes, *count, changes).with_context(|| format!("{count} subscribers"))
    };
    subscribers.iter().map(measured).collect()
}

/// Lets this process and those it starts have as many open files as the system allows; how many that is.
fn raise_open_files() -> u64 {
    let Rlimit { maximum, current } = getrlimit(Resource::Nofile);
    // Refused only where even that is forbidden; then the old limit holds.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if raised.is_ok() { maximum } else { current }.unwrap_or(u64::MAX)
}

fn measure(program: &Path, routes: u32, subscribers: u32, changes: u32) -> anyhow::Result<Point> {
    let folder = tempfile::tempdir()?;
    // Another process than the one that is measured, whose memory would hold what the load left behind.
    with_admin(program, folder.path(), async |admin| admin.load(routes).await)?;
    let point = async |admin: &Admin| {
        Run { admin, routes, subscribers, changes, single: true }.point().await
    };
    with_admin(program, folder.path(), point)
}

/// Does something with an admin that keeps its store in `folder` and ends afterwards.
fn with_admin<T>(
    program: &Path,
    folder: &Path,
    work: impl AsyncFnOnce(&Admin) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut admin = Admin::start(program, folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        admin.ready().await?;
        work(&admin).await
    });
    // Before the admin, and the connections with it: without any, it ends at once.
    drop(runtime);
    result.with_context(|| admin.complaint())
}

/// One measurement, with an admin that has its routes.
struct Run<'a> {
    admin: &'a Admin,
    routes: u32,
    subscribers: u32,
    changes: u32,
    /// One change comes after the other.
    single: bool,
}

impl Run<'_> {
    async fn point(&self) -> anyhow::Result<Point> {
        let idle = process::resident(self.admin.pid());
        let (mut reports, subscribed) = self.subscribe().await?;
        let cpu = process::cpu(self.admin.pid());
        let mut times = Vec::new();
        for number in 0..self.changes {
            let time = self.change(number, &mut reports).await;
            times.push(time.with_context(|| format!("change {} of {}", number + 1, self.changes))?);
        }
        // What was acknowledged last may still be on its way; only what has arrived was worth measuring.
        self.admin.all_applied(self.subscribers).await?;
        let cpu = process::cpu(self.admin.pid()).saturating_sub(cpu);
        let resident = process::resident(self.admin.pid());
        times.sort_unstable();
        Ok(Point {
            subscribers: self.subscribers,
            routes: self.routes,
            changes: self.changes,
            p50_ms: milliseconds(quantile(&times, 0.5)),
            p99_ms: milliseconds(quantile(&times, 0.99)),
            max_ms: milliseconds(quantile(&times, 1.0)),
            idle_kib: idle / 1024,
            resident_kib: resident / 1024,
            subscribed_ms: milliseconds(subscribed),
            admin_cpu_us_per_change: cpu.as_secs_f64() * 1e6 / f64::from(self.changes),
        })
    }

    /// Starts all subscribers; how long it took until each had everything.
    async fn subscribe(&self) -> anyhow::Result<(mpsc::UnboundedReceiver<Report>, Duration)> {
        let (sender, mut reports) = mpsc::unbounded_channel();
        let connecting = Arc::new(Semaphore::new(CONNECTING));
        let token = self.admin.proxy_token()?;
        let start = Instant::now();
        for number in 1..=self.subscribers {
            let (connecting, reports) = (connecting.clone(), sender.clone());
            let (address, token) = (self.admin.stream_address(), token.clone());
            let single = self.single;
            tokio::spawn(Proxy { number, single, address, token, connecting, reports }.run());
        }
        let heard = self.heard_of_all(&mut reports, SUBSCRIBE).await.context("the snapshot")?;
        // It also has to have come to know all of them, or the first change is not like the others.
        let revision = self.admin.all_applied(self.subscribers).await?;
        Ok((reports, heard.last_of(revision)?.saturating_duration_since(start)))
    }

    /// Makes a change; how long it took until everyone had acknowledged it.
    async fn change(
        &self,
        number: u32,
        reports: &mut mpsc::UnboundedReceiver<Report>,
    ) -> anyhow::Result<Duration> {
        let route = number % self.routes;
        // Never the timeout of an earlier change: that would be none.
        let written =
            self.admin.set_timeout(route, Duration::from_millis(1000 + u64::from(number)));
        let everyone = self.heard_of_all(reports, CHANGE);
        // At the same time: the change may reach subscribers before its author has the answer.
        let ((start, revision), heard) = tokio::try_join!(written, everyone)?;
        Ok(heard.last_of(revision)?.saturating_duration_since(start))
    }

    /// One report of every subscriber.
    async fn heard_of_all(
        &self,
        reports: &mut mpsc::UnboundedReceiver<Report>,
        limit: Duration,
    ) -> anyhow::Result<Heard> {
        let mut missing: BTreeSet<u32> = (1..=self.subscribers).collect();
        let mut heard = Heard(Vec::new());
        let all = async {
            while !missing.is_empty() {
                let Report { number, acknowledged } = reports.recv().await.context("all ended")?;
                let Acknowledged { revision, at, .. } =
                    acknowledged.with_context(|| format!("subscriber {number} failed"))?;
                ensure!(missing.remove(&number), "subscriber {number} was told twice");
                heard.0.push((number, revision, at));
            }
            anyhow::Ok(())
        };
        match timeout(limit, all).await {
            Ok(outcome) => outcome.map(|()| heard),
            Err(_) => bail!(
                "subscriber {} and {} others heard nothing within {limit:?}",
                missing.first().copied().unwrap_or_default(),
                missing.len().saturating_sub(1)
            ),
        }
    }
}

/// What every subscriber acknowledged, and when: number, revision, time.
struct Heard(Vec<(u32, u64, Instant)>);

impl Heard {
    /// When the last one acknowledged, if it was this revision for all of them.
    fn last_of(&self, expected: u64) -> anyhow::Result<Instant> {
        for (number, revision, _) in &self.0 {
            ensure!(
                *revision == expected,
                "subscriber {number} got revision {revision} instead of {expected}"
            );
        }
        self.0.iter().map(|(_, _, at)| *at).max().context("there is no subscriber")
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The least of the sorted `times` that a share of them, above 0, does not exceed.
fn quantile(times: &[Duration], share: f64) -> Duration {
    let rank = (share * times.len() as f64).ceil() as usize;
    times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let ms = Duration::from_millis;
        let times: Vec<_> = (1..=100).map(ms).collect();
        let of = |times: &[Duration]| [0.5, 0.99, 1.0].map(|share| quantile(times, share));
        assert_eq!(of(&times), [ms(50), ms(99), ms(100)]);
        assert_eq!(of(&times[..3]), [ms(2), ms(3), ms(3)]);
        assert_eq!(of(&times[..1]), [ms(1); 3]);
    }

    #[test]
    fn whoever_got_something_else_is_named() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let heard = Heard(vec![(1, 7, now), (2, 7, later)]);
        assert_eq!(heard.last_of(7).unwrap(), later);
        let error = heard.last_of(8).unwrap_err().to_string();
        assert_eq!(error, "subscriber 1 got revision 7 instead of 8");
    }
}
