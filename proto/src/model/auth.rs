//! Who may call: what a route asks of its callers, and which tokens a listener believes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use deserr::{Deserr, IntoValue, MergeWithError, Value, ValuePointerRef, take_cf_content};
use serde::{Serialize, Serializer};

use super::code;
use super::error::{BadValue, Contradiction, Errors};
use super::text::{Name, as_text, clip, is_host};

/// Who may call a route.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Auth {
    /// How callers may show who they are. The first of these that a call brings decides.
    pub methods: Vec<AuthMethod>,
    /// The tenants that may call; empty = everybody who shows who it is.
    #[deserr(default)]
    pub tenants: Vec<Name>,
    /// What a token must say beside being valid; only with `methods: [jwt]`.
    #[deserr(default)]
    pub claims: BTreeMap<String, String>,
}

/// [`Auth`] as it may be written down: `auth: api_key` is short for `auth: {methods: [api_key]}`.
pub(super) struct AuthForm(Auth);

impl AuthForm {
    /// What was written down.
    pub(super) fn meant(form: Option<Self>) -> Option<Auth> {
        form.map(|form| form.0)
    }
}

impl Deserr<Errors> for AuthForm {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Errors> {
        match value {
            Value::String(_) => AuthMethod::deserialize_from_value(value, location).map(|method| {
                Self(Auth { methods: vec![method], tenants: vec![], claims: BTreeMap::new() })
            }),
            object => Auth::deserialize_from_value(object, location).map(Self),
        }
    }
}

/// A way to show who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthMethod {
    /// A key of a tenant.
    ApiKey,
    /// A token of an issuer that the listener believes.
    Jwt,
    /// The client's certificate.
    Certificate,
}
as_text!(AuthMethod, "api_key, jwt or certificate");

impl AuthMethod {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ApiKey, Self::Jwt, Self::Certificate];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Jwt => "jwt",
            Self::Certificate => "certificate",
        }
    }
}

impl FromStr for AuthMethod {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        Self::ALL.into_iter().find(|m| m.as_str() == s).ok_or_else(|| {
            BadValue(format!("\"{}\" is not known; use api_key, jwt or certificate", clip(s)))
        })
    }
}

impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An issuer whose tokens (JWT) a listener believes.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check_jwt -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Jwt {
    /// Who issues them: `iss`, to the letter.
    pub issuer: String,
    /// One of these must be in `aud`.
    pub audiences: Vec<String>,
    /// The issuer's public keys (JWKS): an https URL (http on this machine only), or the absolute path of a file.
    pub jwks: JwksLocation,
    /// The claim that names the tenant, for tokens whose subject no tenant lists.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_claim: Option<String>,
    /// PEM file of the authorities that the server of `jwks` is checked against (default: the system's).
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// Where a JWKS is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JwksLocation {
    /// `https://…`, or `http://…` on this machine.
    Url(String),
    /// An absolute path.
    File(String),
}
as_text!(JwksLocation, "an https URL or the absolute path of a file");

impl FromStr for JwksLocation {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let bad = |why: &str| {
            Err(BadValue(format!(
                "\"{}\" is not where a JWKS can be: {why}; \
                 write it like https://idp.example/keys or /etc/pigeon/jwks.json",
                clip(s)
            )))
        };
        if s.len() > 2_000 || s.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return bad("it is too long, or has spaces in it");
        }
        if s.starts_with('/') {
            return Ok(Self::File(s.to_owned()));
        }
        let (secure, rest) = match (s.strip_prefix("https://"), s.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return bad("it is neither a URL nor an absolute path"),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return bad("user names and passwords have no place in it");
        }
        if s.contains('#') || !s.is_ascii() {
            return bad("it has a fragment, or letters that are not ASCII");
        }
        let Some((host, port)) = host_and_port(authority) else {
            return bad("the host is malformed");
        };
        if port.is_some_and(|p| p.parse::<u16>().map_or(true, |p| p == 0)) {
            return bad("the port must be a number from 1 to 65535");
        }
        if !secure && !is_loopback(host) {
            return bad("keys that come by http from another machine can be anybody's: use https");
        }
        Ok(Self::Url(s.to_owned()))
    }
}

impl fmt::Display for JwksLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(s) | Self::File(s) => f.write_str(s),
        }
    }
}

fn host_and_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            if rest.is_empty() { (host, None) } else { (host, Some(rest.strip_prefix(':')?)) }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    (host.contains(':') || is_host(host)).then_some((host, port))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

pub(super) fn check(a: Auth, _: ValuePointerRef) -> Result<Auth, Contradiction> {
    let bad = |field, message: &str| Err(Contradiction(field, code::BAD_VALUE, message.into()));
    if a.methods.is_empty() {
        return bad(
            "/methods",
            "is empty; name api_key, jwt or certificate, or leave auth out for anybody to call",
        );
    }
    if a.methods.iter().collect::<BTreeSet<_>>().len() < a.methods.len() {
        return bad("/methods", "has a method twice; keep one");
    }
    if a.tenants.iter().collect::<BTreeSet<_>>().len() < a.tenants.len() {
        return bad("/tenants", "has a tenant twice; keep one");
    }
    if !a.claims.is_empty() && a.methods != [AuthMethod::Jwt] {
        let message = "are of tokens, and other callers have none; use methods: [jwt]";
        return Err(Contradiction("/claims", code::CONFLICTING_FIELDS, message.into()));
    }
    if a.claims.len() > 16 || a.claims.iter().any(|(k, v)| k.is_empty() || k.len() + v.len() > 512)
    {
        return bad("/claims", "may be 16 at most, each with a name and of at most 512 bytes");
    }
    Ok(a)
}

pub(super) fn check_jwt(j: Jwt, _: ValuePointerRef) -> Result<Jwt, Contradiction> {
    let bad = |field, message: &str| Err(Contradiction(field, code::BAD_VALUE, message.into()));
    if j.issuer.is_empty() || j.issuer.len() > 255 {
        return bad("/issuer", "must have 1 to 255 bytes, as `iss` in the tokens");
    }
    if j.audiences.is_empty() {
        return bad(
            "/audiences",
            "is empty; name what `aud` must have, or tokens for other services would be taken",
        );
    }
    if j.audiences.len() > 16 || j.audiences.iter().any(|a| a.is_empty() || a.len() > 255) {
        return bad("/audiences", "may be 16 at most, each of 1 to 255 bytes");
    }
    if j.tenant_claim.as_ref().is_some_and(|c| c.is_empty() || c.len() > 255) {
        return bad("/tenant_claim", "must have 1 to 255 bytes, such as tenant");
    }
    if let Some(ca) = &j.ca {
        if !ca.starts_with('/') || ca.chars().any(char::is_control) {
            return bad(
                "/ca",
                "must be the absolute path of a PEM file, such as /etc/pigeon/ca.pem",
            );
        }
        if !matches!(&j.jwks, JwksLocation::Url(url) if url.starts_with("https:")) {
            let message = "is for https, and jwks is not; leave it out";
            return Err(Contradiction("/ca", code::CONFLICTING_FIELDS, message.into()));
        }
    }
    Ok(j)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwks_is_a_file_or_comes_safely() {
        for good in [
            "/etc/jwks.json",
            "https://idp.example/keys?v=1",
            "https://idp.example:8443",
            "http://127.0.0.1:9/keys",
            "http://localhost/keys",
            "http://[::1]:9/keys",
            "https://[2001:db8::1]/keys",
        ] {
            assert_eq!(good.parse::<JwksLocation>().expect(good).to_string(), good);
        }
        for (bad, why) in [
            ("http://idp.example/keys", "use https"),
            ("http://localhost.example/keys", "use https"),
            ("http://127.0.0.1@idp.example/keys", "passwords"),
            ("https://u:p@idp.example/keys", "passwords"),
            ("https://idp.example:0/", "port"),
            ("https://idp.example:x/", "port"),
            ("https:///keys", "host"),
            ("https://a b/", "spaces"),
            ("keys.json", "neither"),
            ("file:///etc/jwks.json", "neither"),
            ("https://idp.example/#x", "fragment"),
        ] {
            let e = bad.parse::<JwksLocation>().expect_err(bad).0;
            assert!(e.contains(why), "{bad}: {e}");
        }
    }
}
