//! Tokens: made from the operating system's randomness, kept in memory only as a hash.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// What a token is checked against: the SHA-256 of it, never the token itself.
#[derive(Clone, Copy)]
pub struct Secret([u8; 32]);

impl Secret {
    /// The hash of `token`.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether `presented` is the token. Takes the same time however much of it is right.
    pub fn verify(&self, presented: &str) -> bool {
        let other = Self::of(presented);
        let differing = self.0.iter().zip(other.0).fold(0, |d, (a, b)| d | (a ^ b));
        // The barrier keeps the compiler from leaving the loop at the first difference.
        std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A new token, `pgn_<id>_<secret>`: 32 bits to tell tokens apart by, 256 bits nobody can guess.
///
/// # Errors
/// The operating system has no randomness to give.
pub fn generate() -> Result<String, getrandom::Error> {
    let mut random = [0; 36];
    getrandom::fill(&mut random)?;
    let (id, secret) = random.split_at(4);
    Ok(format!("pgn_{}_{}", hex(id), hex(secret)))
}

/// A new API key and its id: `pgk_<id>_<secret>`, the secret as of [`generate`]. Without an `id` one is made up.
///
/// # Errors
/// The operating system has no randomness to give.
pub fn generate_key(id: Option<&str>) -> Result<(String, String), getrandom::Error> {
    let mut random = [0; 36];
    getrandom::fill(&mut random)?;
    let (made_up, secret) = random.split_at(4);
    let id = id.map_or_else(|| hex(made_up), str::to_owned);
    let key = format!("pgk_{id}_{}", hex(secret));
    Ok((id, key))
}

/// Whether a text can be a token: 32 to 256 visible ASCII characters.
pub fn is_usable(token: &str) -> bool {
    (32..=256).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic())
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, b| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{b:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_opens() {
        let token = generate().expect("randomness");
        assert!(token.starts_with("pgn_") && token.len() == 4 + 8 + 1 + 64, "{token}");
        assert!(is_usable(&token));
        let secret = Secret::of(&token);
        assert!(secret.verify(&token));
        for wrong in ["", "pgn_", &token[1..], &(token.clone() + "x"), &token.to_uppercase()] {
            assert!(!secret.verify(wrong), "{wrong}");
        }
        assert_ne!(generate().expect("randomness"), token);
        assert!(!format!("{secret:?}").contains(&token[13..20]));
    }

    #[test]
    fn keys_say_their_id() {
        let (id, key) = generate_key(None).expect("randomness");
        assert!(key.starts_with(&format!("pgk_{id}_")) && key.len() == 4 + 8 + 1 + 64, "{key}");
        let (id, key) = generate_key(Some("k1")).expect("randomness");
        assert!(id == "k1" && key.starts_with("pgk_k1_") && key.len() == 7 + 64, "{key}");
        assert_ne!(generate_key(Some("k1")).expect("randomness").1, key);
    }

    #[test]
    fn what_is_no_token_is_known() {
        for bad in ["", "short", &"a b".repeat(20), &"a".repeat(257), &"é".repeat(40)] {
            assert!(!is_usable(bad), "{bad}");
        }
    }
}
