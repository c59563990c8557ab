//! `GET /v1/stream`: the summary as server-sent events, whenever something changed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until, timeout};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Principal;
use super::error::{Problem, ProblemBody};
use super::{ApiState, code, query, summary};

/// How many streams may be open.
pub const MOST: usize = 100;
/// The shortest time between two summaries.
const PACE: Duration = Duration::from_secs(1);
/// The longest time without a word.
const SILENCE: Duration = Duration::from_secs(15);
/// How long a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(2);

/// The calls of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(open))
}

/// Follow the summary
///
/// Server-sent events: `summary` (the body of `/v1/summary`) at the start and whenever something changed, at
/// most once a second; a comment every 15 seconds.
#[utoipa::path(get, path = "/v1/stream", operation_id = "follow_summary", tag = "summary",
    responses(
        (status = 200, description = "The events", body = String, content_type = "text/event-stream"),
        (status = 503, description = "There are 100 streams already", body = ProblemBody, content_type = "application/problem+json")))]
async fn open(
    State(api): State<ApiState>,
    Extension(principal): Extension<Principal>,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let Ok(permit) = Arc::clone(api.streams()).try_acquire_owned() else {
        let detail =
            format!("{MOST} event streams are open already; close one, or ask /v1/summary");
        let title = "Too many event streams";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Problem::new(status, "streams", title, code::TOO_MANY_STREAMS, detail)
            .header(header::RETRY_AFTER, HeaderValue::from_static("10")));
    };
    let feed = Feed {
        catalog: api.app().catalog.changed(),
        proxies: api.app().proxies.changed(),
        api,
        principal,
        started: false,
        earliest: Instant::now(),
        _permit: permit,
    };
    let events = futures_util::stream::unfold(feed, |mut feed| async {
        let event = feed.next().await?;
        Some((Ok::<_, Infallible>(event), feed))
    });
    // Told to proxies in between: what is sent is meant to arrive now.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(([unbuffered], Sse::new(events)).into_response())
}

/// One open stream.
struct Feed {
    api: ApiState,
    principal: Principal,
    catalog: watch::Receiver<u64>,
    proxies: watch::Receiver<u64>,
    started: bool,
    earliest: Instant,
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
        if self.started {
            match timeout(SILENCE, self.change()).await {
                Ok(Some(())) => {}
                Ok(None) => return None,
                Err(_) if self.may_go_on() => return Some(Event::default().comment("")),
                Err(_) => return None,
            }
        }
        if !self.may_go_on() {
            return None;
        }
        // Seen before it is written: what changes meanwhile makes another event.
        self.catalog.borrow_and_update();
        self.proxies.borrow_and_update();
        self.earliest = Instant::now() + PACE;
        let text = match summary::text(&self.api).await {
            Ok(text) => text,
            Err(e) => {
                tracing::error!(error = %e, "an event stream ends: the store cannot be read");
                return None;
            }
        };
        let event = Event::default().event("summary").data(text);
        let first = !std::mem::replace(&mut self.started, true);
        Some(if first { event.retry(RETRY) } else { event })
    }

    /// Waits until something has changed and it is time to say so; `None` if nothing ever will.
    async fn change(&mut self) -> Option<()> {
        sleep_until(self.earliest).await;
        tokio::select! {
            changed = self.catalog.changed() => changed.ok(),
            changed = self.proxies.changed() => changed.ok(),
        }
    }

    /// Whether whoever opened the stream may still read: a session may have ended meanwhile, or a
    /// token been revoked.
    fn may_go_on(&self) -> bool {
        self.principal.is_still_good(&self.api)
    }
}
