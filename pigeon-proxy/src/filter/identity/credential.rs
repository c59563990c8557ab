//! Where calls carry credentials, and which of them are keys of this gateway.

/// The headers that may carry one. `token` is what callers of rpc-pigeon send.
pub const HEADERS: [&str; 3] = ["authorization", "x-api-key", "token"];

/// What every API key begins with.
const KEY: &[u8] = b"pgk_";
/// The longest key that is looked at.
const LONGEST_KEY: usize = 256;

/// The API key of a call.
pub(super) fn key<'h>(header: &dyn Fn(&str) -> Option<&'h [u8]>) -> Option<&'h [u8]> {
    let [authorization, rest @ ..] = HEADERS;
    let bearer = header(authorization).and_then(bearer);
    let all = std::iter::once(bearer).chain(rest.into_iter().map(header));
    all.flatten().find(|value| value.starts_with(KEY))
}

/// The id in a key `pgk_ID_SECRET`; none if it cannot be one.
pub(super) fn id_of(key: &[u8]) -> Option<&str> {
    let rest = key.strip_prefix(KEY).filter(|_| key.len() <= LONGEST_KEY)?;
    let (id, _) = rest.split_at(rest.iter().position(|b| *b == b'_')?);
    str::from_utf8(id).ok()
}

/// Whether a header carries an API key: the engine has no use for it. `name` is in lower case.
pub fn is_key(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"authorization" => bearer(value).is_some_and(|value| value.starts_with(KEY)),
        b"x-api-key" | b"token" => value.starts_with(KEY),
        _ => false,
    }
}

/// What may be a token (JWT) of a call: a bearer token that is no API key.
pub(super) fn token<'h>(header: &dyn Fn(&str) -> Option<&'h [u8]>) -> Option<&'h [u8]> {
    header("authorization").and_then(bearer).filter(|token| !token.starts_with(KEY))
}

/// What follows `Bearer` (RFC 6750, section 2.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_each_place_and_hidden_there() {
        for (name, value, key) in [
            ("authorization", "Bearer pgk_a_b", Some("pgk_a_b")),
            ("authorization", "bearer  pgk_a_b ", Some("pgk_a_b")),
            ("x-api-key", "pgk_a_b", Some("pgk_a_b")),
            ("token", "pgk_a_b", Some("pgk_a_b")),
            ("authorization", "pgk_a_b", None),
            ("authorization", "Basic pgk_a_b", None),
            ("authorization", "Bearer eyJ", None),
            ("x-api-key", "other", None),
            ("x-key", "pgk_a_b", None),
        ] {
            let header = |n: &str| (n == name).then_some(value.as_bytes());
            assert_eq!(super::key(&header), key.map(str::as_bytes), "{name}: {value}");
            assert_eq!(is_key(name.as_bytes(), value.as_bytes()), key.is_some(), "{name}: {value}");
        }
    }

    #[test]
    fn ids() {
        assert_eq!(id_of(b"pgk_k1_secret_with_more"), Some("k1"));
        let long = [b"pgk_k1_".as_slice(), &[b'x'; 250]].concat();
        for bad in [&b"pgk_k1"[..], b"k1_secret", b"pgk_\xff_x", &long] {
            assert_eq!(id_of(bad), None);
        }
    }
}
