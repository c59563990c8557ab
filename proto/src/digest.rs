//! An order-free, incremental digest of a whole configuration.
//!
//! Both ends of the config stream keep one and compare it on every message, so that a lost or doubled
//! change is noticed at once and repaired by a snapshot instead of living on unseen.

use sha2::{Digest as _, Sha256};

/// Sum modulo 2^128 of a 128-bit hash of every `(kind, name, mod_revision, spec)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// Counts one object in.
    pub fn add(&mut self, kind: &str, name: &str, mod_revision: u64, spec: &[u8]) {
        self.0 = self.0.wrapping_add(hash(kind, name, mod_revision, spec));
    }

    /// Takes one object, given exactly as it was added, out again.
    pub fn remove(&mut self, kind: &str, name: &str, mod_revision: u64, spec: &[u8]) {
        self.0 = self.0.wrapping_sub(hash(kind, name, mod_revision, spec));
    }

    /// The wire form: 16 bytes, big endian.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Reads the wire form; `None` unless it has exactly 16 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(u128::from_be_bytes(bytes.try_into().ok()?)))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

fn hash(kind: &str, name: &str, mod_revision: u64, spec: &[u8]) -> u128 {
    let mut h = Sha256::new();
    // Lengths keep ("ab","c") and ("a","bc") apart.
    for part in [kind.as_bytes(), name.as_bytes(), &mod_revision.to_be_bytes(), spec] {
        h.update((part.len() as u64).to_be_bytes());
        h.update(part);
    }
    let full = h.finalize();
    let mut half = [0; 16];
    half.copy_from_slice(&full[..16]);
    u128::from_be_bytes(half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn boundaries_between_fields_count() {
        let (mut a, mut b) = (Digest::default(), Digest::default());
        a.add("ab", "c", 1, b"");
        b.add("a", "bc", 1, b"");
        assert_ne!(a, b);
    }

    proptest! {
        #[test]
        fn order_free_and_reversible(objects in prop::collection::vec(("[a-z]{1,5}", "[a-z]{1,8}", 0u64..9, any::<Vec<u8>>()), 0..20)) {
            let (mut forward, mut backward) = (Digest::default(), Digest::default());
            for (k, n, r, s) in &objects { forward.add(k, n, *r, s); }
            for (k, n, r, s) in objects.iter().rev() { backward.add(k, n, *r, s); }
            prop_assert_eq!(forward, backward);
            prop_assert_eq!(Digest::from_bytes(&forward.to_bytes()), Some(forward));
            for (k, n, r, s) in &objects { forward.remove(k, n, *r, s); }
            prop_assert_eq!(forward, Digest::default());
        }
    }
}
