//! Who may call, and what: by a token with a role, or a session of the dashboard, which may only read.

mod limit;
mod session;

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use pigeon_proto::model::Labels;

pub use limit::FailureLimit;
pub use session::{COOKIE, Owner, Sessions, Ticket};

use super::error::{Problem, clip};
use super::frame::Caller;
use super::types::now_ms;
use super::{ApiState, code};
use crate::access::{Rights, Role, Token};
use crate::catalog::Actor;

/// Who makes a call under `/v1`, once that is established.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Whose token it is.
    pub owner: Owner,
    /// What they may do.
    pub rights: Rights,
    /// The session of the dashboard that stands for the token, and may only read.
    pub session: Option<Ticket>,
}

impl Principal {
    /// Whoever holds the first token; may do everything.
    fn first() -> Self {
        let owner = Owner { name: "admin".to_owned(), token: None };
        Self { owner, rights: Rights::ALL, session: None }
    }

    fn of(token: &Token) -> Self {
        let owner = Owner { name: token.name.clone(), token: Some(token.id.clone()) };
        Self { owner, rights: token.rights.clone(), session: None }
    }

    /// As the history has it.
    pub fn actor(&self, caller: &Caller) -> Actor {
        let Caller { source, request_id } = caller.clone();
        Actor { name: self.owner.name.clone(), rights: self.rights.clone(), source, request_id }
    }

    /// Whether session and token are still worth something.
    pub fn is_still_good(&self, api: &ApiState) -> bool {
        let open = self.session.is_none_or(|ticket| api.sessions().is_open(&ticket));
        open && is_good(api, &self.owner)
    }
}

/// Whether the token that somebody came with is still there, and has not expired.
fn is_good(api: &ApiState, owner: &Owner) -> bool {
    let Some(id) = &owner.token else { return true };
    api.app().catalog.tokens().by_id(id).is_some_and(|token| !token.has_expired(now_ms()))
}

/// Whose token it is.
///
/// # Errors
/// 401 or 429: it is none, or has expired.
pub fn holder(
    api: &ApiState,
    source: Option<IpAddr>,
    presented: &str,
) -> Result<Principal, Problem> {
    if api.app().admin_token.verify(presented) {
        return Ok(Principal::first());
    }
    let (tokens, now) = (api.app().catalog.tokens(), now_ms());
    match tokens.find(presented) {
        Some(token) if token.has_expired(now) => {
            let name = &token.name;
            Err(unauthenticated(&format!("the token \"{name}\" has expired")))
        }
        Some(token) => {
            api.app().catalog.used(token, now);
            Ok(Principal::of(token))
        }
        None => Err(refuse(api, source, "the token is wrong")),
    }
}

/// Lets a call under `/v1` through once it is clear who makes it.
///
/// Only `POST /v1/sessions` passes unknown callers: it checks the token in its body itself.
pub async fn guard(State(api): State<ApiState>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let guarded = path == "/v1" || path.starts_with("/v1/");
    if !guarded || (request.method() == Method::POST && path == "/v1/sessions") {
        return next.run(request).await;
    }
    let known = identify(&api, &request);
    match known.and_then(|principal| permitted(&request, &principal).map(|()| principal)) {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn identify(api: &ApiState, request: &Request) -> Result<Principal, Problem> {
    let headers = request.headers();
    let source = super::frame::peer(request);
    if headers.contains_key(header::AUTHORIZATION) {
        return match bearer(headers) {
            Some(token) => holder(api, source, token),
            None => Err(refuse(api, source, "the Authorization header is not `Bearer TOKEN`")),
        };
    }
    let Some(id) = session::from_cookies(headers) else {
        return Err(unauthenticated("there is no token"));
    };
    check_host(request)?;
    let found = api.sessions().find(id).filter(|(_, owner)| is_good(api, owner));
    let Some((ticket, owner)) = found else {
        return Err(unauthenticated("the session has ended; log in again"));
    };
    let rights = Rights { role: Role::Viewer, scope: Labels::new() };
    Ok(Principal { owner, rights, session: Some(ticket) })
}

/// Whether the caller may make calls of this kind at all; what is written is looked at when it is clear what
/// would change.
fn permitted(request: &Request, principal: &Principal) -> Result<(), Problem> {
    let (method, path) = (request.method(), request.uri().path());
    let reads = method == Method::GET || method == Method::HEAD;
    let noun = path.trim_start_matches("/v1/").split('/').next().unwrap_or_default();
    let needed = match noun {
        "tokens" => Role::Admin,
        // To end a session, or to ask which route takes a call, changes nothing.
        "sessions" => Role::Viewer,
        _ if reads => Role::Viewer,
        _ if principal.session.is_some() => return Err(read_only()),
        "route-tests" => Role::Viewer,
        "engines" if method == Method::PATCH => Role::Operator,
        _ => Role::Editor,
    };
    let has = principal.rights.role;
    if has >= needed {
        return Ok(());
    }
    Err(Problem::forbidden(&format!("this needs the role {needed}; this token has {has}")))
}

fn read_only() -> Problem {
    let detail = "a session of the dashboard may only read; \
                  make changes with a token (`pigeon-ctl`, or `Authorization: Bearer TOKEN`)";
    let title = "A session may only read";
    let status = StatusCode::FORBIDDEN;
    Problem::new(status, "forbidden", title, code::READ_ONLY_SESSION, detail)
}

/// The token of the one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (all.next()?, all.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// 401, or 429 where wrong tokens come too fast from `source`; a right token never waits.
pub fn refuse(api: &ApiState, source: Option<IpAddr>, what: &str) -> Problem {
    match api.failures().take(source) {
        Ok(()) => unauthenticated(what),
        Err(wait) => {
            let seconds = wait.as_secs() + 1;
            let detail =
                format!("too many wrong tokens from your address; try again in {seconds} s");
            let title = "Too many wrong tokens";
            let status = StatusCode::TOO_MANY_REQUESTS;
            Problem::new(status, "too-many-logins", title, code::TOO_MANY_LOGINS, detail)
                .header(header::RETRY_AFTER, HeaderValue::from(seconds))
        }
    }
}

fn unauthenticated(what: &str) -> Problem {
    let detail = format!(
        "{what}; send `Authorization: Bearer TOKEN`: pigeon-admin wrote the token to \
         <data-dir>/admin.token when it first started"
    );
    let title = "Not authenticated";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", title, code::UNAUTHENTICATED, detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"pigeon-admin\""))
        .next("pigeon-ctl login --server URL --token-file FILE")
}

/// Refuses what a browser sends to a foreign host name that was made to point at this machine (DNS
/// rebinding): what comes over the loopback interface must be for a loopback name.
///
/// # Errors
/// 421.
pub fn check_host(request: &Request) -> Result<(), Problem> {
    if !super::frame::peer(request).is_some_and(|ip| ip.is_loopback()) {
        return Ok(());
    }
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
    let host = host.unwrap_or_default();
    if is_loopback(host) {
        return Ok(());
    }
    let detail = format!(
        "the host is \"{}\", but the call comes from this machine itself; use localhost or 127.0.0.1 \
         (a reverse proxy on this machine has to set the header Host to one of them)",
        clip(host)
    );
    let title = "This host name is not taken";
    let status = StatusCode::MISDIRECTED_REQUEST;
    Err(Problem::new(status, "wrong-host", title, code::WRONG_HOST, detail))
}

fn is_loopback(host: &str) -> bool {
    // An authority may have a user; a Host header may not.
    let Some(authority) = host.parse::<Authority>().ok().filter(|_| !host.contains('@')) else {
        return false;
    };
    let name = authority.host();
    let name = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| match ip {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped() == Some(Ipv4Addr::LOCALHOST),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names() {
        for host in
            ["localhost", "LocalHost:9800", "127.0.0.1", "127.0.0.1:1", "127.8.9.1", "[::1]:9800"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["", "example.com", "localhost.evil.example", "10.0.0.1", "user@localhost:x", "[::2]"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn bearer_headers() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for v in values {
                headers.append(header::AUTHORIZATION, v.parse().expect("a value"));
            }
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of(&["Bearer abc"]), Some("abc".into()));
        assert_eq!(of(&["bearer  abc "]), Some("abc".into()));
        for bad in
            [&["abc"][..], &["Basic abc"], &["Bearer "], &["Bearer"], &["Bearer a", "Bearer a"]]
        {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }
}
