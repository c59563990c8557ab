//! The admin's address: `https://host:port` or `http://host:port`, and whether a token may travel there.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;

/// Where the admin's config stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminAddress(Uri);

/// Why a text is not an admin's address; the message says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(String);

impl AdminAddress {
    /// As an URI of scheme, host and port.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether it is spoken to by TLS.
    pub fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// Whether nothing sent there leaves this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.0.host().unwrap_or_default();
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        ip.map_or(host == "localhost", |ip| ip.is_loopback())
    }
}

impl FromStr for AdminAddress {
    type Err = BadAddress;

    fn from_str(s: &str) -> Result<Self, BadAddress> {
        let bad =
            |why: &str| Err(BadAddress(format!("{why}; write it like http://127.0.0.1:9801")));
        let Ok(uri) = s.parse::<Uri>() else { return bad("it is not a URL") };
        match uri.scheme_str() {
            Some("http" | "https") => {}
            _ => return bad("it begins neither with http:// nor with https://"),
        }
        if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return bad("it must not hold a user or password: the token comes from --token-file");
        }
        if uri.host().is_none_or(str::is_empty) {
            return bad("the host is missing");
        }
        if uri.path_and_query().is_some_and(|p| !matches!(p.as_str(), "" | "/")) {
            return bad("it has a path; give scheme, host and port only");
        }
        Ok(Self(uri))
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}", self.0.authority().map_or("", |a| a.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, loopback) in [
            ("http://127.0.0.1:9801", true),
            ("http://[::1]:9801/", true),
            ("http://localhost:9801", true),
            ("http://10.0.0.1:9801", false),
            ("http://127.evil.example:9801", false),
            ("http://admin:9801", false),
            ("https://admin:9801", false),
        ] {
            let address: AdminAddress = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(address.is_loopback(), loopback, "{text}");
            assert_eq!(address.to_string(), text.trim_end_matches('/'));
            assert_eq!(address.is_tls(), text.starts_with("https"));
        }
        for (text, why) in [
            ("127.0.0.1:9801", "http://"),
            ("ftp://x:1", "http://"),
            ("http://u:secret@x:1", "user or password"),
            ("http://x:1/path", "path"),
            ("", ""),
        ] {
            let e = text.parse::<AdminAddress>().expect_err(text).to_string();
            assert!(e.contains(why) && !e.contains("secret"), "{text}: {e}");
        }
    }
}
