//! Finds a field in the encoder's dynamic table by hash.

use std::collections::VecDeque;

/// Chains of each kind; the default table has at most 128 fields.
const BUCKETS: usize = 128;

/// A hash for tables in memory.
#[inline]
pub(super) const fn hash(bytes: &[u8]) -> u64 {
    let mut state = (bytes.len() as u64) << 56;
    let mut rest = bytes;
    while rest.len() > 8
        && let Some((word, more)) = rest.split_first_chunk()
    {
        state = mix(state, u64::from_le_bytes(*word));
        rest = more;
    }
    mix(state, last_word(rest))
}

/// The hash of a field from those of its name and value.
#[inline]
pub(super) const fn join(name_hash: u64, value_hash: u64) -> u64 {
    mix(name_hash.rotate_left(32), value_hash)
}

/// The up to eight bytes of `rest` as a number; equal lengths give equal numbers only for equal
/// bytes.
#[inline]
const fn last_word(rest: &[u8]) -> u64 {
    if let Some(word) = rest.first_chunk() {
        u64::from_le_bytes(*word)
    } else if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
        (u32::from_le_bytes(*first) as u64) << 32 | u32::from_le_bytes(*last) as u64
    } else if let [first, .., last] = rest {
        (*first as u64) << 16 | (rest[rest.len() / 2] as u64) << 8 | *last as u64
    } else if let [only] = rest {
        *only as u64
    } else {
        0
    }
}

#[inline]
const fn mix(state: u64, word: u64) -> u64 {
    /// Odd, with bits set all over.
    const FACTOR: u128 = 0x9e37_79b9_7f4a_7c15;
    let product = ((state ^ word) as u128 ^ 0x51_7cc1_b727_220a) * FACTOR;
    product as u64 ^ (product >> 64) as u64
}

/// Whether two texts are the same; quicker than `==` for the few bytes of a field, as it calls
/// nothing.
#[inline]
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (mut one, mut other) = (one, other);
    while one.len() > 8
        && let (Some((left, rest)), Some((right, other_rest))) =
            (one.split_first_chunk::<8>(), other.split_first_chunk::<8>())
    {
        if u64::from_le_bytes(*left) != u64::from_le_bytes(*right) {
            return false;
        }
        (one, other) = (rest, other_rest);
    }
    last_word(one) == last_word(other)
}

/// What a chain goes by.
#[derive(Clone, Copy)]
pub(super) enum By {
    /// The hash of the name.
    Name = 0,
    /// The hash of name and value.
    Field = 1,
}

/// Chains of the table's fields, newest first, by the hash of the name and of the whole field.
///
/// Fields are numbered as they come. Nothing is ever taken out of a chain: it ends at the first
/// number that is no longer in the table. Hashes that a peer made collide cost a walk along all
/// fields, at most 128.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The newest field of each chain, `BUCKETS` by name and `BUCKETS` by field; empty until the
    /// first field comes.
    heads: Vec<u32>,
    /// One for each field of the table, newest first.
    links: VecDeque<[Link; 2]>,
    /// The number of the newest field; the first has 1.
    newest: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    hash: u32,
    /// The number of the field that follows in the chain.
    older: u32,
}

impl Index {
    /// Adds the newest field, given its two hashes in the order of [`By`].
    pub(super) fn insert(&mut self, hashes: [u64; 2]) {
        if self.heads.is_empty() {
            self.heads.resize(2 * BUCKETS, 0);
        }
        self.newest = self.newest.wrapping_add(1);
        let link = |by: By, heads: &mut [u32]| {
            let hash = hashes[by as usize];
            let older = std::mem::replace(&mut heads[head(by, hash)], self.newest);
            Link { hash: (hash >> 32) as u32, older }
        };
        let links = [link(By::Name, &mut self.heads), link(By::Field, &mut self.heads)];
        self.links.push_front(links);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// Forgets all fields but the `len` newest.
    pub(super) fn truncate(&mut self, len: usize) {
        self.links.truncate(len);
    }

    /// The place (0 is the newest) of the newest field with this hash for which `same` is true.
    #[inline]
    pub(super) fn find(&self, by: By, hash: u64, same: impl Fn(usize) -> bool) -> Option<usize> {
        let mut number = *self.heads.get(head(by, hash))?;
        // What is left of fields long gone may look like a number of today once the numbers have
        // gone round, so a walk must always get older to come to an end.
        let mut from = 0;
        loop {
            let place = self.newest.wrapping_sub(number) as usize;
            let link = self.links.get(place).filter(|_| place >= from)?[by as usize];
            if link.hash == (hash >> 32) as u32 && same(place) {
                return Some(place);
            }
            number = link.older;
            from = place + 1;
        }
    }
}

#[inline]
fn head(by: By, hash: u64) -> usize {
    by as usize * BUCKETS + hash as usize % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_tells_apart_each_byte_of_each_length() {
        let text: Vec<u8> = (0..40).collect();
        let mut seen = std::collections::HashSet::new();
        for len in 0..text.len() {
            assert!(seen.insert(hash(&text[..len])), "length {len}");
            for n in 0..len {
                let mut other = text.clone();
                other[n] ^= 0x80;
                assert!(seen.insert(hash(&other[..len])), "byte {n} of {len}");
            }
        }
    }

    #[test]
    fn fields_are_found_newest_first_and_not_after_they_went() {
        let mut index = Index::default();
        assert_eq!(index.find(By::Name, 7, |_| true), None);
        for n in 0..4 {
            index.insert([7, n << 32]);
        }
        assert_eq!(index.find(By::Name, 7, |_| true), Some(0));
        assert_eq!(index.find(By::Name, 7, |place| place > 1), Some(2));
        assert_eq!(index.find(By::Field, 0, |_| true), Some(3));
        index.truncate(3);
        assert_eq!(index.find(By::Field, 0, |_| true), None);
        assert_eq!(index.find(By::Name, 7, |place| place > 2), None);
    }

    #[test]
    fn a_walk_ends_when_the_numbers_have_gone_round() {
        let mut index = Index { newest: u32::MAX - 2, ..Index::default() };
        for _ in 0..5 {
            index.insert([7, 7]);
        }
        assert_eq!(index.find(By::Name, 7, |_| false), None);
        assert_eq!(index.find(By::Name, 7, |place| place == 4), Some(4));
        // The oldest says that 0, which is now the number of the third newest, goes on from it.
        assert_eq!(index.newest, 2);
    }
}
