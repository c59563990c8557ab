//! Things by small numbers: a number is used again when its thing is gone, a [`Ref`] never.
//!
//! No thing has the number 0: a stream that was never given a call has it.

/// A number and the life it was given in, for whoever comes back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ref {
    pub(super) at: u32,
    life: u32,
}

/// Things, each at its number.
#[derive(Debug)]
pub(super) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry<T> {
    life: u32,
    value: Option<Box<T>>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { entries: vec![Entry { life: 0, value: None }], free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(super) fn insert(&mut self, value: T) -> Ref {
        let at = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { life: 0, value: None });
            // More than four thousand million never fit into memory.
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[at as usize];
        entry.value = Some(Box::new(value));
        Ref { at, life: entry.life }
    }

    pub(super) fn get(&self, at: u32) -> Option<&T> {
        self.entries.get(at as usize)?.value.as_deref()
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.entries.get_mut(at as usize)?.value.as_deref_mut()
    }

    /// What the reference was made for, if it is still there.
    pub(super) fn find(&mut self, reference: Ref) -> Option<&mut T> {
        let entry = self.entries.get_mut(reference.at as usize)?;
        if entry.life == reference.life { entry.value.as_deref_mut() } else { None }
    }

    /// A reference to what is there now.
    pub(super) fn reference(&self, at: u32) -> Option<Ref> {
        let entry = self.entries.get(at as usize)?;
        entry.value.as_ref().map(|_| Ref { at, life: entry.life })
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<Box<T>> {
        let entry = self.entries.get_mut(at as usize)?;
        let value = entry.value.take()?;
        entry.life = entry.life.wrapping_add(1);
        self.free.push(at);
        Some(value)
    }

    /// The numbers in use.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        let used = self.entries.iter().enumerate().filter(|(_, entry)| entry.value.is_some());
        used.map(|(at, _)| at as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_never_finds_what_came_after() {
        let mut slab = Slab::default();
        let first = slab.insert("a");
        assert_ne!(first.at, 0);
        assert!(slab.get(0).is_none() && slab.remove(0).is_none());
        assert_eq!(slab.find(first), Some(&mut "a"));
        assert_eq!(slab.remove(first.at).as_deref(), Some(&"a"));
        let second = slab.insert("b");
        assert_eq!(second.at, first.at);
        assert_eq!(slab.find(first), None);
        assert_eq!(slab.find(second), Some(&mut "b"));
        assert_eq!(slab.reference(second.at), Some(second));
        assert_eq!(slab.numbers().collect::<Vec<_>>(), [second.at]);
    }
}
