//! What a route may answer without an engine: a redirect, or a fixed answer.

use std::fmt;
use std::str::FromStr;

use deserr::{Deserr, IntoValue, MergeWithError, Value, ValuePointerRef, take_cf_content};
use serde::{Serialize, Serializer};

use super::code;
use super::error::{BadValue, Contradiction, Errors, in_range};
use super::headers::{Headers, Place, check_headers};
use super::matching::PathPattern;
use super::retry::GRPC_NAMES;
use super::text::{as_text, clip, is_host};

/// Where callers are sent instead. What is not set stays as the caller wrote it; the query always does.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check_redirect -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Redirect {
    /// `http` or `https`.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// Another host, without port.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// Another port.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Another path: all of it, or as `/new*` what `match.path` matched of it.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathPattern>,
    /// 301, 302, 303, 307 or 308 (default 302).
    #[deserr(default = 302)]
    pub status: u16,
}

/// An answer that is always the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check_answer -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Answer {
    /// HTTP status, 200 to 599 (default 200, or what suits `grpc_status`).
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Its headers, for HTTP callers.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// Its body, for HTTP callers; at most 65536 bytes.
    #[deserr(default)]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// The status that gRPC callers get (default: by gRPC's table from `status`).
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<GrpcStatus>,
    /// The message that gRPC callers get; at most 1024 characters.
    #[deserr(default)]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Errors)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Scheme {
    /// In the clear.
    #[deserr(rename = "http")]
    Http,
    /// By TLS.
    #[deserr(rename = "https")]
    Https,
}

impl Scheme {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A host of a URL: a DNS name, an IPv4 address, or an IPv6 address in brackets. Lower case, no port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(String);
as_text!(Host, "a host without port, such as asr.example.com");

impl Host {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let v6 = s.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        match v6 {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => {}
            None if is_host(s) => {}
            _ => {
                return Err(BadValue(format!(
                    "\"{}\" is not a host; write it without scheme and port, like asr.example.com",
                    clip(s)
                )));
            }
        }
        Ok(Self(s.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A gRPC status by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrpcStatus(u8);
as_text!(GrpcStatus, "a gRPC status, such as UNAVAILABLE");

impl GrpcStatus {
    /// Its number, 0 to 16.
    pub fn code(self) -> u8 {
        self.0
    }
}

impl FromStr for GrpcStatus {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let code = (0..).zip(GRPC_NAMES).find_map(|(code, name)| (name == s).then_some(code));
        code.map(Self).ok_or_else(|| {
            BadValue(format!(
                "\"{}\" is not a gRPC status; write its name in capitals, like UNAVAILABLE",
                clip(s)
            ))
        })
    }
}

impl fmt::Display for GrpcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only statuses that there are can be made.
        f.write_str(GRPC_NAMES.get(usize::from(self.0)).copied().unwrap_or("UNKNOWN"))
    }
}

fn bad(field: &'static str, message: impl Into<String>) -> Contradiction {
    Contradiction(field, code::BAD_VALUE, message.into())
}

pub(super) fn check_redirect(r: Redirect, _: ValuePointerRef) -> Result<Redirect, Contradiction> {
    if !matches!(r.status, 301 | 302 | 303 | 307 | 308) {
        return Err(bad("/status", format!("is {}; use 301, 302, 303, 307 or 308", r.status)));
    }
    if r.port == Some(0) {
        return Err(bad("/port", "is 0; it must be from 1 to 65535"));
    }
    if r.scheme.is_none() && r.host.is_none() && r.port.is_none() && r.path.is_none() {
        let message = "sends callers where they came from; set scheme, host, port or path";
        return Err(Contradiction("", code::MISSING_FIELD, message.into()));
    }
    Ok(r)
}

pub(super) fn check_answer(mut a: Answer, _: ValuePointerRef) -> Result<Answer, Contradiction> {
    if let Some(status) = a.status {
        in_range("/status", status.into(), 200..=599)?;
    }
    if let Some(status @ (204 | 205 | 304)) = a.status
        && !a.body.is_empty()
    {
        return Err(bad("/body", format!("cannot be there with status {status}; remove it")));
    }
    if a.body.len() > 65_536 {
        return Err(bad("/body", format!("has {} bytes; at most 65536 are kept", a.body.len())));
    }
    if a.message.chars().count() > 1_024 {
        return Err(bad("/message", "has more than 1024 characters; shorten it"));
    }
    a.headers = check_headers("/headers", a.headers, Place::Answer)?;
    Ok(a)
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Spec};
    use serde_json::{Value, json};

    fn refused(spec: Value) -> (String, String) {
        let e = Spec::from_json(Kind::Route, spec).expect_err("must be refused");
        (e.0[0].pointer.clone(), e.0[0].message.clone())
    }

    #[test]
    fn what_no_redirect_can_say_is_refused() {
        for (redirect, pointer, word) in [
            (json!({}), "/redirect", "set scheme"),
            (json!({"path": "/x", "status": 200}), "/redirect/status", "308"),
            (json!({"port": 0}), "/redirect/port", "65535"),
            (json!({"host": "a:80"}), "/redirect/host", "without scheme and port"),
            (json!({"host": "a\r\nb"}), "/redirect/host", "not a host"),
            (json!({"path": "//x\n"}), "/redirect/path", "printable"),
            (json!({"scheme": "ftp"}), "/redirect/scheme", "http, https"),
        ] {
            let (at, why) = refused(json!({ "redirect": redirect }));
            assert!(at == pointer && why.contains(word), "{at} {why}");
        }
    }

    #[test]
    fn what_no_answer_can_be_is_refused() {
        for (answer, pointer, word) in [
            (json!({"status": 100}), "/answer/status", "200 to 599"),
            (json!({"status": 204, "body": "x"}), "/answer/body", "204"),
            (json!({"body": "x".repeat(65_537)}), "/answer/body", "65536"),
            (json!({"grpc_status": "GONE"}), "/answer/grpc_status", "capitals"),
            (json!({"headers": {"content-length": "5"}}), "/answer/headers", "length"),
            (json!({"headers": {"a b": "5"}}), "/answer/headers", "a b"),
            (json!({"headers": {"x": "a\r\nb"}}), "/answer/headers", "printable"),
        ] {
            let (at, why) = refused(json!({ "answer": answer }));
            assert!(at == pointer && why.contains(word), "{at} {why}");
        }
    }

    #[test]
    fn a_route_has_one_of_the_three() {
        let (at, why) = refused(json!({}));
        assert!(at == "/engine" && why.contains("redirect"), "{at} {why}");
        let (at, why) = refused(json!({"engine": "e", "answer": {}}));
        assert!(at == "/answer" && why.contains("engine"), "{at} {why}");
        let (at, why) = refused(json!({"redirect": {"path": "/x"}, "answer": {}}));
        assert!(at == "/answer" && why.contains("redirect"), "{at} {why}");
        let (at, why) = refused(json!({"answer": {}, "split": [{"engine": "b", "percent": 1}]}));
        assert!(at == "/split" && why.contains("engine"), "{at} {why}");
        let retry = json!({"attempts": 1, "on": ["reset"]});
        let (at, why) = refused(json!({"answer": {}, "retry": retry}));
        assert!(at == "/retry" && why.contains("engine"), "{at} {why}");
    }
}
