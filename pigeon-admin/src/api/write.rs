//! What every write has in common: who writes, the commit, the wait for the proxies, the answer.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::ApiState;
use super::auth::Principal;
use super::error::Problem;
use super::frame::Caller;
use super::query::WriteQuery;
use super::types::Applied;
use crate::app::AppState;
use crate::catalog::{Actor, Change, Outcome, OwnerSet, Write};
use crate::proxies;

const PIGEON_REVISION: HeaderName = HeaderName::from_static("pigeon-revision");
const PIGEON_APPLIED: HeaderName = HeaderName::from_static("pigeon-applied");

/// A write that is about to be made.
#[derive(Clone)]
pub struct Intent {
    /// Who writes.
    pub actor: Actor,
    query: WriteQuery,
    base: Option<u64>,
    set: Option<OwnerSet>,
}

impl Intent {
    /// Reads who writes, and how.
    ///
    /// # Errors
    /// 400 with every wrong query parameter.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        Self::asked(request, WriteQuery::of(request.uri())?)
    }

    /// The same, with the parameters that were read already.
    ///
    /// # Errors
    /// None but for a fault of this program.
    pub fn asked(request: &Request, query: WriteQuery) -> Result<Self, Problem> {
        let extensions = request.extensions();
        let (Some(principal), Some(caller)) =
            (extensions.get::<Principal>(), extensions.get::<Caller>())
        else {
            return Err(Problem::internal("a write reached its handler without a writer"));
        };
        Ok(Self { actor: principal.actor(caller), query, base: None, set: None })
    }

    /// Whether nothing is to be changed.
    pub fn is_dry_run(&self) -> bool {
        self.query.dry_run
    }

    /// The same, but only if the whole configuration is at this revision.
    pub fn at(self, revision: u64) -> Self {
        Self { base: Some(revision), ..self }
    }

    /// The same, and what is put belongs to this set.
    pub fn of_set(self, set: Option<OwnerSet>) -> Self {
        Self { set, ..self }
    }

    /// Makes the changes, all or none, and waits for the proxies if that is asked for. `conditional`
    /// tells whether the request stated a condition that a missing object breaks.
    ///
    /// # Errors
    /// Whatever keeps the write from happening.
    pub async fn commit(
        self,
        api: &ApiState,
        changes: Vec<Change>,
        conditional: bool,
    ) -> Result<Done, Problem> {
        let Self { actor, query: WriteQuery { dry_run, wait, timeout }, base, set } = self;
        let begun = Instant::now();
        let write = Write { actor, changes, dry_run, base, set };
        let written = api.app().catalog.write(write).await;
        let outcome = written.map_err(|e| Problem::of_write(e, conditional))?;
        let applied = match dry_run {
            true => None,
            false => {
                let applied = applied(api, outcome.revision, wait.then_some(timeout)).await;
                Some(Applied::of(applied, begun.elapsed()))
            }
        };
        let late = wait && applied.as_ref().is_some_and(|a| !a.is_done());
        Ok(Done { outcome, applied, late })
    }
}

/// How far a revision has come: at once, or when every proxy has answered, at most `timeout` from now.
async fn applied(api: &ApiState, revision: u64, timeout: Option<Duration>) -> proxies::Applied {
    let AppState { proxies, shutdown, .. } = api.app();
    let Some(timeout) = timeout else { return proxies.applied(revision) };
    let waited = proxies.wait_applied(revision, timeout);
    match shutdown.run_until_cancelled(waited).await {
        Some(applied) => applied,
        None => proxies.applied(revision),
    }
}

/// A write that was made.
pub struct Done {
    /// What it did.
    pub outcome: Outcome,
    /// How far it came; `None` in a dry run.
    pub applied: Option<Applied>,
    late: bool,
}

impl Done {
    /// The answer: `usual`, or 202 if a wait for the proxies ended without all of them.
    pub fn answer(
        &self,
        usual: StatusCode,
        body: &impl Serialize,
        etag: Option<String>,
        location: Option<String>,
    ) -> Response {
        let status = if self.late { StatusCode::ACCEPTED } else { usual };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(PIGEON_REVISION, HeaderValue::from(self.outcome.revision));
        set(headers, PIGEON_APPLIED, self.applied.as_ref().map(Applied::ratio));
        set(headers, header::ETAG, etag);
        set(headers, header::LOCATION, location);
        response
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<String>) {
    // All of these are names and numbers, which always fit into a header.
    if let Some(value) = value.and_then(|v| HeaderValue::try_from(v).ok()) {
        headers.insert(name, value);
    }
}

/// The answer to a read of the configuration at `revision`.
pub fn read(revision: u64, body: &impl Serialize, etag: Option<String>) -> Response {
    let mut response = Json(body).into_response();
    response.headers_mut().insert(PIGEON_REVISION, HeaderValue::from(revision));
    set(response.headers_mut(), header::ETAG, etag);
    response
}

/// 304 to a read whose caller has the object already.
pub fn not_modified(revision: u64, etag: String) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    response.headers_mut().insert(PIGEON_REVISION, HeaderValue::from(revision));
    set(response.headers_mut(), header::ETAG, Some(etag));
    response
}
