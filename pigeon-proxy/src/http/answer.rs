//! The gateway's own answers as HTTP responses.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response, StatusCode, Version};

use super::relay::CallBody;
use crate::filter::Answer;
use crate::reject::{About, Rejection, grpc_headers, http_answer};

/// The response for a rejected call. `bodiless` = the request was a HEAD.
pub(super) fn rejected(
    rejection: &Rejection,
    about: About<'_>,
    grpc: bool,
    bodiless: bool,
    version: Version,
) -> Response<CallBody> {
    let mut response = Response::new(CallBody::empty());
    if grpc {
        *response.headers_mut() = grpc_headers(rejection, about);
    } else {
        let answer = http_answer(rejection, about);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        let length = HeaderValue::from(answer.body.len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        let body = if bodiless { Bytes::new() } else { answer.body };
        *response.body_mut() = CallBody::full(body);
    }
    *response.version_mut() = version;
    response
}

/// The response that a route says. `bodiless` = the request was a HEAD.
pub(super) fn by_route(answer: &Answer, bodiless: bool, version: Version) -> Response<CallBody> {
    let body = if bodiless { Bytes::new() } else { answer.body.clone() };
    let mut response = Response::new(CallBody::full(body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().clone_from(&answer.headers);
    if answer.has_length() {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
    }
    *response.version_mut() = version;
    response
}
