//! Tokens: what a JWT (RFC 7519) says, and whether it holds now. The signature is checked by the keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pigeon_proto::model::Jwt;
use serde_json::{Map, Value};

use super::keys::Algorithm;

/// How far clocks may be apart, in seconds.
const LEEWAY: u64 = 60;

/// A token taken apart; nothing of it is to be believed before its signature was checked.
#[derive(Debug)]
pub(super) struct Token<'t> {
    pub(super) alg: Algorithm,
    pub(super) kid: Option<String>,
    /// What is signed.
    pub(super) signed: &'t [u8],
    pub(super) signature: Vec<u8>,
    pub(super) claims: Map<String, Value>,
}

impl<'t> Token<'t> {
    /// The longest token that is looked at.
    pub(super) const LONGEST: usize = 16_384;

    /// Takes a token apart (RFC 7515, section 7.1).
    pub(super) fn read(text: &'t [u8]) -> Result<Self, &'static str> {
        let dot = |part: &[u8]| part.iter().position(|byte| *byte == b'.');
        let (Some(first), Some(last)) = (dot(text), text.iter().rposition(|byte| *byte == b'.'))
        else {
            return Err("it is no token");
        };
        if first == last || dot(&text[first + 1..last]).is_some() {
            return Err("it is no signed token");
        }
        let header = object(&text[..first]).ok_or("the token's header is malformed")?;
        if header.contains_key("crit") {
            return Err("the token has extensions that are not understood");
        }
        let alg = header.get("alg").and_then(Value::as_str);
        let alg = alg.and_then(Algorithm::of).ok_or("the token's algorithm is not taken")?;
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err("the token's kid is no text"),
        };
        let claims = object(&text[first + 1..last]).ok_or("the token's claims are malformed")?;
        let signature = URL_SAFE_NO_PAD.decode(&text[last + 1..]);
        let signature = signature.map_err(|_| "the token's signature is malformed")?;
        Ok(Self { alg, kid, signed: &text[..last], signature, claims })
    }

    /// Who says that it issued it.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// Whether it is for us and holds `now`; until when it does.
    pub(super) fn holds(&self, jwt: &Jwt, now: u64) -> Result<u64, &'static str> {
        if !is_for(self.claims.get("aud"), &jwt.audiences) {
            return Err("the token is for others (aud)");
        }
        let expires = time(&self.claims, "exp")?.ok_or("the token has no end (exp)")?;
        let until = expires.saturating_add(LEEWAY);
        if until <= now {
            return Err("the token has expired");
        }
        for begins in ["nbf", "iat"] {
            if time(&self.claims, begins)?.is_some_and(|at| at > now.saturating_add(LEEWAY)) {
                return Err("the token holds only later (nbf, iat)");
            }
        }
        Ok(until)
    }

    /// Whom it is about.
    pub(super) fn subject(&self) -> Result<&str, &'static str> {
        let subject = self.claims.get("sub").and_then(Value::as_str);
        subject.filter(|s| (1..=255).contains(&s.len())).ok_or("the token has no subject (sub)")
    }
}

/// Whether a claim says what a route asks for: as text, as one of a list, or as a word of `scope`.
pub(super) fn says(claims: &[(String, Value)], name: &str, wanted: &str) -> bool {
    let is = |value: &Value| match value {
        Value::String(text) => text == wanted,
        Value::Bool(truth) => wanted == if *truth { "true" } else { "false" },
        Value::Number(number) => number.to_string().as_str() == wanted,
        _ => false,
    };
    let claim = claims.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    match claim {
        Some(Value::Array(list)) => list.iter().any(is),
        // RFC 8693, section 4.2.
        Some(Value::String(words)) if name == "scope" || name == "scp" => {
            words == wanted || words.split(' ').any(|word| word == wanted)
        }
        Some(value) => is(value),
        None => false,
    }
}

fn object(part: &[u8]) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(map)) => Some(map),
        _ => None,
    }
}

fn is_for(aud: Option<&Value>, audiences: &[String]) -> bool {
    let one = |value: &Value| value.as_str().is_some_and(|aud| audiences.iter().any(|a| a == aud));
    match aud {
        Some(Value::Array(list)) => list.iter().any(one),
        Some(value) => one(value),
        None => false,
    }
}

/// A time in seconds after 1970; one that is no number is an error, not an absent one.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, &'static str> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.as_u64();
    let fraction = || value.as_f64().filter(|t| (0.0..1e15).contains(t)).map(|t| t as u64);
    whole.or_else(fraction).map(Some).ok_or("the token's times are malformed")
}
