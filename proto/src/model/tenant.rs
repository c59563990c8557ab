//! Tenants: callers, and what tells that a call is theirs.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deserr::{Deserr, IntoValue, MergeWithError, Value, ValuePointerRef, take_cf_content};
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::code;
use super::error::{BadValue, Contradiction, Errors};
use super::hidden::hidden_text;
use super::text::{as_text, clip};

/// A caller: what shows that a call is its.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tenant {
    /// Its API keys, by their hashes.
    #[deserr(default)]
    pub keys: Vec<ApiKey>,
    /// Subjects (RFC 4514, such as `CN=asr,O=Acme`) or names (DNS, URI, address) of its client certificates.
    #[deserr(default)]
    pub certificates: Vec<CertificateName>,
    /// Whom its tokens (JWT) are about.
    #[deserr(default)]
    pub subjects: Vec<TokenSubject>,
}

/// An API key. The key itself is nowhere but with its holder: only its hash is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiKey {
    /// Its name, which is a part of the key: `pgk_ID_SECRET`. Unique over all tenants.
    pub id: KeyId,
    /// SHA-256 of the whole key.
    #[serde(serialize_with = "hidden_text")]
    pub sha256: KeyHash,
    /// From when on it is worth nothing; absent = never.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

/// Whom a token is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check_subject -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenSubject {
    /// Who says so: `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
}

/// The name of an API key: lower-case letters, digits and `-`, at most 32 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);
as_text!(KeyId, "lower-case letters, digits and -, such as k1");

/// SHA-256 of an API key, as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; 32]);
as_text!(KeyHash, "the SHA-256 of the whole key, as 64 hexadecimal digits");

/// A subject or a name of a client certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateName(String);
as_text!(CertificateName, "a subject or a name of a certificate, such as CN=asr,O=Acme");

/// A point in time, to the second: `2027-01-01T00:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);
as_text!(Time, "a time in UTC, such as 2027-01-01T00:00:00Z");

impl KeyId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=32).contains(&s.len()) && s.bytes().all(inner) {
            return Ok(Self(s.to_owned()));
        }
        Err(BadValue(format!(
            "\"{}\" is not the name of a key; use 1 to 32 lower-case letters, digits and -",
            clip(s)
        )))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl KeyHash {
    /// The hash of a key.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl FromStr for KeyHash {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        // Never repeated: what stands here by mistake is most likely the key itself.
        let bad = || {
            BadValue(
                "is not a SHA-256 in 64 hexadecimal digits; \
                 pigeon-ctl tenant key create makes a key and keeps its hash"
                    .into(),
            )
        };
        let mut hash = [0; 32];
        if s.len() != 64 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        for (byte, digits) in hash.iter_mut().zip(s.as_bytes().chunks(2)) {
            let digits = str::from_utf8(digits).map_err(|_| bad())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl CertificateName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CertificateName {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        if (1..=512).contains(&s.len()) && s.trim() == s && !s.chars().any(char::is_control) {
            return Ok(Self(s.to_owned()));
        }
        Err(BadValue(format!(
            "\"{}\" is neither a subject nor a name of a certificate; \
             write it like CN=asr,O=Acme, asr.example.com or spiffe://acme/asr, in at most 512 bytes",
            clip(s)
        )))
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Time {
    /// The last second of the year 9999.
    const MOST: u64 = 253_402_300_799;

    /// So many seconds after 1970, cut to the year 9999.
    pub const fn from_unix(seconds: u64) -> Self {
        Self(if seconds > Self::MOST { Self::MOST } else { seconds })
    }

    /// Seconds after 1970.
    pub const fn unix(self) -> u64 {
        self.0
    }
}

impl FromStr for Time {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        let parsed = humantime::parse_rfc3339(s).ok();
        match parsed.and_then(|t| t.duration_since(UNIX_EPOCH).ok()) {
            Some(since) if since.subsec_nanos() == 0 => Ok(Self::from_unix(since.as_secs())),
            _ => Err(BadValue(format!(
                "\"{}\" is not a time; write it in UTC to the second, like 2027-01-01T00:00:00Z",
                clip(s)
            ))),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time: SystemTime = UNIX_EPOCH + Duration::from_secs(self.0);
        humantime::format_rfc3339_seconds(time).fmt(f)
    }
}

pub(super) fn check(t: Tenant, _: ValuePointerRef) -> Result<Tenant, Contradiction> {
    twice("/keys", t.keys.iter().map(|k| &k.id))?;
    twice("/certificates", t.certificates.iter())?;
    twice("/subjects", t.subjects.iter().map(Shown))?;
    Ok(t)
}

/// A subject, as errors show it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Shown<'s>(&'s TokenSubject);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", clip(&self.0.subject), clip(&self.0.issuer))
    }
}

fn twice<T: Ord + fmt::Display>(
    field: &'static str,
    items: impl Iterator<Item = T>,
) -> Result<(), Contradiction> {
    let mut seen = BTreeSet::new();
    for item in items {
        if let Some(item) = seen.replace(item) {
            let message = format!("has \"{item}\" twice; keep one");
            return Err(Contradiction(field, code::CONFLICTING_FIELDS, message));
        }
    }
    Ok(())
}

pub(super) fn check_subject(
    s: TokenSubject,
    _: ValuePointerRef,
) -> Result<TokenSubject, Contradiction> {
    for (field, text) in [("/issuer", &s.issuer), ("/subject", &s.subject)] {
        if text.is_empty() || text.len() > 255 {
            let message = format!("has {} bytes; it must have 1 to 255", text.len());
            return Err(Contradiction(field, code::BAD_VALUE, message));
        }
    }
    Ok(s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_whole_key() {
        // `printf %s pgk_k1_secret | sha256sum`
        let hash = KeyHash::of(b"pgk_k1_secret").to_string();
        assert_eq!(hash.len(), 64);
        assert_eq!(hash.parse(), Ok(KeyHash::of(b"pgk_k1_secret")));
        assert_eq!(hash.to_uppercase().parse(), Ok(KeyHash::of(b"pgk_k1_secret")));
    }

    #[test]
    fn a_hash_is_for_programs_that_need_it_only() {
        let key = ApiKey {
            id: "k1".parse().expect("an id"),
            sha256: KeyHash::of(b"pgk_k1_secret"),
            expires: None,
        };
        let text = || serde_json::to_string(&key).expect("JSON");
        assert!(text().contains(&key.sha256.to_string()));
        let shown = super::super::without_secrets(text);
        assert!(shown.contains("(hidden)") && !shown.contains(&key.sha256.to_string()), "{shown}");
    }

    #[test]
    fn a_key_where_its_hash_belongs_is_not_repeated() {
        let e = "pgk_k1_secret".parse::<KeyHash>().expect_err("a key").0;
        assert!(!e.contains("secret") && e.contains("tenant key create"), "{e}");
        assert!("é".repeat(32).parse::<KeyHash>().is_err());
    }

    #[test]
    fn times_are_seconds_in_utc() {
        for good in ["2027-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
            assert_eq!(good.parse::<Time>().expect(good).to_string(), good);
        }
        for bad in ["2027-01-01", "tomorrow", "2027-01-01T00:00:00.5Z", "1969-12-31T00:00:00Z", ""]
        {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_have_no_underscore() {
        for bad in ["", "a_b", "A", "a.b", &"a".repeat(33)] {
            assert!(bad.parse::<KeyId>().is_err(), "{bad}");
        }
        assert_eq!("k-1".parse::<KeyId>().map(|k| k.to_string()), Ok("k-1".into()));
    }
}
