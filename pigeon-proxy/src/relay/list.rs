//! A decoded header list with what was read from it once: a request's head, an answer's, or trailers.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::call::Route;
use crate::grpc::timeout;
use crate::h2::fields::Fields;
use crate::h2::head;
use crate::http::is_web;

/// A header list. Clients and engines repeat themselves, so lists are shared: whoever sends the same bytes
/// again gets the same list, and everything worked out for it.
pub(super) struct List {
    /// Unique; 0 = not shared, so nothing is remembered for it.
    pub(super) id: u64,
    /// As received.
    pub(super) fields: Fields,
    pub(super) content: Content,
    /// The fields as the last route with edits passed them on; none of a list that is not shared.
    pub(super) edited: Mutex<Option<Arc<Edited>>>,
}

/// A list as a route changes it.
pub(super) struct Edited {
    /// Which edits made it, whether for TLS, and whether without API keys.
    pub(super) by: (u64, bool, bool),
    /// As [`List::id`].
    pub(super) id: u64,
    pub(super) fields: Fields,
}

/// What a list is.
pub(super) enum Content {
    /// Boxed: answers are many and small.
    Request(Box<Request>),
    Response(Response),
    /// The gRPC status, if there is one.
    Trailers(Option<u8>),
    /// It breaks a rule of RFC 9113, section 8.
    Malformed(&'static str),
}

/// What of a request decides about it.
pub(super) struct Request {
    pub(super) grpc: bool,
    /// The caller's deadline, if it is a gRPC call.
    pub(super) timeout: Option<Duration>,
    /// Why it cannot be carried.
    pub(super) fault: Option<&'static str>,
    pub(super) has_id: bool,
    /// Only the general path can take it: gRPC-Web, or a browser's question whether a page may call.
    pub(super) general: bool,
    /// A page of a browser calls.
    pub(super) from_page: bool,
    pub(super) content_length: Option<u64>,
    /// The fields for an engine in the clear, and for one by TLS, made when first needed.
    pub(super) forwarded: [OnceLock<Fields>; 2],
    /// The same without API keys, for routes that end them here; none if there are none.
    pub(super) keyless: [OnceLock<Option<Fields>>; 2],
    /// The route, and of which table: the same list takes the same route until the table changes.
    pub(super) route: Mutex<Option<Route>>,
}

/// What of an answer's head is noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) grpc_status: Option<u8>,
    pub(super) content_length: Option<u64>,
}

/// What a block of header fields is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Request,
    Response,
    Trailers,
}

impl List {
    /// Reads a decoded list.
    pub(super) fn read(id: u64, fields: &Fields, wanted: Wanted) -> Self {
        let content = match wanted {
            Wanted::Request => request(fields).map(|r| Content::Request(Box::new(r))),
            Wanted::Response => response(fields).map(Content::Response),
            Wanted::Trailers => {
                head::check_trailers(fields).map(|()| Content::Trailers(grpc_status(fields)))
            }
        };
        let content = content.unwrap_or_else(|fault| Content::Malformed(fault.0));
        Self { id, fields: fields.clone(), content, edited: Mutex::new(None) }
    }

    /// These trailers of a request without what only the gateway may say: engines may read them as they read
    /// headers.
    pub(super) fn without_ours(self: Arc<Self>) -> Arc<Self> {
        let is_ours = |name: &[u8]| name.starts_with(b"pigeon-");
        if !self.fields.iter().any(|(name, ..)| is_ours(name)) {
            return self;
        }
        let mut fields = self.fields.clone();
        fields.retain(|name, _| !is_ours(name));
        Arc::new(Self::read(0, &fields, Wanted::Trailers))
    }

    pub(super) fn request(&self) -> Option<&Request> {
        match &self.content {
            Content::Request(request) => Some(&**request),
            _ => None,
        }
    }

    fn text(&self, name: &[u8]) -> Option<&str> {
        self.fields.get(name).and_then(|value| str::from_utf8(value).ok())
    }

    pub(super) fn method(&self) -> &str {
        self.text(b":method").unwrap_or_default()
    }

    /// Path and query.
    pub(super) fn target(&self) -> &str {
        self.text(b":path").unwrap_or_default()
    }

    pub(super) fn path(&self) -> &str {
        let target = self.target();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// As the caller wrote it, with port; empty if it has none (RFC 9113 section 8.3.1).
    pub(super) fn authority(&self) -> &str {
        self.text(b":authority").or_else(|| self.text(b"host")).unwrap_or_default()
    }

    pub(super) fn request_id(&self) -> Option<&str> {
        self.text(b"x-request-id").filter(|id| !id.is_empty())
    }
}

fn request(fields: &Fields) -> Result<Request, head::Malformed> {
    head::check_request(fields)?;
    let content_length = head::content_length(fields)?;
    let grpc = fields.get(b"content-type").is_some_and(is_grpc);
    let from_page = fields.get(b"origin").is_some();
    let timeout = fields.get(b"grpc-timeout").filter(|_| grpc);
    let timeout = timeout.map(timeout::parse);
    let mut fault = None;
    if fields.get(b":method") == Some(b"CONNECT") {
        fault = Some("CONNECT is not supported");
    }
    let authority = fields.get(b":authority").or_else(|| fields.get(b"host"));
    let authority = authority.filter(|authority| !authority.is_empty());
    if authority.is_some_and(|a| http::uri::Authority::try_from(a).is_err()) {
        fault = Some("the host is malformed");
    }
    if timeout == Some(None) {
        fault = Some("grpc-timeout is malformed");
    }
    Ok(Request {
        grpc,
        timeout: timeout.flatten(),
        fault,
        general: fields.get(b"content-type").is_some_and(is_web)
            || (from_page && fields.get(b":method") == Some(b"OPTIONS")),
        from_page,
        has_id: fields.get(b"x-request-id").is_some_and(|id| !id.is_empty()),
        content_length,
        forwarded: Default::default(),
        keyless: Default::default(),
        route: Mutex::new(None),
    })
}

fn response(fields: &Fields) -> Result<Response, head::Malformed> {
    let status = head::check_response(fields)?;
    let content_length = head::content_length(fields)?;
    Ok(Response { status, grpc_status: grpc_status(fields), content_length })
}

fn grpc_status(fields: &Fields) -> Option<u8> {
    let value = fields.get(b"grpc-status")?;
    str::from_utf8(value).ok()?.parse().ok()
}

/// `application/grpc`, alone or with a format or parameters; not `application/grpc-web`.
fn is_grpc(kind: &[u8]) -> bool {
    let Some((kind, rest)) = kind.split_at_checked(b"application/grpc".len()) else { return false };
    kind.eq_ignore_ascii_case(b"application/grpc")
        && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}
