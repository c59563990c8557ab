//! The wire form of redirects and fixed answers.

use super::super::error::{BadValue, Errors};
use super::super::own::{check_answer, check_redirect};
use super::super::{Answer, Headers, Redirect, Scheme};
use super::{at, checked, some, some_text};
use crate::v1;

/// A number that this version knows no meaning for: refused by the check that follows.
fn short(n: u32) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

pub(super) fn to_wire(headers: &Headers) -> Vec<v1::Header> {
    let header =
        |(name, value): (&String, &String)| v1::Header { name: name.clone(), value: value.clone() };
    headers.iter().map(header).collect()
}

pub(super) fn from_wire(headers: Vec<v1::Header>) -> Headers {
    headers.into_iter().map(|h| (h.name, h.value)).collect()
}

impl From<&Redirect> for v1::Redirect {
    fn from(r: &Redirect) -> Self {
        Self {
            scheme: r.scheme.map(|s| s.as_str().to_owned()).unwrap_or_default(),
            host: r.host.as_ref().map(ToString::to_string).unwrap_or_default(),
            port: r.port.map_or(0, u32::from),
            path: r.path.as_ref().map(ToString::to_string).unwrap_or_default(),
            status: r.status.into(),
        }
    }
}

pub(super) fn wire_redirect(w: v1::Redirect) -> Result<Redirect, Errors> {
    let mut errors = Errors::default();
    let e = &mut errors;
    let scheme = match w.scheme.as_str() {
        "" => None,
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => at(e, "/redirect/scheme", Err(BadValue("is not http or https".into()))),
    };
    let value = Redirect {
        scheme,
        host: some_text(w.host).and_then(|s| at(e, "/redirect/host", s.parse())),
        port: some(w.port).map(short),
        path: some_text(w.path).and_then(|s| at(e, "/redirect/path", s.parse())),
        status: short(w.status),
    };
    errors.into_result()?;
    checked(value, "/redirect", check_redirect)
}

impl From<&Answer> for v1::Answer {
    fn from(a: &Answer) -> Self {
        Self {
            status: a.status.map_or(0, u32::from),
            headers: to_wire(&a.headers),
            body: a.body.clone(),
            grpc_status: a.grpc_status.map(|s| s.to_string()).unwrap_or_default(),
            message: a.message.clone(),
        }
    }
}

pub(super) fn wire_answer(w: v1::Answer) -> Result<Answer, Errors> {
    let mut errors = Errors::default();
    let status = some_text(w.grpc_status);
    let grpc_status = status.and_then(|s| at(&mut errors, "/answer/grpc_status", s.parse()));
    errors.into_result()?;
    let value = Answer {
        status: some(w.status).map(short),
        headers: from_wire(w.headers),
        body: w.body,
        grpc_status,
        message: w.message,
    };
    checked(value, "/answer", check_answer)
}
