//! Every error answer of the API: one [`Problem`], written as `application/problem+json` (RFC 9457).
//!
//! Handlers return a `Problem`; the frame around them (`frame.rs`) adds what only it knows, the path and
//! the request id, and writes it out.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pigeon_proto::model::{Errors, FieldError, Key, Kind, Name, code as model_code};
use serde::Serialize;

use super::code;
use crate::catalog::{StoreError, WriteError};

/// How many errors the detail repeats; all of them are in `errors`.
const IN_DETAIL: usize = 5;

/// What went wrong with a request.
#[derive(Clone, Debug)]
pub struct Problem(Box<Content>);

#[derive(Clone, Debug)]
struct Content {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    code: String,
    detail: String,
    errors: Vec<FieldError>,
    next: Vec<String>,
    etag: Option<String>,
    headers: HeaderMap,
}

/// The body of an error answer (RFC 9457).
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// `urn:pigeon:problem:` and the class of the problem.
    #[serde(rename = "type")]
    kind: String,
    /// The class in words; the same for every problem of the class.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What is wrong this time, and what to do.
    detail: &'a str,
    /// The path that was asked for.
    instance: &'a str,
    /// Stable code, such as `PGN-A404`; see docs/errors.md.
    code: &'a str,
    /// Where the code is explained.
    help: String,
    /// The id of the request, also in the header `x-request-id`.
    request_id: &'a str,
    /// Everything wrong with the content, each error with its place; absent where there is no content.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false, value_type = Vec<FieldError>)]
    errors: &'a [FieldError],
    /// Commands that help.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    next: &'a [String],
    /// The current entity tag of the object, where a condition did not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
}

impl Problem {
    /// A problem of the class `slug`.
    pub fn new(
        status: StatusCode,
        slug: &'static str,
        title: &'static str,
        code: &str,
        detail: impl Into<String>,
    ) -> Self {
        let (code, detail) = (code.to_owned(), detail.into());
        let (errors, next, headers) = (Vec::new(), Vec::new(), HeaderMap::new());
        Self(Box::new(Content {
            status,
            slug,
            title,
            code,
            detail,
            errors,
            next,
            etag: None,
            headers,
        }))
    }

    /// Adds a command that helps.
    pub fn next(mut self, command: impl Into<String>) -> Self {
        self.0.next.push(command.into());
        self
    }

    /// Adds a header to the answer.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Puts it into another class; what is wrong stays.
    pub fn reclassify(&mut self, status: StatusCode, slug: &'static str, title: &'static str) {
        (self.0.status, self.0.slug, self.0.title) = (status, slug, title);
    }

    /// Whether it has this code.
    pub fn is(&self, code: &str) -> bool {
        self.0.code == code
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The body, for the request `request_id` of `instance`.
    pub fn body<'a>(&'a self, instance: &'a str, request_id: &'a str) -> ProblemBody<'a> {
        let p = &self.0;
        ProblemBody {
            kind: format!("urn:pigeon:problem:{}", p.slug),
            title: p.title,
            status: p.status.as_u16(),
            detail: &p.detail,
            instance,
            code: &p.code,
            help: format!("/help/{}", p.code),
            request_id,
            errors: &p.errors,
            next: &p.next,
            etag: p.etag.as_deref(),
        }
    }

    /// 400: the request itself cannot be understood.
    pub fn malformed(detail: impl Into<String>) -> Self {
        let title = "The request cannot be understood";
        Self::new(StatusCode::BAD_REQUEST, "malformed", title, code::BAD_REQUEST, detail)
    }

    /// 404: no object of this name.
    pub fn no_object(kind: Kind, name: &str) -> Self {
        let detail = format!("there is no {kind} \"{}\"", clip(name));
        let title = "There is no such object";
        Self::new(StatusCode::NOT_FOUND, "not-found", title, code::NOT_FOUND, detail)
            .next(format!("pigeon-ctl {kind} list"))
    }

    /// 412: the object is not as the request supposes; `current` is its revision, if it exists.
    pub fn changed(key: &Key, current: Option<u64>) -> Self {
        let detail = match current {
            Some(r) => format!(
                "{key} is at \"r{r}\" now, which the request does not allow; read it again and decide anew"
            ),
            None => {
                format!("{key} does not exist (any more), and If-Match asks for one that does")
            }
        };
        let title = "The object is not as the request supposes";
        let mut problem =
            Self::new(StatusCode::PRECONDITION_FAILED, "changed", title, code::CHANGED, detail)
                .next(format!("pigeon-ctl {} get {}", key.kind, key.name));
        problem.0.etag = current.map(etag);
        problem
    }

    /// 412: the object exists, and the request asks to create it; `current` is its revision.
    pub fn exists_already(key: &Key, current: Option<u64>) -> Self {
        let mut problem = Self::changed(key, current);
        problem.0.detail =
            format!("{key} exists already, and `If-None-Match: *` asks to create it only");
        problem
    }

    /// Adds what PATCH takes, as RFC 5789 asks of a 415.
    pub fn accept_patch(self) -> Self {
        self.header(
            HeaderName::from_static("accept-patch"),
            HeaderValue::from_static("application/merge-patch+json"),
        )
    }

    /// 415 naming what is taken.
    pub fn media_type(given: Option<&str>, taken: &[&str]) -> Self {
        let given = match given {
            Some(g) => format!("the body is \"{}\"", clip(g)),
            None => "the body has no Content-Type".to_owned(),
        };
        let detail = format!("{given}; send it as {}", taken.join(" or "));
        let title = "This media type is not taken here";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", title, code::MEDIA_TYPE, detail)
    }

    /// 413 naming the limit, in bytes.
    pub fn too_large(limit: usize) -> Self {
        let detail = format!("the body is larger than {} MiB; send less at once", limit >> 20);
        let title = "The body is too large";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", title, code::TOO_LARGE, detail)
    }

    /// 503: the store fails. Its errors say what the operator can do, so that they are passed on.
    pub fn store(e: &StoreError) -> Self {
        tracing::error!(error = %e, "the store failed a request");
        let title = "The store is not available";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "store", title, code::STORE, e.to_string())
            .header(header::RETRY_AFTER, HeaderValue::from_static("5"))
    }

    /// 500: a bug.
    pub fn internal(what: &'static str) -> Self {
        tracing::error!(what, "a request met a bug");
        let title = "This is a bug in pigeon-admin";
        let detail = format!("{what}; please report it with the request id");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", title, code::INTERNAL, detail)
    }

    /// 403: whoever calls may not do this.
    pub fn forbidden(why: &str) -> Self {
        let detail =
            format!("{why}; ask an admin for a token that may (`pigeon-ctl token create`)");
        let (status, title) = (StatusCode::FORBIDDEN, "Not permitted");
        Self::new(status, "not-permitted", title, code::NOT_PERMITTED, detail)
            .next("pigeon-ctl login --server URL --token-file FILE")
    }

    /// The problem that a refused write is. `conditional` tells whether the request stated a condition.
    pub fn of_write(error: WriteError, conditional: bool) -> Self {
        match error {
            WriteError::NotFound(key) if conditional => Self::changed(&key, None),
            WriteError::NotFound(key) => Self::no_object(key.kind, key.name.as_str()),
            WriteError::Stale { key, current } => {
                Self::changed(&key, Some(current).filter(|r| *r > 0))
            }
            WriteError::Exists(key) => exists(&key),
            WriteError::Moved { current } => moved(current),
            WriteError::InUse { key, routes } => in_use(&key, &routes),
            WriteError::Owned { key, owner } => owned(&key, &owner),
            WriteError::TooManyRemoved { keys, allowed } => too_many_removed(&keys, allowed),
            WriteError::Forbidden(why) => Self::forbidden(&why.to_string()),
            WriteError::Invalid(errors) => errors.into(),
            WriteError::Store(e) => Self::store(&e),
        }
    }
}

fn owned(key: &Key, owner: &Name) -> Problem {
    let detail = format!(
        "{key} belongs to the owner \"{owner}\", and no two sets have an object in common; take it out of one \
         of them, or remove it first"
    );
    let title = "It belongs to another owner";
    Problem::new(StatusCode::CONFLICT, "owned", title, code::OWNED, detail)
        .next(format!("pigeon-ctl {} get {}", key.kind, key.name))
}

fn too_many_removed(keys: &[Key], allowed: usize) -> Problem {
    let names: Vec<_> = keys.iter().take(IN_DETAIL).map(ToString::to_string).collect();
    let more = keys.len().saturating_sub(IN_DETAIL);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let count = keys.len();
    let detail = format!(
        "{count} objects of this owner are in no document and would be removed ({}{more}), but at most \
         {allowed} may be; are all files there? if so, allow as many",
        names.join(", ")
    );
    let title = "Too much would be removed";
    Problem::new(StatusCode::CONFLICT, "too-many-removed", title, code::TOO_MANY_REMOVED, detail)
        .next(format!("pigeon-ctl apply … --prune --allow-deletes {count}"))
}

fn exists(key: &Key) -> Problem {
    let (kind, name) = (key.kind, &key.name);
    let detail = format!("{kind} \"{name}\" exists already; change it with PUT or PATCH");
    Problem::new(StatusCode::CONFLICT, "exists", "It exists already", code::EXISTS, detail)
        .next(format!("pigeon-ctl {kind} get {name}"))
        .next(format!("pigeon-ctl {kind} set {name} …"))
}

fn moved(current: u64) -> Problem {
    let detail =
        format!("others have written meanwhile, the newest revision is {current}; repeat it");
    let title = "The configuration has moved";
    Problem::new(StatusCode::CONFLICT, "moved", title, code::MOVED, detail)
}

fn in_use(key: &Key, routes: &[Name]) -> Problem {
    let (kind, name) = (key.kind, &key.name);
    let names: Vec<_> = routes.iter().map(|r| format!("\"{r}\"")).collect();
    let shown = names.iter().take(IN_DETAIL).cloned().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(IN_DETAIL);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let detail = format!(
        "{kind} \"{name}\" is used by {} {shown}{more}; remove them or point them elsewhere first",
        if names.len() == 1 { "route" } else { "routes" },
    );
    let title = "It is still in use";
    let code = model_code::ENGINE_IN_USE;
    let mut problem = Problem::new(StatusCode::CONFLICT, "in-use", title, code, detail);
    let error = |r: &Name| {
        let message = format!("is used by route \"{r}\"");
        FieldError::new("", code, message).of(key).related_to(format!("route/{r}"))
    };
    problem.0.errors = routes.iter().map(error).collect();
    problem.0.next = routes.iter().take(3).map(|r| format!("pigeon-ctl route rm {r}")).collect();
    problem
}

/// Content that is wrong: 400 if it could not be read at all, else 422.
impl From<Errors> for Problem {
    fn from(errors: Errors) -> Self {
        let errors = errors.0;
        let shown: Vec<_> = errors.iter().take(IN_DETAIL).map(without_code).collect();
        let mut detail = shown.join("; ");
        if errors.len() > IN_DETAIL {
            detail = format!("{detail}; and {} more", errors.len() - IN_DETAIL);
        }
        let code = errors.first().map_or(code::INTERNAL, |e| e.code.as_str());
        let mut problem = if code == model_code::MALFORMED {
            let title = "The body cannot be read";
            Self::new(StatusCode::BAD_REQUEST, "malformed", title, code, detail)
        } else {
            let title = "The configuration is not valid";
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", title, code, detail)
        };
        problem.0.next = next_steps(&errors);
        problem.0.errors = errors;
        problem
    }
}

fn without_code(e: &FieldError) -> String {
    let object = e.object.as_ref().map(|o| format!("{o} ")).unwrap_or_default();
    let place = if e.pointer.is_empty() { String::new() } else { format!("{}: ", e.pointer) };
    format!("{object}{place}{}", e.message)
}

fn next_steps(errors: &[FieldError]) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    for e in errors {
        let step = match e.code.as_str() {
            model_code::UNKNOWN_ENGINE => "pigeon-ctl engine list",
            model_code::UNKNOWN_LISTENER | model_code::ADDRESS_TAKEN => "pigeon-ctl listener list",
            model_code::UNKNOWN_TENANT | model_code::SHARED_CREDENTIAL => "pigeon-ctl tenant list",
            model_code::NO_ISSUER => "pigeon-ctl listener list",
            model_code::ROUTE_OVERLAP => "pigeon-ctl route list",
            _ => continue,
        };
        if !steps.iter().any(|s| s == step) {
            steps.push(step.to_owned());
        }
    }
    steps
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.headers_mut().extend(self.0.headers.clone());
        response.extensions_mut().insert(self);
        response
    }
}

/// The entity tag of an object that `revision` changed last.
pub fn etag(revision: u64) -> String {
    format!("\"r{revision}\"")
}

/// The beginning of a value of the request, so that an answer never repeats a megabyte.
pub fn clip(s: &str) -> String {
    if s.chars().count() <= 80 {
        return s.escape_debug().to_string();
    }
    s.chars().take(80).flat_map(char::escape_debug).chain("…".chars()).collect()
}
