//! What surrounds every call: its id, its time limit, its metrics, the headers all answers carry, and the
//! writing of problems.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Problem;
use super::{ApiState, code};
use crate::app::Peer;

/// The longest a call may take to be answered.
const LONGEST: Duration = Duration::from_secs(30);
/// The same for a write that waits for the proxies (up to 60 s).
const LONGEST_WAITING: Duration = Duration::from_secs(75);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Where a call comes from.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The id of the request: the caller's own, or one made here.
    pub request_id: String,
    /// The address of the peer, without port; `unknown` where there is none.
    pub source: String,
}

impl Caller {
    fn of(request: &Request) -> Self {
        let source = peer(request).map_or("unknown".to_owned(), |ip| ip.to_string());
        let request_id = given_id(request.headers())
            .map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
        Self { request_id, source }
    }
}

/// The address that a request comes from.
pub fn peer(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<Peer>().map(|Peer(address)| address.ip().to_canonical())
}

/// The `x-request-id` of a request, if it is one that can go into a log as it is.
fn given_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let sane = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    ((1..=64).contains(&id.len()) && id.bytes().all(sane)).then_some(id)
}

/// Runs a call inside its frame.
pub async fn frame(State(api): State<ApiState>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let caller = Caller::of(&request);
    let call = Call::of(&request);
    let limit = time_limit(&request);
    request.extensions_mut().insert(caller.clone());
    let response = match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => late(limit).into_response(),
    };
    let response = finish(response, &call.path, &caller);
    call.record(&api, response.status(), started.elapsed(), &caller);
    response
}

fn time_limit(request: &Request) -> Duration {
    let waits = request.uri().query().is_some_and(|q| q.contains("wait="));
    if waits { LONGEST_WAITING } else { LONGEST }
}

fn late(limit: Duration) -> Problem {
    let detail = format!(
        "there was no answer within {} s; a write may still happen: read the object before trying again",
        limit.as_secs()
    );
    let title = "The answer took too long";
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Problem::new(status, "timeout", title, code::TIMEOUT, detail)
        .header(header::RETRY_AFTER, HeaderValue::from_static("5"))
}

/// Writes the problem, if the answer is one, and sets the headers of every answer.
fn finish(mut response: Response, path: &str, caller: &Caller) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let written = Json(problem.body(path, &caller.request_id)).into_response();
        let headers = std::mem::take(response.headers_mut());
        response = written;
        *response.status_mut() = problem.status();
        for (name, value) in &headers {
            if *name != header::CONTENT_LENGTH {
                response.headers_mut().append(name, value.clone());
            }
        }
        response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM);
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&caller.request_id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The dashboard's files alone may be kept, and say so themselves.
    if !path.starts_with("/ui/") || !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// What metrics and log say of a call.
struct Call {
    method: Method,
    path: String,
    route: String,
}

impl Call {
    fn of(request: &Request) -> Self {
        let matched = request.extensions().get::<MatchedPath>();
        // Not the path itself where nothing matched: a label must not take whatever a peer sends.
        let route = matched.map_or("unmatched", MatchedPath::as_str).to_owned();
        let path = request.uri().path().to_owned();
        Self { method: request.method().clone(), path, route }
    }

    fn record(&self, api: &ApiState, status: StatusCode, took: Duration, caller: &Caller) {
        let app = api.app();
        app.metrics.http(label(&self.method), &self.route, status.as_u16(), took.as_secs_f64());
        let (method, path, status) = (&self.method, self.path.as_str(), status.as_u16());
        let (request_id, source) = (caller.request_id.as_str(), caller.source.as_str());
        let ms = took.as_millis();
        if status >= 500 {
            tracing::warn!(%method, path, status, ms, request_id, source, "request failed");
        } else {
            tracing::debug!(%method, path, status, ms, request_id, source, "request");
        }
    }
}

/// A method as a label: a peer may send any word for one, and each would be a series of its own.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sane_request_id_is_taken_over() {
        let of = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).expect("a value"));
            given_id(&headers).map(str::to_owned)
        };
        assert_eq!(of("abc-1_2.3"), Some("abc-1_2.3".into()));
        for bad in ["", "a b", "a\"b", "ä", &"x".repeat(65)] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
