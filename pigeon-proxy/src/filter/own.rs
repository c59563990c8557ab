//! The answer of a route that has no engine: a redirect, or always the same.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue};
use pigeon_proto::model::{self, PathPattern, Redirect, Route};

use super::{Answer, Asked, Stop};
use crate::reject::{Rejection, code, grpc_status, http_of_grpc};

/// What such a route does.
#[derive(Debug)]
pub(super) enum Own {
    Fixed {
        http: Arc<Answer>,
        grpc: Arc<Answer>,
    },
    Redirect {
        to: Redirect,
        /// How much of a path the route matched, if it is to be replaced.
        matched: usize,
    },
}

impl Own {
    pub(super) fn new(route: &Route) -> Option<Self> {
        if let Some(answer) = &route.answer {
            return Some(Self::Fixed {
                http: Arc::new(http(answer)),
                grpc: Arc::new(grpc(answer)),
            });
        }
        let to = route.redirect.clone()?;
        let matched = match &route.matches.path {
            Some(PathPattern::Prefix(prefix)) => prefix.len(),
            _ => 0,
        };
        Some(Self::Redirect { to, matched })
    }

    pub(super) fn answer(&self, asked: &Asked<'_>) -> Stop {
        match self {
            Self::Fixed { grpc, .. } if asked.grpc => Stop::Answer(Arc::clone(grpc)),
            Self::Fixed { http, .. } => Stop::Answer(Arc::clone(http)),
            Self::Redirect { to, matched } => redirect(to, *matched, asked),
        }
    }
}

fn http(answer: &model::Answer) -> Answer {
    let mut headers = HeaderMap::with_capacity(answer.headers.len() + 1);
    for (name, value) in &answer.headers {
        // The model takes only what is a header.
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    if !answer.body.is_empty() {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.entry(CONTENT_TYPE).or_insert(plain);
    }
    let status = answer.status.unwrap_or(match answer.grpc_status {
        None => 200,
        Some(status) => http_of_grpc(status.code()),
    });
    Answer { status, headers, body: Bytes::from(answer.body.clone()), grpc_status: None }
}

fn grpc(answer: &model::Answer) -> Answer {
    let code = match (answer.grpc_status, answer.status) {
        (Some(status), _) => status.code(),
        (None, status) => of_http(status.unwrap_or(200)),
    };
    grpc_answer(code, &answer.message)
}

fn grpc_answer(code: u8, message: &str) -> Answer {
    let headers = grpc_status(code, message);
    Answer { status: 200, headers, body: Bytes::new(), grpc_status: Some(code) }
}

/// gRPC's table for HTTP statuses (http-grpc-status-mapping.md).
fn of_http(status: u16) -> u8 {
    match status {
        400 => code::INTERNAL,
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 => code::UNIMPLEMENTED,
        429 | 502..=504 => code::UNAVAILABLE,
        _ => code::UNKNOWN,
    }
}

fn redirect(to: &Redirect, matched: usize, asked: &Asked<'_>) -> Stop {
    let location = match location(to, matched, asked) {
        Ok(location) => location,
        Err(why) => return Stop::Reject(Rejection::BadRequest { why }),
    };
    if asked.grpc {
        // No gRPC client follows a redirect.
        let message = format!("this is served elsewhere: {location}");
        return Stop::Answer(Arc::new(grpc_answer(code::UNIMPLEMENTED, &message)));
    }
    let Ok(value) = HeaderValue::from_str(&location) else {
        return Stop::Reject(Rejection::BadRequest { why: "the path is malformed" });
    };
    let headers = HeaderMap::from_iter([(LOCATION, value)]);
    let (status, body) = (to.status, Bytes::new());
    Stop::Answer(Arc::new(Answer { status, headers, body, grpc_status: None }))
}

/// The new address: as short as what is kept of the old one allows (RFC 3986 section 4.2), so that nothing is
/// said of the caller's scheme, which another proxy may have changed.
fn location(to: &Redirect, matched: usize, asked: &Asked<'_>) -> Result<String, &'static str> {
    let (path, query) = match asked.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (asked.target, None),
    };
    let path = match &to.path {
        None => path.to_owned(),
        Some(PathPattern::Exact(path)) => path.clone(),
        Some(PathPattern::Prefix(prefix)) => {
            format!("{prefix}{}", path.get(matched..).unwrap_or_default())
        }
    };
    let mut location = origin(to, asked)?;
    // What follows is a path, and never (after "//" or "/\") another host.
    location.push('/');
    location.push_str(path.trim_start_matches(['/', '\\']));
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    Ok(location)
}

/// What comes before the path: nothing if host, port and scheme stay.
fn origin(to: &Redirect, asked: &Asked<'_>) -> Result<String, &'static str> {
    if to.scheme.is_none() && to.host.is_none() && to.port.is_none() {
        return Ok(String::new());
    }
    let (host, port) = split_port(asked.authority);
    let mut origin = match to.scheme {
        Some(scheme) => format!("{}://", scheme.as_str()),
        None => "//".to_owned(),
    };
    match &to.host {
        Some(host) => origin.push_str(host.as_str()),
        None if host.is_empty() => return Err("a redirect needs the host that was asked for"),
        None => origin.push_str(host),
    }
    let same_place = to.host.is_none() && to.scheme.is_none();
    let port = to.port.map(|port| port.to_string()).or(port.filter(|_| same_place).map(Into::into));
    if let Some(port) = port {
        origin.push(':');
        origin.push_str(&port);
    }
    Ok(origin)
}

/// A host and its port; what is before an `@` is no part of the host.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, Some(port)),
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests;
