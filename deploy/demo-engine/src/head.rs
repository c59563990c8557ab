//! What happens to every call of the demo services before and after the service itself: it is counted,
//! admitted, and its answer signed.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Status;

use crate::body::{Answer, Upload};
use crate::stats::{Call, Stats};

/// The methods whose calls count; not `Echo/Stats`, which would see itself.
const COUNTED: [&str; 4] = [
    "/pigeon.demo.v1.Speech/Recognize",
    "/pigeon.demo.v1.Speech/Transcribe",
    "/pigeon.demo.v1.Chat/Generate",
    "/pigeon.demo.v1.Echo/Ping",
];

const ENGINE: HeaderName = HeaderName::from_static("demo-engine");
const SEEN_TIMEOUT: HeaderName = HeaderName::from_static("demo-seen-timeout");
const ECHO_PREFIX: &str = "demo-echo-";

/// What the head of a call is met with.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    name: HeaderValue,
    slots: Option<u32>,
    stats: Stats,
}

impl Desk {
    /// # Errors
    /// The name is not fit to be a header's value.
    pub(crate) fn new(name: &str, slots: Option<u32>, stats: Stats) -> io::Result<Self> {
        let name = name.parse().map_err(|_| {
            let why = format!("the name {name:?} cannot travel as a header");
            io::Error::new(io::ErrorKind::InvalidInput, why)
        })?;
        Ok(Self { name, slots, stats })
    }

    /// The counts that the calls go into.
    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    fn has_room_for(&self, call: &Call) -> bool {
        self.slots.is_none_or(|slots| call.number() <= slots)
    }
}

/// The middleware around the demo services. It sits at the HTTP layer because a call counts from its
/// head, while a service sees a unary call only when its message is there.
pub(crate) async fn attend(
    State(desk): State<Arc<Desk>>,
    request: Request,
    next: Next,
) -> Response {
    let timeout = request.headers().get("grpc-timeout").cloned();
    let marks = marks(request.headers(), &desk.name);
    let call = COUNTED.contains(&request.uri().path()).then(|| desk.stats.enter());
    let mut response = match &call {
        Some(call) if !desk.has_room_for(call) => {
            Status::resource_exhausted("engine over capacity").into_http()
        }
        Some(call) => {
            let broken = call.broken();
            next.run(request.map(|body| Body::new(Upload::new(body, broken)))).await
        }
        None => next.run(request).await,
    };
    if let Some(timeout) = timeout {
        response.headers_mut().insert(SEEN_TIMEOUT, timeout);
    }
    sign(response, marks, call)
}

/// What the answer repeats: the engine's name and every `demo-echo-*` entry, with all its values.
fn marks(request: &HeaderMap, name: &HeaderValue) -> HeaderMap {
    let echoed = request.iter().filter(|(key, _)| key.as_str().starts_with(ECHO_PREFIX));
    let mut marks = HeaderMap::new();
    marks.insert(ENGINE, name.clone());
    for (key, value) in echoed {
        marks.append(key.clone(), value.clone());
    }
    marks
}

/// Puts the marks into the headers and the trailers. An answer without a body is gRPC's trailers-only
/// form: its headers are the trailers, and it has ended here.
fn sign(mut response: Response, marks: HeaderMap, call: Option<Call>) -> Response {
    response.headers_mut().extend(marks.clone());
    if http_body::Body::is_end_stream(response.body()) {
        if let Some(call) = call {
            call.end();
        }
        return response;
    }
    response.map(|body| Body::new(Answer::new(body, marks, call)))
}
