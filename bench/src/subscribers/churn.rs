//! Many changes a second, for a while: that every subscriber ends with the same state, how late, and what it costs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use super::proxy::{Acknowledged, Report};
use super::{CHANGE, Run, milliseconds, quantile, raise_open_files, with_admin};
use crate::process;

/// Writes on their way at most.
const AT_ONCE: usize = 64;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Churn {
    /// Simulated proxies.
    pub subscribers: u32,
    /// Routes that the admin holds.
    pub routes: u32,
    /// Changes a second, each a write of its own over REST.
    pub rate: u32,
    /// For how long.
    pub seconds: u32,
}

/// What was measured.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Churned {
    /// Writes that the admin answered.
    pub writes: u32,
    /// How long they took together, seconds: more than wanted if the admin did not keep up.
    pub seconds: f64,
    /// From the request of a write to its answer, milliseconds: the median.
    pub write_p50_ms: f64,
    /// The same, of 99 %.
    pub write_p99_ms: f64,
    /// Acknowledgements of all subscribers: fewer than writes each, as changes that are close come together.
    pub acknowledgements: u64,
    /// From the answer to the last write until all had acknowledged its revision, milliseconds.
    pub last_ms: f64,
    /// CPU time of the admin, user and system, as a share of one core.
    pub admin_cpu: f64,
    /// Resident memory of the admin after it, KiB.
    pub resident_kib: u64,
}

/// Measures it.
///
/// # Errors
/// When the admin fails, or a subscriber does not end with the state of all others.
pub fn churn(admin: &Path, plan: &Churn) -> anyhow::Result<Churned> {
    ensure!(plan.routes > 0 && plan.rate > 0 && plan.seconds > 0, "there is nothing to measure");
    raise_open_files();
    let folder = tempfile::tempdir()?;
    with_admin(admin, folder.path(), async |admin| admin.load(plan.routes).await)?;
    with_admin(admin, folder.path(), async |admin| {
        let (routes, subscribers) = (plan.routes, plan.subscribers);
        let run = Run { admin, routes, subscribers, changes: 0, single: false };
        measure(&run, plan).await
    })
}

async fn measure(run: &Run<'_>, plan: &Churn) -> anyhow::Result<Churned> {
    let (mut reports, _) = run.subscribe().await?;
    let (cpu, begun) = (process::cpu(run.admin.pid()), Instant::now());
    let mut heard = Heard::default();
    let written = {
        let writes = write(run, plan);
        let mut writes = std::pin::pin!(writes);
        loop {
            tokio::select! {
                written = &mut writes => break written?,
                report = reports.recv() => heard.take(report)?,
            }
        }
    };
    let (ended, last) = (Instant::now(), written.last);
    let everyone = heard.until(&mut reports, run.subscribers, last);
    let late = timeout(CHANGE, everyone).await.context("not everyone has the last revision")??;
    // And the admin knows.
    run.admin.all_applied(run.subscribers).await?;
    let took = begun.elapsed();
    let cpu = process::cpu(run.admin.pid()).saturating_sub(cpu);
    let mut times = written.times;
    times.sort_unstable();
    Ok(Churned {
        writes: u32::try_from(times.len()).unwrap_or(u32::MAX),
        seconds: (ended - begun).as_secs_f64(),
        write_p50_ms: milliseconds(quantile(&times, 0.5)),
        write_p99_ms: milliseconds(quantile(&times, 0.99)),
        acknowledgements: heard.count,
        last_ms: milliseconds(late.saturating_duration_since(ended)),
        admin_cpu: cpu.as_secs_f64() / took.as_secs_f64(),
        resident_kib: process::resident(run.admin.pid()) / 1024,
    })
}

struct Written {
    /// The revision of the last write.
    last: u64,
    times: Vec<Duration>,
}

/// Writes at the rate wanted, many at once if need be.
async fn write(run: &Run<'_>, plan: &Churn) -> anyhow::Result<Written> {
    let begun = tokio::time::Instant::now();
    let one = |number: u32| async move {
        // Never a timeout that a route had already.
        let route = number % plan.routes;
        let value = Duration::from_millis(1_000 + u64::from(number / plan.routes));
        let (sent, revision) = run.admin.set_timeout(route, value).await?;
        anyhow::Ok((sent.elapsed(), revision))
    };
    // What is due is what is waited for; the writes themselves go on beside each other.
    #[allow(clippy::async_yields_async)]
    let due = stream::iter(0..plan.rate * plan.seconds).then(async |number| {
        sleep_until(begun + Duration::from_secs(1) / plan.rate * number).await;
        one(number)
    });
    let mut answers = std::pin::pin!(due.buffer_unordered(AT_ONCE));
    let mut written = Written { last: 0, times: Vec::new() };
    while let Some(answer) = answers.next().await {
        let (time, revision) = answer?;
        written.times.push(time);
        written.last = written.last.max(revision);
    }
    Ok(written)
}

/// What each subscriber has acknowledged last.
#[derive(Default)]
struct Heard {
    last: BTreeMap<u32, Acknowledged>,
    count: u64,
}

impl Heard {
    fn take(&mut self, report: Option<Report>) -> anyhow::Result<()> {
        let Report { number, acknowledged } = report.context("all subscribers ended")?;
        let acknowledged = acknowledged.with_context(|| format!("subscriber {number} failed"))?;
        self.count += 1;
        self.last.insert(number, acknowledged);
        Ok(())
    }

    /// When the last subscriber came to this revision; they all have to say the same of it.
    async fn until(
        &mut self,
        reports: &mut mpsc::UnboundedReceiver<Report>,
        subscribers: u32,
        revision: u64,
    ) -> anyhow::Result<Instant> {
        let there = |heard: &Self| {
            let done = heard.last.values().filter(|last| last.revision == revision).count();
            done == subscribers as usize
        };
        while !there(self) {
            self.take(reports.recv().await)?;
        }
        let digests: std::collections::BTreeSet<_> =
            self.last.values().map(|last| &last.digest).collect();
        ensure!(digests.len() == 1, "{} different states at revision {revision}", digests.len());
        self.last.values().map(|last| last.at).max().context("there is no subscriber")
    }
}
