//! Values written as text: names, addresses, durations.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use deserr::{Deserr, IntoValue, MergeWithError, Value, ValuePointerRef, take_cf_content};
use serde::{Serialize, Serializer};

use super::code;
use super::error::{BadValue, Contradiction, Errors};

/// Reads a text type from JSON through its `FromStr`, and writes it through its `Display`.
macro_rules! as_text {
    ($t:ty, $hint:literal) => {
        impl Deserr<Errors> for $t {
            fn deserialize_from_value<V: IntoValue>(
                value: Value<V>,
                location: ValuePointerRef,
            ) -> Result<Self, Errors> {
                let problem = match value {
                    Value::String(text) => match text.parse() {
                        Ok(parsed) => return Ok(parsed),
                        Err(e) => e,
                    },
                    Value::Integer(n) => {
                        BadValue(format!("the number {n} must be text: {}", $hint))
                    }
                    _ => BadValue(format!("must be text: {}", $hint)),
                };
                Err(take_cf_content(<Errors as MergeWithError<BadValue>>::merge(
                    None, problem, location,
                )))
            }
        }

        impl Serialize for $t {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $t {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .description(Some($hint))
                    .into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $t {}
    };
}
pub(super) use as_text;

/// The name of an object: lower-case letters, digits, `-` and `.`, at most 63 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);
as_text!(Name, "lower-case letters, digits, - and ., such as asr-1");

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let edge =
            |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let inner = |c: char| edge(Some(c)) || c == '-' || c == '.';
        if s.len() <= 63 && edge(s.chars().next()) && edge(s.chars().last()) && s.chars().all(inner)
        {
            return Ok(Self(s.to_owned()));
        }
        Err(BadValue(format!(
            "\"{}\" is not a name; use 1 to 63 lower-case letters, digits, - and ., \
             beginning and ending with a letter or digit",
            clip(s)
        )))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where an endpoint is: `host:port`, the host a DNS name, an IPv4 address or an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);
as_text!(Address, "host:port, such as 10.0.0.7:50051");

impl Address {
    /// The text, as it is also used in the `:authority` of a health check or dial.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let bad = |why: &str| {
            Err(BadValue(format!(
                "\"{}\" is not host:port: {why}; write it like 10.0.0.7:50051 or [::1]:50051",
                clip(s)
            )))
        };
        let Some((host, port)) = s.rsplit_once(':') else { return bad("the port is missing") };
        match port.parse::<u16>() {
            Ok(0) | Err(_) => return bad("the port must be a number from 1 to 65535"),
            Ok(_) => {}
        }
        if let Some(v6) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            if v6.parse::<std::net::Ipv6Addr>().is_err() {
                return bad("the part in brackets is not an IPv6 address");
            }
        } else if host.contains(':') {
            return bad("an IPv6 address needs brackets");
        } else if !is_host(host) {
            return bad("the host is not a DNS name or an address");
        }
        Ok(Self(s.to_ascii_lowercase()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a listener listens: an IP address and a port other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindAddress(pub SocketAddr);
as_text!(BindAddress, "IP:port, such as 127.0.0.1:8080 or [::]:8080");

impl FromStr for BindAddress {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        match s.parse::<SocketAddr>() {
            Ok(a) if a.port() != 0 => Ok(Self(a)),
            _ => Err(BadValue(format!(
                "\"{}\" is not IP:port with a port from 1 to 65535; \
                 write it like 127.0.0.1:8080, or 0.0.0.0:8080 for every IPv4 address",
                clip(s)
            ))),
        }
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A duration of whole milliseconds, written `100ms`, `2s`, `1m30s`, `1h`; at most 365 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(Duration);
as_text!(Millis, "a number with a unit, such as 100ms, 2s or 5m");

impl Millis {
    const MOST: u64 = 365 * 24 * 3_600_000;

    /// `ms` milliseconds, cut to 365 days.
    pub const fn new(ms: u64) -> Self {
        Self(Duration::from_millis(if ms > Self::MOST { Self::MOST } else { ms }))
    }

    /// As the standard type.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// As the wire form.
    pub fn as_ms(self) -> u64 {
        // `new` and `from_str` bound it far below u64::MAX.
        u64::try_from(self.0.as_millis()).unwrap_or(Self::MOST)
    }

    /// Refuses less than `least` in `field`.
    pub(super) fn at_least(self, field: &'static str, least: Self) -> Result<(), Contradiction> {
        if self >= least {
            return Ok(());
        }
        let message = format!("is {self}; it must be at least {least}");
        Err(Contradiction(field, code::BAD_VALUE, message))
    }
}

impl FromStr for Millis {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let bad = |why: &str| {
            let s = clip(s);
            Err(BadValue(format!(
                "\"{s}\" is not a duration: {why}; write it like 100ms, 2s or 5m"
            )))
        };
        match humantime::parse_duration(s) {
            Ok(d) if d.subsec_nanos() % 1_000_000 != 0 => bad("it is not whole milliseconds"),
            Ok(d) if d.as_millis() > u128::from(Self::MOST) => bad("it is longer than 365 days"),
            Ok(d) => Ok(Self(d)),
            Err(_) if s.parse::<u64>().is_ok() => bad("the unit is missing"),
            Err(_) => bad("a number and a unit (ms, s, m, h) are expected"),
        }
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spaced = humantime::format_duration(self.0).to_string();
        f.write_str(&spaced.replace(' ', ""))
    }
}

/// Whether `s` may stand where a host name or IPv4 address stands.
pub(super) fn is_host(s: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    s.len() <= 253 && s.split('.').all(label)
}

/// The beginning of a value, so that an error never repeats a megabyte.
pub(super) fn clip(s: &str) -> String {
    if s.chars().count() <= 80 {
        return s.escape_debug().to_string();
    }
    s.chars().take(80).flat_map(char::escape_debug).chain("…".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<T: FromStr<Err = BadValue> + fmt::Display>(good: &[&str], bad: &[(&str, &str)]) {
        for g in good {
            let parsed: T = g.parse().unwrap_or_else(|e| panic!("{g}: {e}"));
            assert_eq!(parsed.to_string(), *g);
        }
        for (b, why) in bad {
            let e = b.parse::<T>().err().unwrap_or_else(|| panic!("{b} was taken")).to_string();
            assert!(e.contains(why), "{b}: {e}");
        }
    }

    #[test]
    fn names() {
        let long = "a".repeat(64);
        all::<Name>(
            &["a", "asr-1", "demo.speech.v1", "0"],
            &[
                ("", "not a name"),
                ("has space", "has space"),
                ("Asr", "lower-case"),
                ("-a", ""),
                ("a.", ""),
                (&long, ""),
            ],
        );
    }

    #[test]
    fn addresses() {
        all::<Address>(
            &["10.0.0.1:80", "asr.svc.cluster.local:50051", "[::1]:9", "a_b:1"],
            &[
                ("asr", "port is missing"),
                ("asr:", "1 to 65535"),
                ("asr:70000", "1 to 65535"),
                ("asr:0", "1 to 65535"),
                ("::1:80", "brackets"),
                ("[::zz]:80", "IPv6"),
                ("a b:80", "DNS name"),
                (":80", "DNS name"),
                ("http://x:80", "brackets"),
            ],
        );
    }

    #[test]
    fn durations() {
        all::<Millis>(
            &["100ms", "2s", "1m30s", "1h", "0s"],
            &[
                ("5", "unit is missing"),
                ("", "expected"),
                ("-2s", "expected"),
                ("1us", "whole"),
                ("400days", "365"),
            ],
        );
        assert_eq!(Millis::new(1500).to_string(), "1s500ms");
    }

    #[test]
    fn bind_addresses() {
        all::<BindAddress>(
            &["127.0.0.1:8080", "[::]:80"],
            &[("localhost:80", "IP:port"), ("127.0.0.1:0", "1 to 65535"), ("8080", "IP:port")],
        );
    }
}
