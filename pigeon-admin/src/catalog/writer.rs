//! The one writer: takes writes one after the other, and shows a configuration only once it is on disk.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};

use super::plan::{Base, Now, Plan, plan};
use super::{Outcome, StoreError, StoreHealth, View, Write, WriteError};
use crate::metrics::Metrics;
use crate::store::{Batch, Store};

/// How often a store that could not write is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What the handles ask of the writer.
pub(super) enum Request {
    Write { write: Write, reply: oneshot::Sender<Result<Outcome, WriteError>> },
    Close { reply: oneshot::Sender<()> },
}

/// Where the writer shows what it has done.
pub(super) struct Handles {
    pub view: watch::Receiver<Arc<View>>,
    pub revision: watch::Receiver<u64>,
    pub health: watch::Receiver<StoreHealth>,
}

pub(super) struct Writer {
    store: Store,
    base: Base,
    /// After a failed commit: whether it is on disk is only known after reading again.
    in_doubt: bool,
    view: watch::Sender<Arc<View>>,
    revision: watch::Sender<u64>,
    health: watch::Sender<StoreHealth>,
    metrics: Metrics,
}

impl Writer {
    pub(super) async fn open(
        mut store: Store,
        metrics: Metrics,
    ) -> Result<(Self, Handles), StoreError> {
        let base = Base::new(store.load().await?);
        let (view, view_rx) = watch::channel(base.view.clone());
        let (revision, revision_rx) = watch::channel(base.view.revision);
        let (health, health_rx) = watch::channel(StoreHealth::Ok);
        let handles = Handles { view: view_rx, revision: revision_rx, health: health_rx };
        Ok((Self { store, base, in_doubt: false, view, revision, health, metrics }, handles))
    }

    /// Serves until told to close, or until every handle is gone.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut closed = None;
        loop {
            let ill = !self.health.borrow().is_ok();
            let request = tokio::select! {
                request = requests.recv() => request,
                () = tokio::time::sleep(RETRY), if ill => {
                    self.try_again().await;
                    continue;
                }
            };
            match request {
                Some(Request::Write { write, reply }) => {
                    let result = self.write(&write).await;
                    self.metrics.write(outcome_word(&result, write.dry_run));
                    // The caller may have gone away; what was written stays written.
                    let _ = reply.send(result);
                }
                Some(Request::Close { reply }) => {
                    requests.close();
                    closed.get_or_insert(reply);
                }
                None => break,
            }
        }
        self.store.close().await;
        if let Some(reply) = closed {
            let _ = reply.send(());
        }
    }

    async fn write(&mut self, write: &Write) -> Result<Outcome, WriteError> {
        if self.in_doubt {
            self.reload().await.map_err(WriteError::Store)?;
        }
        let at_ms = now_ms();
        let mut new_uid = || uuid::Uuid::now_v7().to_string();
        let plan = plan(&self.base, write, &mut Now { at_ms, new_uid: &mut new_uid })?;
        let outcome = Outcome { revision: plan.snapshot.revision, changed: plan.changed.clone() };
        if write.dry_run || outcome.revision == self.base.view.revision {
            return Ok(outcome);
        }
        let changes: Vec<_> = plan.changed.iter().filter(|c| c.is_change()).cloned().collect();
        let batch =
            Batch { revision: outcome.revision, at_ms, actor: &write.actor, changes: &changes };
        match self.store.commit(&batch).await {
            Ok(()) => {
                self.well();
                self.adopt(plan);
                Ok(outcome)
            }
            Err(e) => self.failed(e, outcome).await,
        }
    }

    /// A commit that failed may still be on disk; reading again decides which answer is true.
    async fn failed(&mut self, e: StoreError, wanted: Outcome) -> Result<Outcome, WriteError> {
        tracing::error!(error = %e, revision = wanted.revision, "a write could not be stored");
        self.in_doubt = true;
        let elsewhere = matches!(e, StoreError::ChangedElsewhere);
        let reloaded = self.reload().await;
        if reloaded.is_ok() && !elsewhere && self.base.view.revision == wanted.revision {
            return Ok(wanted);
        }
        if !elsewhere {
            self.ill(&e);
        }
        Err(WriteError::Store(e))
    }

    /// Shows the configuration of `plan`, which is on disk.
    fn adopt(&mut self, plan: Plan) {
        let mut view = View::clone(&self.base.view);
        view.revision = plan.snapshot.revision;
        for change in plan.changed {
            match change.after {
                Some(stored) => view.objects.insert(change.key, stored),
                None => view.objects.remove(&change.key),
            };
        }
        self.base = Base { view: Arc::new(view), snapshot: plan.snapshot };
        self.show();
    }

    fn show(&self) {
        debug_assert_eq!(self.base.view.revision, self.base.snapshot.revision);
        debug_assert_eq!(self.base.view.objects.len(), self.base.snapshot.objects.len());
        self.view.send_replace(self.base.view.clone());
        self.revision.send_replace(self.base.view.revision);
    }

    /// Reads everything again, after which memory and disk agree.
    async fn reload(&mut self) -> Result<(), StoreError> {
        let view = self.store.load().await?;
        let (had, has) = (self.base.view.revision, view.revision);
        if has < had {
            let why = format!("it went back from revision {had} to {has}; restart pigeon-admin");
            return Err(StoreError::Unreadable { object: "the configuration".into(), why });
        }
        if has > had {
            self.base = Base::new(view);
            self.show();
        }
        self.in_doubt = false;
        Ok(())
    }

    async fn try_again(&mut self) {
        match self.store.probe().await {
            Ok(()) => self.well(),
            Err(e) => self.ill(&e),
        }
    }

    fn well(&self) {
        if !self.health.borrow().is_ok() {
            tracing::info!("the store can be written again");
            self.health.send_replace(StoreHealth::Ok);
        }
    }

    fn ill(&self, e: &StoreError) {
        self.health.send_replace(StoreHealth::CannotWrite { reason: e.to_string() });
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

fn outcome_word(result: &Result<Outcome, WriteError>, dry_run: bool) -> &'static str {
    match result {
        Ok(_) if dry_run => "dry_run",
        Ok(o) if o.changed.iter().any(super::Changed::is_change) => "committed",
        Ok(_) => "unchanged",
        Err(WriteError::Store(_)) => "store_error",
        Err(WriteError::Invalid(_)) => "invalid",
        Err(WriteError::NotFound(_)) => "not_found",
        Err(
            WriteError::Exists(_)
            | WriteError::Stale { .. }
            | WriteError::Moved { .. }
            | WriteError::InUse { .. },
        ) => "conflict",
    }
}
