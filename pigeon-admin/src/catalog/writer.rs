//! The one writer: takes writes one after the other, and shows a configuration only once it is on disk.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::plan::{Base, Now, Plan, plan};
use super::tokens::{MOST_TOKENS, Shown, TokenError, TokenWrite, Uses};
use super::{Actor, Outcome, StoreError, StoreHealth, View, Write, WriteError};
use crate::access::{Token, Tokens};
use crate::metrics::Metrics;
use crate::store::{Batch, Store, TokenChange};

/// How often a store that could not write is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How often it is written down when tokens were used.
const USES: Duration = Duration::from_secs(60);

/// What the handles ask of the writer.
pub(super) enum Request {
    Write { write: Write, reply: oneshot::Sender<Result<Outcome, WriteError>> },
    Token { write: TokenWrite, actor: Actor, reply: oneshot::Sender<Result<(), TokenError>> },
    Close { reply: oneshot::Sender<()> },
}

/// Where the writer shows what it has done.
pub(super) struct Handles {
    pub view: watch::Receiver<Arc<View>>,
    pub revision: watch::Receiver<u64>,
    pub health: watch::Receiver<StoreHealth>,
    pub shown: Shown,
}

pub(super) struct Writer {
    store: Store,
    base: Base,
    /// After a failed commit: whether it is on disk is only known after reading again.
    in_doubt: bool,
    view: watch::Sender<Arc<View>>,
    revision: watch::Sender<u64>,
    health: watch::Sender<StoreHealth>,
    tokens: watch::Sender<Arc<Tokens>>,
    uses: Uses,
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
        let (tokens, tokens_rx) = watch::channel(Arc::new(store.tokens().await?));
        let uses = Uses::default();
        let shown = Shown { tokens: tokens_rx, uses: uses.clone() };
        let handles = Handles { view: view_rx, revision: revision_rx, health: health_rx, shown };
        let in_doubt = false;
        let writer = Self { store, base, in_doubt, view, revision, health, tokens, uses, metrics };
        Ok((writer, handles))
    }

    /// Serves until told to close, or until every handle is gone.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut closed = None;
        let others = Others::of(&self.store);
        let mut next_uses = Instant::now() + USES;
        loop {
            let ill = !self.health.borrow().is_ok();
            let request = tokio::select! {
                request = requests.recv() => request,
                () = others.may_have_written() => {
                    self.look().await;
                    continue;
                }
                () = sleep_until(next_uses) => {
                    self.note_uses().await;
                    next_uses = Instant::now() + USES;
                    continue;
                }
                () = sleep(RETRY), if ill => {
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
                Some(Request::Token { write, actor, reply }) => {
                    // The same as above.
                    let _ = reply.send(self.write_token(write, &actor).await);
                }
                Some(Request::Close { reply }) => {
                    requests.close();
                    closed.get_or_insert(reply);
                }
                None => break,
            }
        }
        drop(others);
        self.note_uses().await;
        self.store.close().await;
        if let Some(reply) = closed {
            let _ = reply.send(());
        }
    }

    /// Writes as if nobody else did: if another admin was faster, what it has written is read, and the write is
    /// planned on that, with all that it expects, while nobody else can write.
    async fn write(&mut self, write: &Write) -> Result<Outcome, WriteError> {
        if self.in_doubt {
            self.reload().await.map_err(WriteError::Store)?;
        }
        match self.attempt(write).await {
            Err(WriteError::Store(StoreError::ChangedElsewhere)) => {}
            done => return done,
        }
        let locked = self.store.lock(&self.base.view).await;
        locked.and_then(|view| self.take(view)).map_err(WriteError::Store)?;
        let done = self.attempt(write).await;
        self.store.unlock().await;
        done
    }

    async fn attempt(&mut self, write: &Write) -> Result<Outcome, WriteError> {
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
            Err(e) => self.failed(e, outcome, &write.actor).await,
        }
    }

    /// A commit that failed may still be on disk; reading again decides which answer is true.
    async fn failed(
        &mut self,
        e: StoreError,
        wanted: Outcome,
        actor: &Actor,
    ) -> Result<Outcome, WriteError> {
        self.in_doubt = true;
        let reloaded = self.reload().await;
        if matches!(e, StoreError::ChangedElsewhere) {
            return Err(WriteError::Store(reloaded.err().unwrap_or(e)));
        }
        tracing::error!(error = %e, revision = wanted.revision, "a write could not be stored");
        // Another admin may have made a revision of this number.
        if reloaded.is_ok()
            && self.base.view.revision >= wanted.revision
            && self.store.was_made(wanted.revision, &actor.request_id).await.unwrap_or(false)
        {
            return Ok(wanted);
        }
        self.ill(&e);
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

    /// Reads what is new, after which memory and disk agree.
    async fn reload(&mut self) -> Result<(), StoreError> {
        let view = self.store.since(&self.base.view).await?;
        self.take(view)
    }

    /// Shows what the store holds by now.
    fn take(&mut self, view: View) -> Result<(), StoreError> {
        let had = &self.base.view;
        let object = || "the configuration".into();
        if view.generation != had.generation || view.cluster_id != had.cluster_id {
            let why = "a backup was put back; restart pigeon-admin".into();
            return Err(StoreError::Unreadable { object: object(), why });
        }
        let (had, has) = (had.revision, view.revision);
        if has < had {
            let why = format!("it went back from revision {had} to {has}; restart pigeon-admin");
            return Err(StoreError::Unreadable { object: object(), why });
        }
        if has > had {
            self.base = Base::new(view);
            self.show();
        }
        self.in_doubt = false;
        Ok(())
    }

    async fn write_token(&mut self, write: TokenWrite, actor: &Actor) -> Result<(), TokenError> {
        // Another admin may have made or revoked some.
        self.read_tokens().await.map_err(TokenError::Store)?;
        let known = self.tokens.borrow().clone();
        let named = |name: &str| known.by_name(name).cloned();
        let revoked: Arc<Token>;
        let change = match &write {
            TokenWrite::Add(token) if named(&token.name).is_some() => {
                return Err(TokenError::Exists);
            }
            TokenWrite::Add(_) if known.len() >= MOST_TOKENS => return Err(TokenError::TooMany),
            TokenWrite::Add(token) => TokenChange::Add(token),
            TokenWrite::Revoke(name) => {
                revoked = named(name).ok_or(TokenError::NotFound)?;
                TokenChange::Revoke(&revoked)
            }
        };
        let changed = self.store.change_token(change, now_ms(), actor).await;
        let read = self.read_tokens().await;
        if let Err(e) = &changed {
            self.ill(e);
        }
        changed.and(read).map_err(TokenError::Store)
    }

    async fn read_tokens(&mut self) -> Result<(), StoreError> {
        let tokens = self.store.tokens().await?;
        if **self.tokens.borrow() != tokens {
            self.tokens.send_replace(Arc::new(tokens));
        }
        Ok(())
    }

    async fn note_uses(&mut self) {
        let uses = self.uses.take();
        if uses.is_empty() {
            return;
        }
        let noted = self.store.note_uses(&uses).await;
        if let Err(error) = noted.and(self.read_tokens().await) {
            tracing::warn!(%error, "could not write down when tokens were used last");
        }
    }

    /// Takes what other admins have written.
    async fn look(&mut self) {
        if let Err(e) = self.read_tokens().await {
            self.ill(&e);
        }
        let known = (self.base.view.generation, self.base.view.revision);
        let looked = match self.store.newest().await {
            Ok(newest) if newest == known => Ok(()),
            Ok(_) => self.reload().await,
            Err(e) => Err(e),
        };
        if let Err(e) = looked {
            self.ill(&e);
        }
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
        if self.health.borrow().is_ok() {
            tracing::error!(error = %e, "the store cannot be used; what is known goes on being served");
        }
        self.health.send_replace(StoreHealth::CannotWrite { reason: e.to_string() });
    }
}

/// Other admins on the same store, if there can be any.
struct Others {
    told: Arc<Notify>,
    listening: Option<AbortHandle>,
}

impl Others {
    fn of(store: &Store) -> Self {
        let told = Arc::new(Notify::new());
        let listening = store.follower().map(|mut follower| {
            let told = told.clone();
            let listen = async move {
                loop {
                    follower.next().await;
                    told.notify_one();
                }
            };
            tokio::spawn(listen).abort_handle()
        });
        Self { told, listening }
    }

    /// Resolves when it is time to look.
    async fn may_have_written(&self) {
        self.told.notified().await;
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
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
        Err(WriteError::Forbidden(_)) => "forbidden",
        Err(
            WriteError::Exists(_)
            | WriteError::Stale { .. }
            | WriteError::Moved { .. }
            | WriteError::InUse { .. }
            | WriteError::Owned { .. }
            | WriteError::TooManyRemoved { .. },
        ) => "conflict",
    }
}
