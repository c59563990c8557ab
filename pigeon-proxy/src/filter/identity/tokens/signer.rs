//! Issuers for tests: keys, the JWKS that has them, and tokens.

#![allow(missing_docs, dead_code)]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};

/// A key that is used in tests alone, PKCS#1.
const RSA: &str = "\
MIIEogIBAAKCAQEAq8CuB5onl2nIqSYyRF/a8EYj7zZDzDOzZIxAAIGr8bdYe8gBrGdhOZeWax77VO5MaHJQGZG320ykP9l3\
9Hox6LLRy46rK8ifD5824f/Hju11JPFbx5566ZjGBWxIi1exTOPp94sh9jw8Ii+172SK2a8UyLwyofoA8rN7UC6Rl5ZIAxrf\
bJ2f/Gw3/y0IyT0q12H6+LSJ2kU3VFM0qFr7Go01qoM+uWKuDRf+evdcP3pQxjGbawB1kqlQg6dlf8jsUexi2jiJvLoIcOxI\
Vdw9dLuGmF2Jkr1RXYB1vKDZTNWi69ieCe1LY/4KA8ErNvNz/90zLBJUi/EqaS5xpBHh3QIDAQABAoIBACYNR5FMHELtzyT4\
nzDqWseahpoYN++dMbzQXNqv4AAq2on8DzDa6522ob8Ea3MO47NNRkVP9T+7LHWv8OVjkDypp5T1fCN0bJcps19hS511Kxu+\
9JJWoI0yCYdIjQ8AI/ow0ZSESQc0o68ASorqB+BAK7boiUA9MyoSTTr/wkZmyd2DjdlNRkM7JUstfezv26GNyK8EjjR7+FHo\
WeFKqsjLDu3UBgOg3HgKTdEG60zHiu3isX6d33lr1//wZO8woC+lJ5I1BpNnbXL5WdFm2ccqd+Wu85y5qUVcUMwzpJPH/oTU\
VTys3KaEo+Bge5d88pH84e7KqJOH/NYHtiqoDpECgYEA7Ne4o+SptFjEA5oqH21zwqxNg+vkQXdUh88aa0KWNN8QfzmiD6KR\
51Bi9YRe451vyhkiLQT2ghJIY2uySzeNG3WVKHaaUaS0G18P57RO6Hfr8dCINyAPxDLWQNKDq45XZggTTbtFZMTAFwvEdStu\
rk6pmv+7Mdg71LrHsk+sGNECgYEAuaUlWsWIKF6lWjZNKLDfxnYVmjtr+IRCjhFDWfz2vDx37SFgjeA+sQ+1uILH+z7YukQb\
0JlCfQBuuVLSJ9Em2aZDrh0Zu83iUpC1E64JT6UfU2bOql303XjHN0o9dxmR7BJVNY+GB7NArMq/gm9IqqWqzNI4tN2HP8q3\
Vf/Ce00CgYAJRfD+ycczPn5+PZ0Emf58Us6+KZBIV+nBX4SDSpoi+9DjilgkEJNx4R3eyw4ED3f/C7jg1l7ofNrEucTDWSt3\
NcVfTjWAmNhMcg5nXhHw3DEqyKVssx6q6eqloxhwsSQO5KYM1xZCecmjnVxV0huFS6MsZHLp4rOFAsMq4h+04QKBgEdyHUwv\
1VTkB/MODufoGlcAvxOaZtU/4XVXg3owdqy/ANCMFeLEOJxgFWmrO1egOjyFVccUFJiTAAnmq+aTAcalzEpH/M1gUQfBlU67\
ne2++K1aVZMPkdtiThkjQ0CA4L3f2FdCoyx3eh6F8Oo79dVm6LLm/NfuocyVMbWxNqHJAoGAZj4rxeMrBohhh1QXzJF03uWa\
PWqQiL2J2xie7ExHrFQ/L3TJyiSTBMt3X648aqWc+EtqZpHARIFq0uoSs/Ab+hBT0MEF0B+OcrXOrhbEucNO0fDTfDFY/eaA\
0Eg18RJeH0p83nLqpcOlkSh6+HJMnfKlH5WcTOztijiAEVocUuc=\
";

/// An issuer's private key.
pub enum Signer {
    Es256(EcdsaKeyPair),
    Es384(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static str),
}

impl Signer {
    /// A new key for this algorithm; of RSA always the same.
    pub fn new(alg: &'static str) -> Self {
        let random = SystemRandom::new();
        let ecdsa = |alg| {
            let key = EcdsaKeyPair::generate_pkcs8(alg, &random).expect("a key");
            EcdsaKeyPair::from_pkcs8(alg, key.as_ref(), &random).expect("a key")
        };
        match alg {
            "ES256" => Self::Es256(ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)),
            "ES384" => Self::Es384(ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING)),
            "EdDSA" => {
                let key = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
                Self::EdDsa(Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("a key"))
            }
            alg => {
                let key = STANDARD.decode(RSA).expect("base64");
                Self::Rsa(RsaKeyPair::from_der(&key).expect("a key"), alg)
            }
        }
    }

    pub fn alg(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Es384(_) => "ES384",
            Self::EdDsa(_) => "EdDSA",
            Self::Rsa(_, alg) => alg,
        }
    }

    /// The public key, as in a JWKS.
    pub fn jwk(&self, kid: &str) -> Value {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = |key: &EcdsaKeyPair, crv| {
            let (x, y) =
                key.public_key().as_ref()[1..].split_at(key.public_key().as_ref().len() / 2);
            json!({"kty": "EC", "crv": crv, "kid": kid, "x": b64(x), "y": b64(y)})
        };
        match self {
            Self::Es256(key) => point(key, "P-256"),
            Self::Es384(key) => point(key, "P-384"),
            Self::EdDsa(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(key.public_key().as_ref())})
            }
            Self::Rsa(key, _) => {
                let RsaPublicKeyComponents { n, e } =
                    RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                let (n, e) = (b64(&n), b64(&e));
                json!({"kty": "RSA", "kid": kid, "use": "sig", "n": n, "e": e})
            }
        }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(key) | Self::Es384(key) => {
                key.sign(&random, message).expect("a signature").as_ref().to_vec()
            }
            Self::EdDsa(key) => key.sign(message).as_ref().to_vec(),
            Self::Rsa(key, alg) => {
                let padding: &dyn signature::RsaEncoding = match *alg {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    _ => &signature::RSA_PSS_SHA512,
                };
                let mut made = vec![0; key.public().modulus_len()];
                key.sign(padding, &random, message, &mut made).expect("a signature");
                made
            }
        }
    }

    /// A token with this header and these claims.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let made = URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes()));
        format!("{signed}.{made}")
    }

    /// A token as its issuer makes them.
    pub fn token(&self, kid: &str, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.alg(), "typ": "JWT", "kid": kid}), claims)
    }
}

/// What of a token is signed.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// The JWKS with these keys.
pub fn jwks(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}
