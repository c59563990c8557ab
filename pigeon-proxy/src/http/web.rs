//! gRPC-Web: gRPC for browsers, which can neither read trailers nor speak HTTP/2 as they like
//! (PROTOCOL-WEB.md of the gRPC project). Such a call is a gRPC call in other clothes: they are changed at the
//! edge of this path, and everything in between sees gRPC.

mod body;
mod text;

use std::pin::Pin;

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};

use self::body::{Answer, Question};
use super::caller::CallerBody;
use super::relay::CallBody;

const GRPC: &str = "application/grpc";
const WEB: &str = "application/grpc-web";
const TEXT: &str = "application/grpc-web-text";
/// Says that a page's script calls; it means nothing to an engine.
const X_GRPC_WEB: HeaderName = HeaderName::from_static("x-grpc-web");

/// How a caller wants to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// As bytes.
    Binary,
    /// In base64, so that a browser shows what has come of an answer that still goes on.
    Text,
}

/// A gRPC-Web call.
pub(super) struct Web {
    asked: Dialect,
    answer: Dialect,
}

impl Web {
    /// If the request is one.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let asked =
            dialect(headers.get(CONTENT_TYPE)?.as_bytes()).filter(|_| *method == Method::POST)?;
        let accepted =
            headers.get_all(ACCEPT).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
        let answer = accepted.filter_map(|kind| dialect(kind.trim_ascii())).next();
        Some(Self { asked, answer: answer.unwrap_or(asked) })
    }

    /// The call as gRPC.
    pub(super) fn question(&self, request: Request<CallerBody>) -> Request<CallerBody> {
        let (mut parts, body) = request.into_parts();
        let headers = &mut parts.headers;
        let kind = headers.get(CONTENT_TYPE).map_or(GRPC.to_owned(), grpc_kind);
        headers.insert(CONTENT_TYPE, value(kind));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.remove(X_GRPC_WEB);
        headers.remove(ACCEPT);
        let body = match self.asked {
            Dialect::Binary => body,
            Dialect::Text => {
                // The length of what is decoded is another.
                headers.remove(CONTENT_LENGTH);
                CallerBody::Boxed(Box::pin(Question::new(body)))
            }
        };
        Request::from_parts(parts, body)
    }

    /// A gRPC answer as the caller understands it; anything else is no answer of a gRPC engine, and stays.
    pub(super) fn answer(&self, response: Response<CallBody>) -> Response<CallBody> {
        let (mut parts, body) = response.into_parts();
        let kind = parts.headers.get(CONTENT_TYPE).filter(|kind| is_grpc(kind.as_bytes()));
        let Some(kind) = kind else { return Response::from_parts(parts, body) };
        let web = match self.answer {
            Dialect::Binary => WEB,
            Dialect::Text => TEXT,
        };
        let format = kind.to_str().unwrap_or_default().get(GRPC.len()..).unwrap_or_default();
        let kind = value(format!("{web}{}", if format.is_empty() { "+proto" } else { format }));
        parts.headers.insert(CONTENT_TYPE, kind);
        parts.headers.remove(CONTENT_LENGTH);
        let body: Pin<Box<_>> = Box::pin(Answer::new(body, self.answer));
        Response::from_parts(parts, CallBody::translated(body))
    }
}

/// Which content type it is, if one of gRPC-Web.
fn dialect(kind: &[u8]) -> Option<Dialect> {
    let is = |name: &str| {
        let (start, rest) = kind.split_at_checked(name.len())?;
        let ends = matches!(rest.first(), None | Some(b'+' | b';' | b' '));
        (start.eq_ignore_ascii_case(name.as_bytes()) && ends).then_some(())
    };
    is(TEXT).map(|()| Dialect::Text).or_else(|| is(WEB).map(|()| Dialect::Binary))
}

/// Whether a content type is one of gRPC-Web's.
pub(crate) fn is_web(kind: &[u8]) -> bool {
    dialect(kind).is_some()
}

fn is_grpc(kind: &[u8]) -> bool {
    kind.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC.as_bytes()))
        && dialect(kind).is_none()
}

/// `application/grpc` with the format of a gRPC-Web content type, as `+proto`; parameters are dropped.
fn grpc_kind(kind: &HeaderValue) -> String {
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim_end();
    let format = kind.split_once('+').map(|(_, format)| format).filter(|format| !format.is_empty());
    format.map_or(GRPC.to_owned(), |format| format!("{GRPC}+{format}"))
}

fn value(text: String) -> HeaderValue {
    // Both parts were header values before.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(GRPC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        for (kind, wanted) in [
            ("application/grpc-web", Some(Dialect::Binary)),
            ("application/grpc-web+proto", Some(Dialect::Binary)),
            ("Application/Grpc-Web; charset=utf-8", Some(Dialect::Binary)),
            ("application/grpc-web-text", Some(Dialect::Text)),
            ("application/grpc-web-text+proto", Some(Dialect::Text)),
            ("application/grpc-website", None),
            ("application/grpc", None),
            ("application/json", None),
            ("", None),
        ] {
            assert_eq!(dialect(kind.as_bytes()), wanted, "{kind}");
        }
        let grpc = |kind| grpc_kind(&HeaderValue::from_static(kind));
        assert_eq!(grpc("application/grpc-web"), "application/grpc");
        assert_eq!(grpc("application/grpc-web-text+proto; x=y"), "application/grpc+proto");
    }

    #[test]
    fn the_answer_is_in_the_dialect_that_is_accepted() {
        let web = |kind, accept: Option<&'static str>| {
            let mut headers =
                HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            headers.extend(accept.map(|accept| (ACCEPT, HeaderValue::from_static(accept))));
            Web::of(&Method::POST, &headers).map(|web| web.answer)
        };
        assert_eq!(web(WEB, None), Some(Dialect::Binary));
        assert_eq!(web(TEXT, None), Some(Dialect::Text));
        assert_eq!(web(TEXT, Some("*/*")), Some(Dialect::Text));
        assert_eq!(
            web(WEB, Some("application/json, application/grpc-web-text")),
            Some(Dialect::Text)
        );
        assert_eq!(web(TEXT, Some("application/grpc-web+proto")), Some(Dialect::Binary));
        assert_eq!(web(GRPC, Some(WEB)), None);
    }
}
