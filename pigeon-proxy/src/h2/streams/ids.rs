//! Stream id → place: open addressing with a multiplicative hash. Ids come in sequence, and a hash that kept them
//! in sequence would make one long run of them: removal would then cost as many steps as streams are open.

/// The map. Empty from the start it holds no memory.
#[derive(Debug, Default)]
pub struct Ids {
    /// Pairs of id and place; id 0 is an empty entry. The length is 0 or a power of two.
    entries: Vec<(u32, u32)>,
    len: usize,
}

const SMALLEST: usize = 8;

/// Where the search for an id begins: the high bits of the product, which all bits of the id reach.
#[inline]
fn home(id: u32, mask: usize) -> usize {
    (id.wrapping_mul(0x9E37_79B1) >> 8) as usize & mask
}

impl Ids {
    /// How many ids are in it.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The entry of an id, if it is there.
    #[inline]
    fn position(&self, id: u32) -> Option<usize> {
        if id == 0 || self.len == 0 {
            return None;
        }
        let mask = self.entries.len() - 1;
        let mut at = home(id, mask);
        loop {
            match self.entries[at].0 {
                found if found == id => return Some(at),
                0 => return None,
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// The place of an id.
    #[inline]
    pub fn get(&self, id: u32) -> Option<u32> {
        self.position(id).map(|at| self.entries[at].1)
    }

    /// Adds an id that is not in it and not 0.
    pub fn insert(&mut self, id: u32, slot: u32) {
        if (self.len + 1) * 4 > self.entries.len() * 3 {
            self.grow();
        }
        self.put(id, slot);
        self.len += 1;
    }

    fn put(&mut self, id: u32, slot: u32) {
        let mask = self.entries.len() - 1;
        let mut at = home(id, mask);
        while self.entries[at].0 != 0 {
            at = (at + 1) & mask;
        }
        self.entries[at] = (id, slot);
    }

    #[cold]
    fn grow(&mut self) {
        let size = (self.entries.len() * 2).max(SMALLEST);
        let old = std::mem::replace(&mut self.entries, vec![(0, 0); size]);
        for (id, slot) in old.into_iter().filter(|entry| entry.0 != 0) {
            self.put(id, slot);
        }
    }

    /// Removes an id. Entries behind it move up, so no mark of it stays.
    pub fn remove(&mut self, id: u32) {
        let Some(mut hole) = self.position(id) else { return };
        let mask = self.entries.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let entry = self.entries[at];
            if entry.0 == 0 {
                break;
            }
            // An entry may move to the hole unless it would then stand before its home.
            if (at.wrapping_sub(home(entry.0, mask)) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.entries[hole] = entry;
                hole = at;
            }
        }
        self.entries[hole] = (0, 0);
        self.len -= 1;
    }
}
