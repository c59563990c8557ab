//! Routes: which calls go to which engine, or get which answer.

use std::collections::BTreeSet;

use deserr::{Deserr, ValuePointerRef};
use serde::Serialize;

use super::auth::{Auth, AuthForm};
use super::code;
use super::cors::Cors;
use super::error::{Contradiction, Errors, in_range};
use super::headers::{HeaderEdits, Place, check_edits};
use super::limit::{self, Limit};
use super::matching::{Match, PathPattern};
use super::own::{Answer, Redirect};
use super::retry::Retry;
use super::rewrite::{PathRewrite, Rewrite};
use super::text::{Millis, Name};

/// Sends the calls it matches to an engine, or to several by shares; or answers them itself. It has exactly one
/// of `engine`, `redirect` and `answer`.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Route {
    /// Which calls.
    #[deserr(default)]
    #[serde(rename = "match")]
    #[deserr(rename = "match")]
    pub matches: Match,
    /// Name of the engine; it gets what `split` leaves.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<Name>,
    /// Shares of the calls that go to other engines.
    #[deserr(default)]
    pub split: Vec<Split>,
    /// Between routes that match equally well the higher wins (default 0).
    #[deserr(default)]
    pub priority: i32,
    /// Longest time a call may take, waiting included; the caller's own deadline counts too. 0s = none.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// When a call is tried again.
    #[deserr(default)]
    pub retry: Retry,
    /// How many calls in which time, per proxy; a call must pass all of them.
    #[deserr(default)]
    pub limits: Vec<Limit>,
    /// What is changed of a request's headers on its way to the engine.
    #[deserr(default)]
    #[serde(skip_serializing_if = "HeaderEdits::is_empty")]
    pub request_headers: HeaderEdits,
    /// What is changed of the headers of an engine's answer.
    #[deserr(default)]
    #[serde(skip_serializing_if = "HeaderEdits::is_empty")]
    pub response_headers: HeaderEdits,
    /// Another path or host for the engine.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// Which pages of other origins may call it from a browser; none unless it is said.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Calls may come as JSON; the engine, which speaks gRPC, gets messages (default false).
    #[deserr(default)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub transcode: bool,
    /// Longest body of a request in bytes, also of a gRPC call's messages together; none = no limit.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<u64>,
    /// Another engine gets a copy of calls; what it answers is dropped.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// Instead of an engine: where callers are sent.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// Instead of an engine: what callers get.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// Who may call; absent = anybody. A text is short for an object with this one method.
    #[deserr(default, from(Option<AuthForm>) = AuthForm::meant)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
}

impl Route {
    /// One that sends every call to `engine`, and says nothing else.
    pub fn to(engine: Name) -> Self {
        Self {
            matches: Match::default(),
            engine: Some(engine),
            split: Vec::new(),
            priority: 0,
            timeout: None,
            retry: Retry::default(),
            limits: Vec::new(),
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            rewrite: None,
            cors: None,
            transcode: false,
            max_body_bytes: None,
            shadow: None,
            redirect: None,
            answer: None,
            auth: None,
        }
    }

    /// Whether it names this engine at all, also for copies of its calls only.
    pub fn uses(&self, engine: &Name) -> bool {
        let copies = self.shadow.as_ref().map(|shadow| &shadow.engine);
        self.engines().chain(copies).any(|used| used == engine)
    }

    /// The engines its calls go to, the one that gets the rest first; none if it answers by itself.
    pub fn engines(&self) -> impl Iterator<Item = &Name> {
        self.engine.iter().chain(self.split.iter().map(|s| &s.engine))
    }
}

/// An engine that gets a copy of calls.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check_shadow -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Shadow {
    /// Name of the engine.
    pub engine: Name,
    /// Of how many of a hundred calls, 1 to 100 (default 100).
    #[deserr(default = 100)]
    pub percent: u32,
}

/// A share of a route's calls that goes to another engine.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check_split -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Split {
    /// Name of the engine.
    pub engine: Name,
    /// Its share of the calls, 1 to 99.
    pub percent: u32,
}

pub(super) fn check(mut r: Route, _: ValuePointerRef) -> Result<Route, Contradiction> {
    // "No time at all" would only ever be a mistake, and the wire form has no word for it.
    r.timeout = r.timeout.filter(|t| t.as_ms() > 0);
    action(&r)?;
    const REQUEST: [&str; 3] =
        ["/request_headers/remove", "/request_headers/set", "/request_headers/add"];
    const RESPONSE: [&str; 3] =
        ["/response_headers/remove", "/response_headers/set", "/response_headers/add"];
    r.request_headers = check_edits(REQUEST, r.request_headers, Place::Request)?;
    r.response_headers = check_edits(RESPONSE, r.response_headers, Place::Answer)?;
    // What a patch has taken everything out of is none.
    r.rewrite = r.rewrite.filter(|rewrite| *rewrite != Rewrite::default());
    if let Some(path) = r.rewrite.as_ref().and_then(|rewrite| rewrite.path.as_ref()) {
        rewrites(path, &r.matches)?;
    }
    if r.transcode {
        transcodes(&r)?;
    }
    if r.max_body_bytes.is_some_and(|max| !(1..=MOST_BODY).contains(&max)) {
        let message = format!("must be from 1 to {MOST_BODY}; leave it out for no limit");
        return Err(Contradiction("/max_body_bytes", code::BAD_VALUE, message));
    }
    if let Some(PathPattern::Prefix(_)) = r.redirect.as_ref().and_then(|r| r.path.as_ref()) {
        keeps_rest("/redirect/path", &r.matches)?;
    }
    let mut seen: BTreeSet<&Name> = r.engine.iter().collect();
    for split in &r.split {
        if !seen.insert(&split.engine) {
            let message = format!(
                "names the engine \"{}\" twice, or the route's own; keep one",
                split.engine
            );
            return Err(Contradiction("/split", code::CONFLICTING_FIELDS, message));
        }
    }
    if let Some(shadow) = r.shadow.as_ref().filter(|shadow| seen.contains(&shadow.engine)) {
        let message = format!("\"{}\" gets the calls themselves; name another", shadow.engine);
        return Err(Contradiction("/shadow/engine", code::CONFLICTING_FIELDS, message));
    }
    let sum: u64 = r.split.iter().map(|s| u64::from(s.percent)).sum();
    if let (Some(engine), 100..) = (&r.engine, sum) {
        let message = format!(
            "adds up to {sum} %; at most 99 can go elsewhere, the rest goes to \"{engine}\""
        );
        return Err(Contradiction("/split", code::BAD_VALUE, message));
    }
    limit::check_all(&r.limits, r.auth.is_some())?;
    Ok(r)
}

/// The largest limit of bodies that can be set, 1 TiB.
const MOST_BODY: u64 = 1 << 40;

/// gRPC calls get another service or method, others another path.
fn rewrites(path: &PathRewrite, m: &Match) -> Result<(), Contradiction> {
    let message = match (path, &m.grpc) {
        (PathRewrite::Grpc(_), None) => {
            "names a gRPC service, but the route has no match.grpc; write a path, like /new"
        }
        (PathRewrite::Path(_), Some(_)) => {
            "is a path, but the route has match.grpc; write a service or method, like pkg.Service"
        }
        (PathRewrite::Path(PathPattern::Prefix(_)), None) => return keeps_rest("/rewrite/path", m),
        _ => return Ok(()),
    };
    Err(Contradiction("/rewrite/path", code::CONFLICTING_FIELDS, message.into()))
}

/// JSON calls are found by their paths, and these say which method of the engine they call.
fn transcodes(r: &Route) -> Result<(), Contradiction> {
    let message = if r.matches.grpc.is_some() {
        "needs match.path, because match.grpc takes gRPC calls only; a path like /pkg.Service* takes both"
    } else if r.rewrite.as_ref().is_some_and(|rewrite| rewrite.path.is_some()) {
        "excludes rewrite.path: a JSON call's path says which method it calls; remove one of the two"
    } else {
        return Ok(());
    };
    Err(Contradiction("/transcode", code::CONFLICTING_FIELDS, message.into()))
}

/// A new path that ends in `*` keeps what follows the part that matched.
fn keeps_rest(field: &'static str, m: &Match) -> Result<(), Contradiction> {
    match m.path {
        None | Some(PathPattern::Prefix(_)) if m.grpc.is_none() => Ok(()),
        _ => {
            let message = "ends in *, but match.path leaves nothing to keep; write it without *, \
                 or match a prefix";
            Err(Contradiction(field, code::CONFLICTING_FIELDS, message.into()))
        }
    }
}

/// It does one thing with its calls, and says nothing that has no meaning with that.
fn action(r: &Route) -> Result<(), Contradiction> {
    let conflict = |field, message: &str| {
        Err(Contradiction(field, code::CONFLICTING_FIELDS, message.to_owned()))
    };
    match (&r.engine, &r.redirect, &r.answer) {
        (None, None, None) => {
            let message = "\"engine\" is missing; set it, or redirect, or answer";
            return Err(Contradiction("/engine", code::MISSING_FIELD, message.into()));
        }
        (Some(_), Some(_), _) => {
            return conflict("/redirect", "excludes engine; keep one of the two");
        }
        (Some(_), _, Some(_)) => {
            return conflict("/answer", "excludes engine; keep one of the two");
        }
        (_, Some(_), Some(_)) => {
            return conflict("/answer", "excludes redirect; keep one of the two");
        }
        (Some(_), None, None) => return Ok(()),
        (None, ..) => {}
    }
    const NO_ENGINE: &str = "has no meaning without an engine; remove it";
    let fields = [
        ("/split", !r.split.is_empty()),
        ("/retry", r.retry.attempts > 0),
        ("/request_headers", !r.request_headers.is_empty()),
        ("/response_headers", !r.response_headers.is_empty()),
        ("/rewrite", r.rewrite.is_some()),
        ("/shadow", r.shadow.is_some()),
        ("/transcode", r.transcode),
        ("/max_body_bytes", r.max_body_bytes.is_some()),
    ];
    match fields.into_iter().find(|(_, set)| *set) {
        Some((field, _)) => conflict(field, NO_ENGINE),
        None => Ok(()),
    }
}

pub(super) fn check_shadow(s: Shadow, _: ValuePointerRef) -> Result<Shadow, Contradiction> {
    in_range("/percent", s.percent, 1..=100)?;
    Ok(s)
}

pub(super) fn check_split(s: Split, _: ValuePointerRef) -> Result<Split, Contradiction> {
    in_range("/percent", s.percent, 1..=99)?;
    Ok(s)
}
