//! What `balance: hash` goes by: a number for each caller that is the same on every proxy, today and
//! tomorrow.

use std::net::IpAddr;

use pigeon_proto::model::{HashKey, Name};

/// The number of a call, none if it has not what the key asks for. `header` looks a header up by its
/// lower-cased name; of several values the first counts.
pub fn hash_of<'h>(
    key: &HashKey,
    header: impl FnOnce(&str) -> Option<&'h [u8]>,
    (peer, tenant): (IpAddr, Option<&Name>),
) -> Option<u64> {
    match key {
        HashKey::Source => Some(match peer.to_canonical() {
            IpAddr::V4(v4) => fnv(&v4.octets()),
            IpAddr::V6(v6) => fnv(&v6.octets()),
        }),
        HashKey::Tenant => tenant.map(|tenant| fnv(tenant.as_str().as_bytes())),
        HashKey::Header(name) => header(name).map(fnv),
    }
}

/// FNV-1a: written down once for all, unlike the hashes of the standard library.
fn fnv(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_fnv_1a_says() {
        // Values published with the algorithm.
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn goes_by_the_header_or_the_source() {
        let peer = |text: &str| text.parse::<IpAddr>().expect("an address");
        let key = HashKey::Header("x-session-id".into());
        let call = |value: Option<&'static [u8]>, from| {
            let header = |name: &str| value.filter(|_| name == "x-session-id");
            hash_of(&key, header, (peer(from), None))
        };
        assert_eq!(call(Some(b"a"), "10.0.0.1"), call(Some(b"a"), "10.0.0.2"));
        assert_ne!(call(Some(b"a"), "10.0.0.1"), call(Some(b"b"), "10.0.0.1"));
        assert_eq!(call(None, "10.0.0.1"), None);
        let source = |from| hash_of(&HashKey::Source, |_| None, (peer(from), None));
        assert_eq!(source("10.0.0.1"), source("::ffff:10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
        let tenant = |name: Option<&str>, from| {
            let name = name.map(|name| name.parse::<Name>().expect("a name"));
            hash_of(&HashKey::Tenant, |_| None, (peer(from), name.as_ref()))
        };
        assert_eq!(tenant(Some("a"), "10.0.0.1"), tenant(Some("a"), "10.0.0.2"));
        assert_ne!(tenant(Some("a"), "10.0.0.1"), tenant(Some("b"), "10.0.0.1"));
        assert_eq!(tenant(None, "10.0.0.1"), None);
    }
}
