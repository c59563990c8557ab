//! The gRPC and the HTTP form of a rejection.

use std::collections::HashMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use prost::Message as _;
use tonic_types::pb::{ErrorInfo, RetryInfo, Status};

use super::{About, Rejection};

/// The header that names the reason of every answer of the gateway's own.
pub const PIGEON_REASON: HeaderName = HeaderName::from_static("pigeon-reason");
/// The status of a gRPC call.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// What a gRPC status means, percent-encoded.
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const DOMAIN: &str = "pigeon.dev";

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without a content-length.
    pub headers: HeaderMap,
    /// Its body: a problem document (RFC 9457).
    pub body: Bytes,
}

/// The headers of a trailers-only gRPC answer (HTTP status 200).
pub fn grpc_headers(rejection: &Rejection, about: About<'_>) -> HeaderMap {
    let mut headers = grpc_trailers(rejection, about);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers
}

/// The trailers of a gRPC call that the gateway ends after its answer began.
pub fn grpc_trailers(rejection: &Rejection, about: About<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(6);
    let message = rejection.message();
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(rejection.grpc_code())));
    headers.insert(GRPC_MESSAGE, text(&percent_encoded(&message)));
    headers.insert(PIGEON_REASON, HeaderValue::from_static(rejection.reason().as_str()));
    headers.insert(GRPC_DETAILS, text(&STANDARD_NO_PAD.encode(details(rejection, about))));
    if let Rejection::MethodNotAllowed { allow } = rejection {
        headers.insert(ALLOW, text(allow));
    }
    headers
}

/// The headers of a trailers-only gRPC answer that is no rejection; an empty message is left out.
pub fn grpc_status(code: u8, message: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(code)));
    if !message.is_empty() {
        headers.insert(GRPC_MESSAGE, text(&percent_encoded(message)));
    }
    headers
}

/// The HTTP form.
pub fn http_answer(rejection: &Rejection, about: About<'_>) -> HttpAnswer {
    let status = StatusCode::from_u16(rejection.http_status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = rejection.reason().as_str();
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PIGEON_REASON, HeaderValue::from_static(reason));
    if let Some(retry) = rejection.retry() {
        // Whole seconds, and never 0: that would mean at once.
        headers.insert(RETRY_AFTER, HeaderValue::from(retry.as_secs_f64().ceil().max(1.0) as u64));
    }
    if let Rejection::MethodNotAllowed { allow } = rejection {
        headers.insert(ALLOW, text(allow));
    }
    if let Rejection::Unauthenticated(lack) = rejection {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(lack.challenge()));
    }
    if matches!(rejection, Rejection::Lacks { .. }) {
        let challenge = HeaderValue::from_static("Bearer error=\"insufficient_scope\"");
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    let body = problem(status, reason, &rejection.message(), about);
    HttpAnswer { status, headers, body }
}

/// A problem document (RFC 9457).
pub fn problem(status: StatusCode, reason: &str, detail: &str, about: About<'_>) -> Bytes {
    let mut problem = serde_json::json!({
        "type": format!("urn:pigeon:problem:{reason}"),
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": detail,
        "reason": reason,
    });
    for (key, value) in [("route", about.route), ("engine", about.engine)] {
        if let (Some(value), Some(object)) = (value, problem.as_object_mut()) {
            object.insert(key.into(), value.into());
        }
    }
    let mut body = problem.to_string();
    body.push('\n');
    body.into()
}

/// `google.rpc.Status` with `ErrorInfo`, and `RetryInfo` where the list has a hint.
fn details(rejection: &Rejection, about: About<'_>) -> Vec<u8> {
    let about = [("route", about.route), ("engine", about.engine)];
    let metadata = about.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned())));
    let info = ErrorInfo {
        reason: rejection.reason().upper(),
        domain: DOMAIN.to_owned(),
        metadata: metadata.collect::<HashMap<_, _>>(),
    };
    let mut details = vec![any("google.rpc.ErrorInfo", &info)];
    if let Some(retry) = rejection.retry() {
        let retry_delay = prost_types::Duration {
            seconds: i64::try_from(retry.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(retry.subsec_nanos()).unwrap_or(0),
        };
        details.push(any("google.rpc.RetryInfo", &RetryInfo { retry_delay: Some(retry_delay) }));
    }
    let code = i32::from(rejection.grpc_code());
    Status { code, message: rejection.message().into_owned(), details }.encode_to_vec()
}

fn any(name: &str, message: &impl prost::Message) -> prost_types::Any {
    prost_types::Any {
        type_url: format!("type.googleapis.com/{name}"),
        value: message.encode_to_vec(),
    }
}

/// `grpc-message`: every byte but printable ASCII, and the percent sign, as `%XX`.
fn percent_encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_travel_percent_encoded() {
        assert_eq!(percent_encoded("50% über\n"), "50%25 %C3%BCber%0A");
    }
}
