//! Which pages of other origins may call a route from a browser (the Fetch standard's CORS protocol).

use std::fmt;
use std::str::FromStr;

use deserr::{Deserr, IntoValue, MergeWithError, Value, ValuePointerRef, take_cf_content};
use serde::{Serialize, Serializer};

use super::code;
use super::error::{BadValue, Contradiction, Errors};
use super::text::{Millis, as_text, clip};

/// Entries of one list.
const MOST: usize = 64;
/// The longest origin and the longest name of a header.
const LONGEST: usize = 256;

/// Which pages may call.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cors {
    /// Their origins: `https://app.example`, `https://*.example` or `*`; at least one.
    pub origins: Vec<Origin>,
    /// Request headers that they may send (default: whatever they ask for).
    #[deserr(default)]
    pub headers: Vec<String>,
    /// Response headers that they may read, beside `grpc-status`, `grpc-message`, `grpc-status-details-bin` and
    /// `pigeon-reason`.
    #[deserr(default)]
    pub expose: Vec<String>,
    /// How long a browser may remember the permission (default 10m).
    #[deserr(default = MAX_AGE)]
    pub max_age: Millis,
    /// Whether calls may carry cookies and the like (default false).
    #[deserr(default)]
    pub credentials: bool,
}

/// How long a browser may remember a permission if nothing else is said.
pub(super) const MAX_AGE: Millis = Millis::new(600_000);

/// Where pages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `*`: anywhere.
    Any,
    /// `https://app.example:8443`: there and nowhere else.
    Exact(String),
    /// `https://*.example`: any host below it.
    Below {
        /// What comes before the host, as `https://`.
        scheme: String,
        /// What the rest ends with, as `.example` or `.example:8443`.
        suffix: String,
    },
}
as_text!(Origin, "an origin such as https://app.example, https://*.example or *");

impl FromStr for Origin {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let bad = |why: &str| {
            Err(BadValue(format!(
                "\"{}\" is not an origin: {why}; write it like https://app.example",
                clip(s)
            )))
        };
        if s == "*" {
            return Ok(Self::Any);
        }
        if s.len() > LONGEST {
            return bad("it is too long");
        }
        let Some((scheme, host)) = s.split_once("://") else {
            return bad("the scheme is missing");
        };
        let named = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if scheme.is_empty() || !scheme.bytes().all(|b| named(b) || b"+-.".contains(&b)) {
            return bad("the scheme is written in lower-case letters");
        }
        let (below, rest) = match host.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, host),
        };
        // Browsers send hosts in lower case, without a path and without the port of the scheme.
        if rest.is_empty() || !rest.bytes().all(|b| named(b) || b".-:[]_".contains(&b)) {
            return bad(
                "after the scheme comes a host in lower case, with a port if need be, and no path",
            );
        }
        Ok(if below {
            Self::Below { scheme: format!("{scheme}://"), suffix: format!(".{rest}") }
        } else {
            Self::Exact(s.to_owned())
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(origin) => f.write_str(origin),
            Self::Below { scheme, suffix } => write!(f, "{scheme}*{suffix}"),
        }
    }
}

impl Origin {
    /// Whether a page of this origin, as its browser names it, is one of them.
    pub fn takes(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == origin,
            Self::Below { scheme, suffix } => {
                let host = origin.strip_prefix(scheme.as_str());
                host.and_then(|host| host.strip_suffix(suffix.as_str()))
                    .is_some_and(|host| !host.is_empty() && !host.contains([':', '/', '@']))
            }
        }
    }
}

pub(super) fn check(mut c: Cors, _: ValuePointerRef) -> Result<Cors, Contradiction> {
    let bad = |field, message: String| Err(Contradiction(field, code::BAD_VALUE, message));
    if c.origins.is_empty() {
        return bad("/origins", "names no origin; name one, or remove cors".into());
    }
    if c.credentials && c.origins.contains(&Origin::Any) {
        let message = "is true, but with the origin * every page of the world could call in the name of its \
                       visitor; name the origins";
        return Err(Contradiction("/credentials", code::CONFLICTING_FIELDS, message.into()));
    }
    let lengths =
        [("/origins", c.origins.len()), ("/headers", c.headers.len()), ("/expose", c.expose.len())];
    if let Some((field, n)) = lengths.into_iter().find(|(_, n)| *n > MOST) {
        return bad(field, format!("has {n} entries; at most {MOST} are taken"));
    }
    for (field, names) in [("/headers", &mut c.headers), ("/expose", &mut c.expose)] {
        for name in names {
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&b);
            if !(1..=LONGEST).contains(&name.len()) || !name.bytes().all(token) {
                let message = format!("\"{}\" is not the name of a header", clip(name));
                return bad(field, message);
            }
            name.make_ascii_lowercase();
        }
    }
    Ok(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap_or_else(|e: BadValue| panic!("{}", e.0))
    }

    #[test]
    fn origins_are_what_browsers_send() {
        for text in [
            "*",
            "https://a.example",
            "http://localhost:3000",
            "https://*.a.example:8443",
            "app-x://y",
        ] {
            assert_eq!(origin(text).to_string(), text);
        }
        for bad in [
            "",
            "a.example",
            "https://",
            "https://*.",
            "https://A.example",
            "https://a/b",
            "https://a b",
            "null",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_takes_its_own_and_no_other() {
        for (rule, asked, wanted) in [
            ("*", "https://a", true),
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://a.example:444", false),
            ("https://*.example", "https://a.example", true),
            ("https://*.example", "https://a.b.example", true),
            ("https://*.example", "https://example", false),
            ("https://*.example", "https://.example", false),
            ("https://*.example", "https://evil.com:1.example", false),
            ("https://*.example", "https://evilexample", false),
            ("https://*.example:8443", "https://a.example:8443", true),
            ("https://*.example:8443", "https://a.example", false),
        ] {
            assert_eq!(origin(rule).takes(asked), wanted, "{rule} {asked}");
        }
    }
}
