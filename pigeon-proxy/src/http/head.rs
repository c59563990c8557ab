//! The head of a call: what routing and records need of it, and whether it can be carried at all.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST, HeaderMap};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Version, request};

use crate::grpc::timeout;
use crate::reject::Rejection;
use crate::table::host_of;

pub(super) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What was read.
pub(super) struct Head {
    /// As the caller wrote it, with port; empty if it has none.
    pub(super) authority: HeaderValue,
    /// Whether it is a gRPC call.
    pub(super) grpc: bool,
    /// The caller's deadline.
    pub(super) timeout: Option<Duration>,
    /// The caller's id, or one of ours.
    pub(super) request_id: HeaderValue,
}

impl Head {
    /// Reads a head. The rejection says why the call cannot be carried.
    pub(super) fn read(parts: &request::Parts) -> (Self, Result<(), Rejection>) {
        let grpc = is_grpc(&parts.headers);
        let mut head = Self {
            authority: authority(parts),
            grpc,
            timeout: None,
            request_id: request_id(&parts.headers),
        };
        let checked = head.check(parts);
        (head, checked)
    }

    /// The host, as routes match it.
    pub(super) fn host(&self) -> Cow<'_, str> {
        host_of(self.authority.to_str().unwrap_or_default())
    }

    fn check(&mut self, parts: &request::Parts) -> Result<(), Rejection> {
        let bad = |why| Err(Rejection::BadRequest { why });
        if parts.method == Method::CONNECT {
            return bad("CONNECT is not supported");
        }
        let authority = self.authority.as_bytes();
        let malformed = authority.contains(&b'@') || Authority::try_from(authority).is_err();
        if !authority.is_empty() && malformed {
            return bad("the host is malformed");
        }
        if parts.version == Version::HTTP_11 && parts.headers.get_all(HOST).iter().count() > 1 {
            return bad("there is more than one Host header");
        }
        if let Some(value) = parts.headers.get(GRPC_TIMEOUT).filter(|_| self.grpc) {
            self.timeout = timeout::parse(value.as_bytes());
            if self.timeout.is_none() {
                return bad("grpc-timeout is malformed");
            }
        }
        Ok(())
    }
}

/// The target's authority counts before the header (RFC 9112 section 3.2.2, RFC 9113 section 8.3.1).
fn authority(parts: &request::Parts) -> HeaderValue {
    let of_target = parts.uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
    of_target
        .or_else(|| parts.headers.get(HOST).cloned())
        .unwrap_or_else(|| HeaderValue::from_static(""))
}

/// `application/grpc`, alone or with a format or parameters; not `application/grpc-web`.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| {
        let (kind, rest) = kind.split_at_checked("application/grpc".len())?;
        kind.eq_ignore_ascii_case(b"application/grpc").then_some(rest)
    });
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    headers.get(REQUEST_ID).filter(|id| !id.is_empty()).cloned().unwrap_or_else(|| {
        let id = format!("{:032x}", fastrand::u128(..));
        HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("-"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(request: http::request::Builder) -> request::Parts {
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (kind, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
            ("", false),
        ] {
            let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
            assert_eq!(is_grpc(&headers), grpc, "{kind}");
        }
    }

    #[test]
    fn what_cannot_be_carried_is_told() {
        let get = || http::Request::get("/").version(Version::HTTP_11).header("host", "h");
        let why = |r| match Head::read(&parts(r)).1 {
            Err(Rejection::BadRequest { why }) => Some(why),
            _ => None,
        };
        assert_eq!(why(get()), None);
        assert!(why(get().header("host", "other")).expect("refused").contains("Host"));
        let host = |h: &str| http::Request::get("/").version(Version::HTTP_11).header("host", h);
        assert!(why(host("a b")).expect("refused").contains("host"));
        assert!(why(host("u@a")).expect("refused").contains("host"));
        assert_eq!(why(host("[::1]:80")), None);
        assert!(why(get().method("CONNECT")).expect("refused").contains("CONNECT"));
        let grpc = get().header("content-type", "application/grpc");
        assert!(why(grpc.header("grpc-timeout", "5")).expect("refused").contains("grpc-timeout"));
    }

    #[test]
    fn the_authority_of_the_target_counts_first() {
        let request = http::Request::get("http://A.example:81/").header("host", "other");
        let (head, _) = Head::read(&parts(request));
        assert_eq!(
            (head.authority, head.request_id.len()),
            (HeaderValue::from_static("A.example:81"), 32)
        );
    }
}
