//! Who may ask. The port has no token, so a page that somebody looks at in a browser on this machine must not
//! reach it: neither by a name that suddenly leads here (DNS rebinding) nor by a form or a script of another
//! site.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Status;

/// Set by browsers, where a request comes from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets a request pass, or says why not.
pub(super) async fn guard(
    State(status): State<Arc<Status>>,
    request: Request,
    next: Next,
) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match refusal(request.headers(), reads, status.only_here()) {
        Some(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
        None => next.run(request).await,
    }
}

/// `only_here` = the port listens on loopback alone, so nobody needs a name for it.
fn refusal(headers: &HeaderMap, reads: bool, only_here: bool) -> Option<&'static str> {
    let host = headers.get(header::HOST);
    let host = host.map(|host| host.to_str().is_ok_and(is_ours));
    if host == Some(false) && (only_here || !reads) {
        return Some("ask by IP address or localhost: other names may be led here by a stranger");
    }
    if reads {
        return None;
    }
    if host.is_none() {
        return Some("a change needs a Host header");
    }
    let site = headers.get(FETCH_SITE).is_some_and(|site| site != "none");
    (site || headers.contains_key(header::ORIGIN)).then_some("nothing is changed for web pages")
}

/// Whether nobody else can make this name lead here.
fn is_ours(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok()
        || host.parse::<SocketAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_a_strangers_name_is_answered() {
        for host in
            ["127.0.0.1:9901", "127.0.0.1", "[::1]:9901", "[::1]", "localhost:1", "LocalHost"]
        {
            assert!(is_ours(host), "{host}");
        }
        for host in
            ["", "evil.example", "evil.example:9901", "127.0.0.1.evil.example", "localhost.evil:1"]
        {
            assert!(!is_ours(host), "{host}");
        }
    }

    #[test]
    fn pages_of_others_change_nothing() {
        let headers = |pairs: &[(&'static str, &str)]| -> HeaderMap {
            let pair = |(name, value): &(&'static str, &str)| {
                (HeaderName::from_static(name), value.parse().expect("a value"))
            };
            pairs.iter().map(pair).collect()
        };
        let here = ("host", "127.0.0.1:9901");
        for (pairs, reads, only_here, passes) in [
            (&[here][..], true, true, true),
            (&[here], false, true, true),
            (&[], true, true, true),
            (&[], false, true, false),
            (&[("host", "evil.example")], true, true, false),
            (&[("host", "edge-1.example:9901")], true, false, true),
            (&[("host", "edge-1.example:9901")], false, false, false),
            (&[here, ("origin", "http://evil.example")], false, true, false),
            (&[here, ("origin", "null")], false, true, false),
            (&[here, ("sec-fetch-site", "cross-site")], false, true, false),
        ] {
            let refused = refusal(&headers(pairs), reads, only_here);
            assert_eq!(refused.is_none(), passes, "{pairs:?} {reads} {only_here}: {refused:?}");
        }
    }
}
