//! `GET /v1/stream`: what happens, as server-sent events: the summary, changes of the configuration, the proxies.
//!
//! A stream is made of topics. Each is asked in turn what it has to say, and only when the reader has taken what was
//! said before: a slow reader makes nothing pile up here.

mod config;
mod pace;
mod place;
mod proxies;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::future::select_all;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::config::Changes;
use self::pace::Pace;
use self::place::Place;
use self::proxies::ProxyChanges;
use super::auth::Principal;
use super::error::{Problem, ProblemBody};
use super::query::Query;
use super::{ApiState, code, summary};
use crate::catalog::StoreError;

/// How many streams may be open.
pub const MOST: usize = 100;
/// The longest time without a word.
const SILENCE: Duration = Duration::from_secs(15);
/// How long a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(2);
/// What a stream can tell of.
const TOPICS: [&str; 3] = ["summary", "config", "proxies"];
/// What a reader had last, as browsers say it when they connect again.
const LAST_EVENT_ID: &str = "last-event-id";

/// The calls of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(open))
}

/// What is followed.
#[allow(dead_code)] // The reference only; `wanted` reads it.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// Some of `summary`, `config` and `proxies`, separated by commas; `summary` unless given.
    #[param(example = "config,proxies")]
    topics: Option<String>,
    /// With `config`: first what happened after this revision, or after the event of this id.
    #[param(example = "1-42")]
    since: Option<String>,
}

/// Follow what happens
///
/// Server-sent events, by topic. `summary`: the body of `/v1/summary`, at the start and whenever something changed,
/// at most once a second. `proxies`: `proxy`, a proxy as `/v1/proxies/{name}` has it, each at the start and whenever
/// it changed, at most once a second. `config`: `config` for every object that a revision changed
/// (`{op, kind, name, revision, object}`), in order; `bookmark` (`{revision}`) once all there was is told, and after
/// 30 seconds without an event; `resync` (`{revision}`) where something is missing between what the reader had and
/// now: list again. Their `id` is where to go on; of several changes of one revision only the last has it. A comment
/// every 15 seconds without an event.
#[utoipa::path(get, path = "/v1/stream", operation_id = "follow", tag = "summary",
    params(StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event, as browsers send it when they connect again; goes before `since`. Where it is no place to go on from, the first event is `resync`")),
    responses(
        (status = 200, description = "The events", body = String, content_type = "text/event-stream"),
        (status = 410, description = "`since` is no place to go on from: too long ago, in the future, or of another store", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "There are 100 streams already", body = ProblemBody, content_type = "application/problem+json")))]
async fn open(
    State(api): State<ApiState>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let (names, since) = wanted(&uri)?;
    let mut topics = Vec::new();
    for name in names {
        topics.push(match name {
            "config" => Topic::Config(changes(&api, &headers, since)?),
            "proxies" => Topic::Proxies(ProxyChanges::new(api.app())),
            _ => Topic::Summary(Pace::new(api.app())),
        });
    }
    let permit = Arc::clone(api.streams()).try_acquire_owned().map_err(|_| too_many())?;
    let spoken = Instant::now();
    let feed = Feed { api, principal, topics, started: false, spoken, _permit: permit };
    let events = futures_util::stream::unfold(feed, |mut feed| async {
        let event = feed.next().await?;
        Some((Ok::<_, Infallible>(event), feed))
    });
    // Told to proxies in between: what is sent is meant to arrive now.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(([unbuffered], Sse::new(events)).into_response())
}

fn wanted(uri: &Uri) -> Result<(Vec<&'static str>, Option<Place>), Problem> {
    let mut query = Query::of(uri, &["topics", "since"]);
    let topics = query.words("topics", &TOPICS).unwrap_or_else(|| vec!["summary"]);
    let since = query.parsed::<Place>("since");
    if since.is_some() && !topics.contains(&"config") {
        query.error("since", "has no meaning without topics=config; add it".into());
    }
    query.done().map(|()| (topics, since))
}

/// Where to begin: where the reader was, as it says when it comes back, or as it was told to ask.
fn changes(api: &ApiState, headers: &HeaderMap, since: Option<Place>) -> Result<Changes, Problem> {
    let catalog = &api.app().catalog;
    let view = catalog.view();
    let resume = |place: Place| place.resume(view.generation, view.revision);
    // A browser cannot see why it is refused, and would come back with the same id for ever: it is told by an event.
    if let Some(id) = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) {
        let place = id.to_str().ok().and_then(|id| id.parse::<Place>().ok());
        return Ok(match place.map(resume) {
            Some(Ok(revision)) => Changes::after(catalog, Some(revision)),
            _ => Changes::after_a_gap(catalog),
        });
    }
    let from = since.map(resume).transpose().map_err(gone)?;
    Ok(Changes::after(catalog, from))
}

fn gone(why: String) -> Problem {
    let detail = format!("{why}; list again, and follow from the revision of the list");
    let title = "The stream cannot go on from there";
    Problem::new(StatusCode::GONE, "gone", title, code::GONE, detail)
        .next("pigeon-ctl revision list")
}

fn too_many() -> Problem {
    let detail = format!("{MOST} event streams are open already; close one, or ask /v1/summary");
    let title = "Too many event streams";
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Problem::new(status, "streams", title, code::TOO_MANY_STREAMS, detail)
        .header(header::RETRY_AFTER, HeaderValue::from_static("10"))
}

/// What a stream tells of, and how far it has come with that.
enum Topic {
    Summary(Pace),
    Config(Changes),
    Proxies(ProxyChanges),
}

impl Topic {
    /// The next event, if there is something to say now.
    async fn event(&mut self, api: &ApiState) -> Result<Option<Event>, StoreError> {
        match self {
            Self::Config(changes) => changes.event().await,
            Self::Proxies(proxies) => Ok(proxies.event(api.app())),
            Self::Summary(pace) => {
                if !pace.is_due() {
                    return Ok(None);
                }
                let text = summary::text(api).await?;
                Ok(Some(Event::default().event("summary").data(text)))
            }
        }
    }

    /// Waits until there may be something to say; `None` if there never will be.
    async fn wait(&mut self) -> Option<()> {
        match self {
            Self::Config(changes) => changes.wait().await,
            Self::Proxies(proxies) => proxies.wait().await,
            Self::Summary(pace) => pace.wait().await,
        }
    }
}

/// One open stream.
struct Feed {
    api: ApiState,
    principal: Principal,
    topics: Vec<Topic>,
    started: bool,
    /// When something was said last.
    spoken: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    /// The next event; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        let api = self.api.clone();
        tokio::select! {
            biased;
            () = api.app().shutdown.cancelled() => None,
            event = self.event() => event,
        }
    }

    async fn event(&mut self) -> Option<Event> {
        loop {
            // A session may have ended meanwhile, or a token been revoked.
            if !self.principal.is_still_good(&self.api) {
                return None;
            }
            match self.news().await {
                Ok(Some(event)) => {
                    self.spoken = Instant::now();
                    let first = !std::mem::replace(&mut self.started, true);
                    return Some(if first { event.retry(RETRY) } else { event });
                }
                Ok(None) => {}
                Err(e) => {
                    tracing::error!(error = %e, "an event stream ends: the store cannot be read");
                    return None;
                }
            }
            let waiting = self.topics.iter_mut().map(|topic| Box::pin(topic.wait()));
            match timeout_at(self.spoken + SILENCE, select_all(waiting)).await {
                Ok((more, _, _)) => more?,
                Err(_) if self.principal.is_still_good(&self.api) => {
                    self.spoken = Instant::now();
                    return Some(Event::default().comment(""));
                }
                Err(_) => return None,
            }
        }
    }

    /// What one of the topics has to say now; the others come first the next time.
    async fn news(&mut self) -> Result<Option<Event>, StoreError> {
        for _ in 0..self.topics.len() {
            self.topics.rotate_left(1);
            if let Some(topic) = self.topics.first_mut()
                && let Some(event) = topic.event(&self.api).await?
            {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}
