//! What a route matches.

use std::fmt;
use std::str::FromStr;

use deserr::{Deserr, IntoValue, MergeWithError, Value, ValuePointerRef, take_cf_content};
use serde::{Serialize, Serializer};

use super::code;
use super::error::{BadValue, Contradiction, Errors};
use super::text::{Name, as_text, clip, is_host};

/// Which calls a route takes; everything that is set must hold, and a route that sets nothing takes all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Match {
    /// Only calls that came in on this listener.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<Name>,
    /// Only calls for this host.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostPattern>,
    /// Only gRPC calls of this service or method. Excludes `path` and `methods`.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcTarget>,
    /// Only calls with this path.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathPattern>,
    /// Only these HTTP methods; none = any.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<HttpMethod>,
}

pub(super) fn check(mut m: Match, _: ValuePointerRef) -> Result<Match, Contradiction> {
    if m.grpc.is_some() && m.path.is_some() {
        let message = "excludes grpc; keep one of the two, or make two routes".into();
        return Err(Contradiction("/path", code::CONFLICTING_FIELDS, message));
    }
    if m.grpc.is_some() && !m.methods.is_empty() {
        let message = "has no meaning with grpc (every gRPC call is a POST); remove it".into();
        return Err(Contradiction("/methods", code::CONFLICTING_FIELDS, message));
    }
    m.methods.sort();
    m.methods.dedup();
    Ok(m)
}

/// `example.com` or `*.example.com` (any number of labels before the suffix). Lower case, no port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// Every host that ends in `.suffix`.
    Suffix(String),
}
as_text!(HostPattern, "a host or *.suffix, such as asr.example.com or *.example.com");

impl FromStr for HostPattern {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let (suffix, host) = match s.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, s),
        };
        let v6 = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let valid = match v6 {
            Some(inner) => !suffix && inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => is_host(host),
        };
        if !valid {
            return Err(BadValue(format!(
                "\"{}\" is not a host; write it without scheme and port, like asr.example.com or *.example.com",
                clip(s)
            )));
        }
        let host = host.to_ascii_lowercase();
        Ok(if suffix { Self::Suffix(host) } else { Self::Exact(host) })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(h) => f.write_str(h),
            Self::Suffix(h) => write!(f, "*.{h}"),
        }
    }
}

/// `pkg.Service` or `pkg.Service/Method`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrpcTarget {
    /// Full name of the service.
    pub service: String,
    /// One method of it; all if absent.
    pub method: Option<String>,
}
as_text!(GrpcTarget, "pkg.Service or pkg.Service/Method");

impl FromStr for GrpcTarget {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let word = |w: &str| {
            w.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let (service, method) = match s.split_once('/') {
            Some((service, method)) => (service, Some(method)),
            None => (s, None),
        };
        if s.len() <= 500 && service.split('.').all(word) && method.is_none_or(word) {
            return Ok(Self { service: service.to_owned(), method: method.map(str::to_owned) });
        }
        Err(BadValue(format!(
            "\"{}\" is not a gRPC service or method; write it like speech.v1.Recognizer or speech.v1.Recognizer/Recognize",
            clip(s)
        )))
    }
}

impl fmt::Display for GrpcTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.service)?;
        match &self.method {
            Some(m) => write!(f, "/{m}"),
            None => Ok(()),
        }
    }
}

/// `/users` (exactly) or `/users*` (`/users` and everything below it).
///
/// A prefix matches on segment borders: `/users*` takes `/users` and `/users/7` but not `/usersx`.
/// `/users/*` means the same as `/users*`, and `/*` takes every path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathPattern {
    /// This path.
    Exact(String),
    /// This path, without a trailing slash, and every path below it; empty = every path.
    Prefix(String),
}
as_text!(PathPattern, "/path or /prefix*, such as /users*");

impl FromStr for PathPattern {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let bad = |why: &str| {
            Err(BadValue(format!(
                "\"{}\" is not a path: {why}; write it like /users or /users*",
                clip(s)
            )))
        };
        let (prefix, path) = match s.strip_suffix('*') {
            Some(rest) => (true, rest),
            None => (false, s),
        };
        if !path.starts_with('/') {
            return bad("it must begin with /");
        }
        if path.contains('*') {
            return bad("* may stand only at the end");
        }
        if path.contains(['?', '#']) {
            return bad("a query or fragment is not part of it");
        }
        if path.len() > 2_000 || !path.bytes().all(|b| b.is_ascii_graphic()) {
            return bad("only printable ASCII, at most 2000 characters");
        }
        Ok(if prefix {
            Self::Prefix(path.trim_end_matches('/').to_owned())
        } else {
            Self::Exact(path.to_owned())
        })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(p) => f.write_str(p),
            Self::Prefix(p) if p.is_empty() => f.write_str("/*"),
            Self::Prefix(p) => write!(f, "{p}*"),
        }
    }
}

/// An HTTP method, upper case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpMethod(String);
as_text!(HttpMethod, "an HTTP method, such as GET");

impl HttpMethod {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HttpMethod {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        if (1..=32).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
            return Ok(Self(s.to_owned()));
        }
        Err(BadValue(format!(
            "\"{}\" is not an HTTP method; write it in capitals, like GET",
            clip(s)
        )))
    }
}

impl fmt::Display for HttpMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_round_trip() {
        for s in ["/users", "/users*", "/*", "/", "/a/b*"] {
            assert_eq!(s.parse::<PathPattern>().expect(s).to_string(), s);
        }
        assert_eq!("/users/*".parse::<PathPattern>(), "/users*".parse());
        for s in ["a.b.C", "a.b.C/D", "C"] {
            assert_eq!(s.parse::<GrpcTarget>().expect(s).to_string(), s);
        }
        for s in ["example.com", "*.example.com", "[::1]", "10.0.0.1"] {
            assert_eq!(s.parse::<HostPattern>().expect(s).to_string(), s);
        }
    }

    #[test]
    fn bad_patterns_say_why() {
        for s in ["users", "/a*b", "/a?b", "", "*", "/ä"] {
            assert!(s.parse::<PathPattern>().is_err(), "{s}");
        }
        for s in ["/a.B/C", "a..B", "a.B/", "a.B/C/D", "", "a b"] {
            assert!(s.parse::<GrpcTarget>().is_err(), "{s}");
        }
        for s in ["http://x", "x:80", "*", "*.", "a b", "*.[::1]"] {
            assert!(s.parse::<HostPattern>().is_err(), "{s}");
        }
        assert!("get".parse::<HttpMethod>().is_err());
    }
}
