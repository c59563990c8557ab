//! What a route does with a call before it asks for a slot: one closed list, run in one order by every
//! transport. Pure: the call's head, its client and the clock are arguments.

mod cors;
mod edits;
pub mod identity;
mod limits;
mod own;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use pigeon_proto::model::{Name, Route};

pub use self::cors::{Cors, preflight_of};
pub use self::edits::{Edits, HeaderEdits};
use self::identity::{Directory, Gate, Identity};
use self::limits::Limits;
use self::own::Own;
use crate::reject::Rejection;

/// What a client's certificate says, once it was verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// The subject as text (RFC 4514), as `CN=asr-client,O=Example`.
    pub subject: String,
    /// The names it is for, of every kind, without their kind: DNS names, URIs, addresses.
    pub names: Vec<String>,
}

/// A call that has found its route, as filters see it.
pub struct Asked<'a> {
    /// The listener it came in on.
    pub listener: &'a Name,
    /// Who is at the other end of the connection.
    pub peer: IpAddr,
    /// Whether the calls of its source are as many as the listener allows, without this one.
    pub beyond: bool,
    /// What the connection was opened with.
    pub certificate: Option<&'a Arc<Certificate>>,
    /// Its host as the caller wrote it, with port; empty if it has none.
    pub authority: &'a str,
    /// Its path and query.
    pub target: &'a str,
    /// Whether it is a gRPC call.
    pub grpc: bool,
    /// A header by its lower-cased name; of several values the first.
    pub header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    /// Whether there is more than one header of a name.
    pub repeated: &'a dyn Fn(&str) -> bool,
    /// The time of day; read only where it matters.
    pub wall: &'a dyn Fn() -> SystemTime,
    /// When the call began.
    pub now: Instant,
}

/// What becomes of a call that a filter does not let pass.
#[derive(Clone, Debug)]
pub enum Stop {
    /// It is refused, with a reason of the closed list.
    Reject(Rejection),
    /// It is answered as the route says; no refusal, so without a reason.
    Answer(Arc<Answer>),
}

/// An answer that a route has the gateway give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its headers, without a content-length.
    pub headers: HeaderMap,
    /// Its body; none of a gRPC call.
    pub body: Bytes,
    /// The status of a gRPC call, as it is in the headers.
    pub grpc_status: Option<u8>,
}

impl Answer {
    /// Whether the status allows a `content-length` (RFC 9110 section 8.6).
    pub fn has_length(&self) -> bool {
        self.grpc_status.is_none() && !matches!(self.status, 204 | 304)
    }
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Reject(rejection)
    }
}

/// The filters of a route, in the order of the fields.
#[derive(Debug)]
pub struct Filters {
    identity: Option<Gate>,
    limits: Limits,
    /// The route's own answer.
    own: Option<Own>,
    /// Longest body of a request.
    pub max_body: Option<u64>,
    edits: Option<Arc<Edits>>,
    cors: Option<Cors>,
}

/// What a call takes along from the filters it has passed.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// Who calls, if the route asks.
    pub identity: Option<Arc<Identity>>,
}

impl Filters {
    /// Those of `route`, for the `callers` there are. What the route had `before` goes on counting.
    pub fn new(
        route: &Route,
        callers: &Arc<Directory>,
        before: Option<&Filters>,
        now: Instant,
    ) -> Self {
        let identity = route.auth.as_ref().map(|auth| Gate::new(auth, callers));
        let limits = Limits::new(&route.limits, before.map(|b| &b.limits), now);
        let edits = Edits::new(route, before.and_then(|b| b.edits.as_ref()));
        let cors = route.cors.as_ref().map(Cors::new);
        let (own, max_body) = (Own::new(route), route.max_body_bytes);
        Self { identity, limits, own, max_body, edits, cors }
    }

    /// Whether API keys end here: the engine does not see them.
    pub fn hides_keys(&self) -> bool {
        self.identity.as_ref().is_some_and(Gate::takes_keys)
    }

    /// Lets the call pass, or says what becomes of it.
    ///
    /// # Errors
    /// The first filter that does not let it pass.
    pub fn run(&self, asked: &Asked<'_>) -> Result<Passed, Stop> {
        if asked.beyond {
            return Err(Rejection::TooManyAtOnce.into());
        }
        let identity = self.identity.as_ref().map(|gate| gate.run(asked)).transpose()?;
        self.limits.pass(asked, identity.as_deref())?;
        if let Some(limit) = self.max_body {
            declared_fits(limit, asked)?;
        }
        match &self.own {
            Some(own) => Err(own.answer(asked)),
            None => Ok(Passed { identity }),
        }
    }

    /// What is told to browsers whose pages call from elsewhere.
    pub fn cors(&self) -> Option<&Cors> {
        self.cors.as_ref()
    }

    /// What is changed of a call that goes to an engine, and of its answer; nothing of most routes.
    pub fn edits(&self) -> Option<&Arc<Edits>> {
        self.edits.as_ref()
    }
}

/// What says itself that it is too long need not be waited for.
fn declared_fits(limit: u64, asked: &Asked<'_>) -> Result<(), Rejection> {
    let length = (asked.header)("content-length").and_then(|value| str::from_utf8(value).ok());
    match length.and_then(|length| length.trim().parse::<u64>().ok()) {
        Some(length) if length > limit => Err(Rejection::BodyTooLarge { limit }),
        _ => Ok(()),
    }
}
