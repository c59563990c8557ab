//! A JWKS from a URL: one GET, on a connection of its own. No redirects, nothing larger or slower than allowed.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AGE, CACHE_CONTROL, HOST, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::filter::identity::LARGEST;
use crate::tls;

/// For everything together.
const LIMIT: Duration = Duration::from_secs(10);

/// What is at `url`, and how long it says that it is good; `ca` = a file of authorities other than the
/// system's.
///
/// # Errors
/// In words, for people.
pub(super) async fn fetch(
    url: &str,
    ca: Option<&str>,
) -> Result<(Bytes, Option<Duration>), String> {
    match timeout(LIMIT, get(url, ca)).await {
        Ok(got) => got,
        Err(_) => Err(format!("there was no whole answer within {} s", LIMIT.as_secs())),
    }
}

async fn get(url: &str, ca: Option<&str>) -> Result<(Bytes, Option<Duration>), String> {
    let uri: Uri = url.parse().map_err(|error| format!("the URL is malformed: {error}"))?;
    let host = uri.host().ok_or("the URL has no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let secure = uri.scheme_str() != Some("http");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let socket = TcpStream::connect((host, port)).await;
    let socket = socket.map_err(|error| format!("cannot connect to {host}:{port}: {error}"))?;
    if secure {
        return ask(tls::dial(socket, host, ca).await?, &uri).await;
    }
    // What a name stands for is not in the configuration.
    if socket.peer_addr().is_ok_and(|peer| peer.ip().is_loopback()) {
        return ask(socket, &uri).await;
    }
    Err(format!(
        "{host} is not this machine, and keys that come by http can be anybody's: use https"
    ))
}

async fn ask<S>(socket: S, uri: &Uri) -> Result<(Bytes, Option<Duration>), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| format!("the server's answer is no good: {error}");
    let (mut sender, connection) =
        http1::handshake::<_, Empty<Bytes>>(TokioIo::new(socket)).await.map_err(failed)?;
    let exchange = async {
        let answer = sender.send_request(request(uri)?).await.map_err(failed)?;
        let (head, body) = answer.into_parts();
        if head.status != StatusCode::OK {
            let to = if head.status.is_redirection() { "; redirects are not followed" } else { "" };
            return Err(format!("the server answers {}{to}", head.status));
        }
        let body = Limited::new(body, LARGEST).collect().await;
        let body =
            body.map_err(|error| format!("the answer cannot be read to its end: {error}"))?;
        Ok((body.to_bytes(), fresh(&head.headers)))
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        got = &mut exchange => got,
        // It ends before the answer does if the server closes.
        _ = connection => exchange.await,
    }
}

fn request(uri: &Uri) -> Result<Request<Empty<Bytes>>, String> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Request::get(path)
        .header(HOST, authority)
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .header(USER_AGENT, concat!("pigeon-proxy/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(|error| error.to_string())
}

/// How long an answer is good (RFC 9111), as far as it says.
fn fresh(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut fresh = None;
    for directive in said.flat_map(|value| value.split(',')) {
        let (name, value) = directive.trim().split_once('=').unwrap_or((directive.trim(), ""));
        match name.to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            "max-age" => fresh = value.trim_matches('"').parse().ok().map(Duration::from_secs),
            _ => {}
        }
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.parse().ok());
    fresh.map(|fresh| fresh.saturating_sub(Duration::from_secs(age.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_long_it_is_good() {
        for (control, age, wanted) in [
            (&["max-age=600"][..], None, Some(600)),
            (&["public, Max-Age=\"600\", must-revalidate"], Some("100"), Some(500)),
            (&["public", "max-age=7"], Some("x"), Some(7)),
            (&["max-age=5"], Some("9"), Some(0)),
            (&["max-age=600, no-cache"], None, Some(0)),
            (&["no-store"], None, Some(0)),
            (&["max-age=-1"], None, None),
            (&["private"], None, None),
            (&[], Some("3"), None),
        ] {
            let mut headers = HeaderMap::new();
            for value in control {
                headers.append(CACHE_CONTROL, value.parse().expect("a value"));
            }
            if let Some(age) = age {
                headers.insert(AGE, age.parse().expect("a value"));
            }
            assert_eq!(fresh(&headers).map(|f| f.as_secs()), wanted, "{control:?} {age:?}");
        }
    }
}
