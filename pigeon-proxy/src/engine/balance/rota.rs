//! What is known of an engine's endpoints before any call comes: weights to choose by, hashes of their
//! addresses, and whose turn it is.

use std::sync::atomic::{AtomicU64, Ordering};

use super::WHOLE;
use crate::engine::clock::{below, scramble};

/// Prepared once per settings.
#[derive(Debug)]
pub struct Rota {
    /// The sums of the weights up to and including each.
    sums: Vec<u64>,
    /// The hash of each address, the same on every proxy.
    pub(super) hashes: Vec<u64>,
    /// Whether all weigh the same.
    pub(super) even: bool,
    turn: AtomicU64,
    /// A step through the weights that meets each once: turns of a heavy endpoint lie apart.
    stride: u64,
    /// For many endpoints: calls and weight of those in use, and how often it was asked for since.
    pub(super) load: Load,
}

/// Sums over the endpoints, as of a moment ago.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) asked: AtomicU64,
    pub(super) calls: AtomicU64,
    pub(super) weight: AtomicU64,
}

impl Rota {
    /// For endpoints of these addresses and weights (at least 1).
    pub fn new<'a>(members: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let (mut sums, mut hashes, mut sum, mut first, mut even) = (vec![], vec![], 0, None, true);
        for (address, weight) in members {
            even &= *first.get_or_insert(weight) == weight;
            sum += u64::from(weight.max(1));
            sums.push(sum);
            hashes.push(hash(address));
        }
        let stride = if even { 1 } else { stride(sum) };
        Self { sums, hashes, even, turn: AtomicU64::new(0), stride, load: Load::default() }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// The weight of one in [`WHOLE`]ths.
    pub(super) fn weight(&self, at: usize) -> u32 {
        let before = at.checked_sub(1).map_or(0, |before| self.sums[before]);
        u32::try_from(self.sums[at] - before).unwrap_or(u32::MAX).saturating_mul(WHOLE)
    }

    /// Any of them; `seed` is evenly spread.
    pub(super) fn any(&self, seed: u64) -> usize {
        // Less than len, so it fits.
        below(seed, self.len() as u64) as usize
    }

    /// Any of them, by weight.
    pub(super) fn by_weight(&self, seed: u64) -> usize {
        if self.even { self.any(seed) } else { self.at(below(seed, self.total())) }
    }

    /// Whose turn it is: in as many turns as the weights sum up to, each has as many as it weighs.
    pub(super) fn turn(&self) -> usize {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if self.even {
            // Less than len, so it fits.
            return (turn % (self.len() as u64).max(1)) as usize;
        }
        let turn = turn % self.total();
        // The sum of the weights is far below 2³², so this does not overflow.
        self.at(turn * self.stride % self.total())
    }

    fn total(&self) -> u64 {
        self.sums.last().copied().unwrap_or(1)
    }

    fn at(&self, point: u64) -> usize {
        self.sums.partition_point(|sum| *sum <= point).min(self.len().saturating_sub(1))
    }
}

/// About 0.618 of the sum, so that steps spread evenly, and without a common divisor, so that they meet
/// everything.
fn stride(sum: u64) -> u64 {
    let golden = sum * 618 / 1_000;
    (golden.max(1)..=sum).find(|step| gcd(*step, sum) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// FNV-1a, stirred: of an address of some dozen bytes, and never changed.
fn hash(address: &str) -> u64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    scramble(address.bytes().fold(0xcbf2_9ce4_8422_2325, fnv))
}
