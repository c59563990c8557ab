//! Addresses of servers, and text inside of URLs.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// An admin's address: `http://host:port` or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Spoken to by TLS.
    tls: bool,
    authority: String,
}

impl Server {
    /// host:port
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether it is spoken to by TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Its name or IP address alone, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or("", |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// A name for a context of this server: host and port in the letters of names.
    pub fn context_name(&self) -> String {
        let letter = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        let name: String = self.authority.to_ascii_lowercase().chars().map(letter).collect();
        name.trim_matches(['-', '.']).to_owned()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl FromStr for Server {
    type Err = String;

    /// # Errors
    /// Says what to write instead. A password in the URL is not repeated.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.contains('@') {
            return Err("the server's address must not hold a name or password; \
                        give the token by --token-file"
                .into());
        }
        let bad = |why: &str| format!("\"{text}\": {why}; write it like http://127.0.0.1:9800");
        let uri: Uri = text.parse().map_err(|_| bad("is not a URL"))?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            _ => return Err(bad("http:// or https:// is missing")),
        }
        let tls = uri.scheme_str() == Some("https");
        if uri.path() != "/" || uri.query().is_some() {
            return Err(bad("nothing may follow the port"));
        }
        let authority = uri.authority().ok_or_else(|| bad("has no host"))?;
        let port = match authority.port_u16() {
            Some(0) => return Err(bad("the port must be from 1 to 65535")),
            Some(port) => port,
            None if authority.as_str().ends_with(authority.host()) => {
                if tls {
                    443
                } else {
                    80
                }
            }
            None => return Err(bad("the port must be from 1 to 65535")),
        };
        Ok(Self { tls, authority: format!("{}:{port}", authority.host()) })
    }
}

/// One segment of a path, or one value of a query, percent-encoded.
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            // A lone "." or ".." would be taken for a step between folders.
            b'.' if !text.trim_matches('.').is_empty() => encoded.push('.'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        for (text, shown) in [
            ("http://127.0.0.1:9800", "http://127.0.0.1:9800"),
            ("http://127.0.0.1:9800/", "http://127.0.0.1:9800"),
            (" http://admin ", "http://admin:80"),
            ("http://[::1]:9800", "http://[::1]:9800"),
            ("https://admin", "https://admin:443"),
        ] {
            assert_eq!(text.parse::<Server>().expect(text).to_string(), shown);
        }
        for (text, why) in [
            ("127.0.0.1:9800", "http://"),
            ("localhost", "http://"),
            ("http://x:0", "1 to 65535"),
            ("http://x:99999", "http://127"),
            ("http://x:9800/v1", "nothing may follow"),
            ("http://x/?a=b", "nothing may follow"),
            ("", "http://"),
            ("ftp://x", "http://"),
        ] {
            let e = text.parse::<Server>().expect_err(text);
            assert!(e.contains(why), "{text}: {e}");
        }
        let e = "http://me:secret@x".parse::<Server>().expect_err("password");
        assert!(!e.contains("secret"), "{e}");
    }

    #[test]
    fn hosts() {
        let host = |s: &str| s.parse::<Server>().expect(s).host().to_owned();
        assert_eq!(host("https://[::1]:9800"), "::1");
        assert_eq!(host("https://a.example:9800"), "a.example");
    }

    #[test]
    fn names_of_contexts() {
        let name = |s: &str| s.parse::<Server>().expect(s).context_name();
        assert_eq!(name("http://127.0.0.1:9800"), "127.0.0.1-9800");
        assert_eq!(name("http://[::1]:9800"), "1--9800");
        assert_eq!(name("http://Admin"), "admin-80");
    }

    #[test]
    fn segments() {
        assert_eq!(segment("asr-1.zh"), "asr-1.zh");
        assert_eq!(segment("a b/c?d"), "a%20b%2Fc%3Fd");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(segment("ä"), "%C3%A4");
    }
}
