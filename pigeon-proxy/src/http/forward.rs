//! Headers on their way through: what is dropped, added and kept, both ways (RFC 9110 section 7.6).

use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Response, Uri, Version, request, response};

use super::Client;
use super::head::{Head, REQUEST_ID};
use crate::filter::Edits;
use crate::filter::identity::{Identity, credential};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
pub(super) const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Headers that say something about one connection only.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HTTP2_SETTINGS,
    PROXY_AUTHENTICATE,
];

/// Where a request goes.
pub(super) struct To<'a> {
    pub(super) version: Version,
    /// Stands in for the host of a request that has none.
    pub(super) authority: &'a str,
    /// By TLS.
    pub(super) secure: bool,
    /// Those of the route.
    pub(super) edits: Option<&'a Edits>,
}

/// Turns the head of a caller's request into that of the engine's, in place.
pub(super) fn request(parts: &mut request::Parts, head: &Head, client: &Client, to: &To<'_>) {
    edit(parts, head, (client.peer, client.scheme()), to);
}

fn edit(parts: &mut request::Parts, head: &Head, from: (IpAddr, &'static str), to: &To<'_>) {
    let headers = &mut parts.headers;
    if headers.contains_key(TRANSFER_ENCODING) {
        // The length of a chunked body is in the chunks; another one would be a way to smuggle.
        headers.remove(CONTENT_LENGTH);
    }
    let trailers = wants_trailers(headers);
    drop_hop_by_hop(headers);
    for name in [TE, PROXY_AUTHORIZATION, EXPECT] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    drop_ours(headers);
    forwarded(headers, head, from);
    headers.insert(REQUEST_ID, head.request_id.clone());
    if let Some(edits) = to.edits {
        edits.request.apply(&mut parts.headers);
    }
    target(parts, head, to);
}

/// Asks the other end for another protocol, or grants it.
pub(super) fn upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Whether the length of an engine's answer can be read in one way only. hyper takes more: a length beside chunks,
/// the same length several times, codings that it does not undo.
pub(super) fn is_framed(response: &Response<impl Sized>) -> bool {
    let headers = response.headers();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (None, None) => true,
        (None, Some(length)) => {
            lengths.next().is_none() && length.as_bytes().iter().all(u8::is_ascii_digit)
        }
        (Some(coding), None) => {
            codings.next().is_none()
                && coding.as_bytes().eq_ignore_ascii_case(b"chunked")
                && response.version() == Version::HTTP_11
        }
        (Some(_), Some(_)) => false,
    }
}

/// Tells the engine who calls. Comes after [`request`], which has dropped what the caller itself says it is.
pub(super) fn caller(headers: &mut HeaderMap, identity: Option<&Identity>) {
    for (name, value) in identity.into_iter().flat_map(Identity::headers) {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Keeps from the engine the keys that are the gateway's business alone. A name may have several values, and
/// not all of them be keys. Comes before [`request`], whose edits may give the engine a key of its own.
pub(super) fn hide_keys(headers: &mut HeaderMap) {
    for name in credential::HEADERS {
        let is_key = |value: &HeaderValue| credential::is_key(name.as_bytes(), value.as_bytes());
        if !headers.get_all(name).iter().any(is_key) {
            continue;
        }
        let kept: Vec<_> = headers.get_all(name).iter().filter(|v| !is_key(v)).cloned().collect();
        headers.remove(name);
        for value in kept {
            headers.append(HeaderName::from_static(name), value);
        }
    }
}

/// Drops from an engine's answer what concerns its connection only.
pub(super) fn response(parts: &mut response::Parts, version: Version, edits: Option<&Edits>) {
    drop_hop_by_hop(&mut parts.headers);
    parts.headers.remove(TE);
    if let Some(edits) = edits {
        edits.response.apply(&mut parts.headers);
    }
    parts.version = version;
}

/// Drops from a request what HTTP/2 has no place for (RFC 9113 section 8.2.2).
pub(super) fn for_http2(headers: &mut HeaderMap) {
    let trailers = wants_trailers(headers);
    drop_hop_by_hop(headers);
    headers.remove(TE);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    // Most requests have no Connection header, and then nothing is collected.
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // `Connection: host` and the like are attempts to take away what routing relied on.
        .filter(|name| ![HOST, CONTENT_LENGTH].contains(name))
        .filter(|name| !name.as_str().starts_with("x-forwarded-"))
        .collect();
    for name in listed.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|v| v.trim().eq_ignore_ascii_case("trailers"))
}

/// No caller says what only the gateway may say.
/// No caller says what only the gateway may say, in headers or in trailers.
pub(in crate::http) fn drop_ours(headers: &mut HeaderMap) {
    if headers.keys().any(|name| name.as_str().starts_with("pigeon-")) {
        let ours: Vec<HeaderName> =
            headers.keys().filter(|name| name.as_str().starts_with("pigeon-")).cloned().collect();
        for name in ours {
            headers.remove(name);
        }
    }
}

fn forwarded(headers: &mut HeaderMap, head: &Head, (peer, scheme): (IpAddr, &'static str)) {
    let mut hops = String::new();
    for value in headers.get_all(&FORWARDED_FOR) {
        if let Ok(value) = value.to_str() {
            hops.push_str(value);
            hops.push_str(", ");
        }
    }
    hops.push_str(&peer.to_string());
    if let Ok(value) = HeaderValue::from_str(&hops) {
        headers.insert(FORWARDED_FOR, value);
    }
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static(scheme));
    if !head.authority.is_empty() {
        headers.entry(FORWARDED_HOST).or_insert_with(|| head.authority.clone());
    }
}

/// Writes target, host and version the way the engine's protocol wants them.
fn target(parts: &mut request::Parts, head: &Head, to: &To<'_>) {
    let &To { version, authority, secure, edits } = to;
    let path = parts.uri.path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let other = edits.and_then(|edits| edits.target(path.as_str())).and_then(|t| t.parse().ok());
    let path = other.unwrap_or(path);
    let host = match edits.and_then(|edits| edits.host.as_ref()) {
        Some(host) => host.clone(),
        None if head.authority.is_empty() => HeaderValue::from_str(authority)
            .unwrap_or_else(|_| HeaderValue::from_static("localhost")),
        None => head.authority.clone(),
    };
    let mut uri = http::uri::Parts::default();
    let as_authority = Authority::try_from(host.as_bytes()).ok();
    if version == Version::HTTP_2 && as_authority.is_some() {
        uri.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
        uri.authority = as_authority;
        parts.headers.remove(HOST);
    } else {
        parts.headers.insert(HOST, host);
        join_cookies(&mut parts.headers);
    }
    uri.path_and_query = Some(path);
    if let Ok(uri) = Uri::from_parts(uri) {
        parts.uri = uri;
    }
    parts.version = version;
}

/// HTTP/2 may send cookies one by one; HTTP/1.1 has one line (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(request: http::request::Builder, version: Version) -> request::Parts {
        let mut parts = request.body(()).expect("a request").into_parts().0;
        let (head, _) = Head::read(&parts);
        let to = To { version, authority: "engine:1", secure: false, edits: None };
        edit(&mut parts, &head, (IpAddr::from([10, 0, 0, 1]), "http"), &to);
        parts
    }

    #[test]
    fn what_concerns_one_connection_is_dropped() {
        let request = http::Request::get("/p?q=1")
            .header("host", "a:1")
            .header("connection", "keep-alive, Secret-Hop")
            .header("secret-hop", "x")
            .header("keep-alive", "timeout=5")
            .header("te", "gzip, Trailers")
            .header("transfer-encoding", "chunked")
            .header("content-length", "5")
            .header("expect", "100-continue")
            .header("pigeon-tenant", "root")
            .header("accept", "a")
            .header("accept", "b");
        let parts = forwarded(request, Version::HTTP_11);
        let names: std::collections::BTreeSet<_> =
            parts.headers.keys().map(HeaderName::as_str).collect();
        let wanted = [
            "accept",
            "host",
            "te",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id",
        ];
        assert_eq!(names, wanted.into_iter().collect());
        assert_eq!(parts.headers["te"], "trailers");
        assert_eq!(parts.headers.get_all("accept").iter().count(), 2);
        assert_eq!(parts.headers["host"], "a:1");
        assert_eq!(parts.uri, "/p?q=1");
    }

    #[test]
    fn hops_are_appended_and_the_host_moves_with_the_protocol() {
        let request = || {
            http::Request::get("/")
                .header("host", "a:1")
                .header("x-forwarded-for", "1.1.1.1")
                .header("x-forwarded-for", "2.2.2.2")
                .header("x-forwarded-proto", "https")
                .header("x-request-id", "mine")
        };
        let parts = forwarded(request(), Version::HTTP_2);
        assert_eq!(parts.headers["x-forwarded-for"], "1.1.1.1, 2.2.2.2, 10.0.0.1");
        assert_eq!(parts.headers["x-forwarded-proto"], "https");
        assert_eq!(parts.headers["x-request-id"], "mine");
        assert_eq!(
            (parts.uri.to_string().as_str(), parts.headers.get("host")),
            ("http://a:1/", None)
        );
    }

    #[test]
    fn from_http2_to_http1_host_and_cookies_become_one_line_each() {
        let request = http::Request::get("http://a:1/p")
            .version(Version::HTTP_2)
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let parts = forwarded(request, Version::HTTP_11);
        assert_eq!(parts.headers["host"], "a:1");
        assert_eq!(parts.headers["cookie"], "a=1; b=2");
        assert_eq!(parts.uri, "/p");
    }

    #[test]
    fn a_request_without_host_gets_the_endpoints() {
        let request = || http::Request::get("/").version(Version::HTTP_10);
        assert_eq!(forwarded(request(), Version::HTTP_11).headers["host"], "engine:1");
        assert_eq!(forwarded(request(), Version::HTTP_2).uri, "http://engine:1/");
    }
}
