//! What of a request's target the engine gets instead.

use std::fmt;
use std::str::FromStr;

use deserr::{Deserr, IntoValue, MergeWithError, Value, ValuePointerRef, take_cf_content};
use serde::{Serialize, Serializer};

use super::error::{BadValue, Errors};
use super::matching::{GrpcTarget, PathPattern};
use super::own::Host;
use super::text::{as_text, clip};

/// Another path or host on the way to the engine. The query stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rewrite {
    /// Another path: all of it, as `/new*` what `match.path` matched of it, or with `match.grpc` another service
    /// or method.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
    /// Another host, with or without port; `x-forwarded-host` keeps the caller's.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Authority>,
}

/// `/path`, `/prefix*`, `pkg.Service` or `pkg.Service/Method`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathRewrite {
    /// A path.
    Path(PathPattern),
    /// A gRPC service, whose methods keep their names, or a method.
    Grpc(GrpcTarget),
}
as_text!(PathRewrite, "/path, /prefix*, pkg.Service or pkg.Service/Method");

impl FromStr for PathRewrite {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        if s.starts_with('/') { s.parse().map(Self::Path) } else { s.parse().map(Self::Grpc) }
    }
}

impl fmt::Display for PathRewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::Grpc(grpc) => grpc.fmt(f),
        }
    }
}

/// A host, with or without a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Authority(String);
as_text!(Authority, "a host, with or without port, such as asr.internal or asr.internal:8080");

impl Authority {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Authority {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let (host, port) = match s.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (s, None),
        };
        let port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        if host.parse::<Host>().is_ok() && port {
            return Ok(Self(s.to_ascii_lowercase()));
        }
        Err(BadValue(format!(
            "\"{}\" is not a host; write it like asr.internal or asr.internal:8080",
            clip(s)
        )))
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Spec};
    use serde_json::{Value, json};

    #[test]
    fn what_cannot_be_rewritten_is_refused() {
        let refused = |matches: Value, rewrite: Value| {
            let spec = json!({"engine": "e", "match": matches, "rewrite": rewrite});
            let e = Spec::from_json(Kind::Route, spec).expect_err("must be refused");
            (e.0[0].pointer.clone(), e.0[0].message.clone())
        };
        for (matches, rewrite, pointer, why) in [
            (json!({"path": "/a"}), json!({"path": "/b*"}), "/rewrite/path", "nothing to keep"),
            (json!({"path": "/a"}), json!({"path": "a.B"}), "/rewrite/path", "match.grpc"),
            (json!({"grpc": "a.B"}), json!({"path": "/b"}), "/rewrite/path", "pkg.Service"),
            (json!({}), json!({"path": "/b?c"}), "/rewrite/path", "query"),
            (json!({}), json!({"host": "http://b"}), "/rewrite/host", "not a host"),
            (json!({}), json!({"host": "b:0"}), "/rewrite/host", "not a host"),
            (json!({}), json!({"host": "b\r\nx: y"}), "/rewrite/host", "not a host"),
        ] {
            let (at, message) = refused(matches, rewrite);
            assert!(at == pointer && message.contains(why), "{at} {message}");
        }
    }

    #[test]
    fn what_rewrites_nothing_is_no_rewrite() {
        let read = |spec| Spec::from_json(Kind::Route, spec).expect("a route");
        assert_eq!(read(json!({"engine": "e", "rewrite": {}})), read(json!({"engine": "e"})));
        for host in ["b", "b:80", "[::1]", "[::1]:80", "10.0.0.1:1"] {
            read(json!({"engine": "e", "rewrite": {"host": host}}));
        }
    }
}
