//! An issuer's public keys (JWKS, RFC 7517), and whether one of them made a signature (RFC 7518).
//!
//! Only what is asymmetric: a secret that both ends hold (HS256) has no place here, and `none` neither. A key
//! is used with the algorithms of its own type alone, whatever a token's header says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

/// The largest JWKS that is read.
pub const LARGEST: usize = 1 << 20;
/// Keys used of a set.
const MOST: usize = 100;
/// Keys tried for a token that names none.
const TRIES: usize = 4;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// The usable keys of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    kid: Option<String>,
    /// The only algorithm it is for, if it says.
    alg: Option<Algorithm>,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Why no key made a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotMade {
    /// There is no key of this name; there may be soon.
    Unknown,
    /// Those that come into question did not.
    Wrong,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Algorithm {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::Es256 | Self::Es384 | Self::EdDsa => return None,
        })
    }
}

impl KeySet {
    /// Reads a JWKS. Keys that are not for signatures, too weak, or of a type that is not known are left out.
    ///
    /// # Errors
    /// It is no JWKS, or none of its keys can be used.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        // What serde says of a fault may repeat a part of the text, and who knows what that is.
        let jwks: Jwks = serde_json::from_slice(text)
            .map_err(|e| format!("it is not a JWKS ({{\"keys\": […]}}), see line {}", e.line()))?;
        let all = jwks.keys.len();
        let read = |value| serde_json::from_value::<Jwk>(value).ok().and_then(key);
        let keys: Vec<_> = jwks.keys.into_iter().filter_map(read).take(MOST).collect();
        if keys.is_empty() {
            return Err(format!(
                "none of its {all} keys can verify signatures (RSA of 2048 to 8192 bits, EC P-256 or P-384, \
                 Ed25519; `use` sig or none)"
            ));
        }
        Ok(Self { keys })
    }

    /// How many keys there are; never 0.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// The names of the keys, for people; of one without a name nothing.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.kid.as_deref())
    }

    /// Whether one of the keys made `signature` of `message`.
    pub(super) fn made(
        &self,
        alg: Algorithm,
        kid: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), NotMade> {
        let named = |key: &&Key| kid.is_none() || key.kid.as_deref() == kid;
        if !self.keys.iter().any(|key| named(&key)) {
            return Err(NotMade::Unknown);
        }
        let fits = |key: &&Key| key.alg.is_none_or(|a| a == alg) && key.material.is_for(alg);
        let made = |key: &Key| key.material.made(alg, message, signature);
        let mut tried = self.keys.iter().filter(named).filter(fits).take(TRIES);
        if tried.any(made) { Ok(()) } else { Err(NotMade::Wrong) }
    }
}

impl Material {
    fn is_for(&self, alg: Algorithm) -> bool {
        match self {
            Self::Rsa { .. } => alg.rsa().is_some(),
            Self::P256(_) => alg == Algorithm::Es256,
            Self::P384(_) => alg == Algorithm::Es384,
            Self::Ed25519(_) => alg == Algorithm::EdDsa,
        }
    }

    fn made(&self, alg: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let plain = |algorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
        };
        match (self, alg) {
            (Self::Rsa { n, e }, _) => alg.rsa().is_some_and(|parameters| {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }),
            (Self::P256(key), Algorithm::Es256) => plain(&signature::ECDSA_P256_SHA256_FIXED, key),
            (Self::P384(key), Algorithm::Es384) => plain(&signature::ECDSA_P384_SHA384_FIXED, key),
            (Self::Ed25519(key), Algorithm::EdDsa) => plain(&signature::ED25519, key),
            _ => false,
        }
    }
}

fn key(jwk: Jwk) -> Option<Key> {
    let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
    if jwk.r#use.as_ref().is_some_and(|u| u != "sig")
        || jwk.key_ops.as_ref().is_some_and(|o| !verifies(o))
    {
        return None;
    }
    let alg = match &jwk.alg {
        Some(alg) => Some(Algorithm::of(alg)?),
        None => None,
    };
    let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => {
            let (n, e) = (number(jwk.n.as_deref()?)?, number(jwk.e.as_deref()?)?);
            // 2048 bits at least; no exponent that only costs time (ring takes up to 33 bits).
            let fits = (256..=1_024).contains(&n.len()) && (1..=5).contains(&e.len());
            fits.then_some(Material::Rsa { n, e })?
        }
        ("EC", Some("P-256")) => Material::P256(point(&jwk, 32)?),
        ("EC", Some("P-384")) => Material::P384(point(&jwk, 48)?),
        ("OKP", Some("Ed25519")) => {
            let x = URL_SAFE_NO_PAD.decode(jwk.x.as_deref()?).ok()?;
            (x.len() == 32).then_some(Material::Ed25519(x))?
        }
        _ => return None,
    };
    Some(Key { kid: jwk.kid, alg, material })
}

/// A number without the zeros before it.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[first..].to_vec())
}

/// A point, uncompressed.
fn point(jwk: &Jwk, size: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![4];
    for coordinate in [&jwk.x, &jwk.y] {
        let coordinate = URL_SAFE_NO_PAD.decode(coordinate.as_deref()?).ok()?;
        if coordinate.len() != size {
            return None;
        }
        bytes.extend(coordinate);
    }
    Some(bytes)
}
