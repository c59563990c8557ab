//! The dynamic table (RFC 7541 section 2.3.2): the newest fields, as many as fit its size.

use std::collections::VecDeque;

use super::FIELD_OVERHEAD;

/// A dynamic table. Index 0 is the newest field; it is index 62 on the wire.
///
/// Allocates with the first field. Its memory is at most about four times its largest size.
#[derive(Debug)]
pub(super) struct Table {
    /// Name and value of each field one after the other, oldest first; in front of the oldest,
    /// what was evicted and not yet overwritten.
    text: Vec<u8>,
    /// Newest first.
    entries: VecDeque<Entry>,
    /// As RFC 7541 section 4.1 counts it.
    size: usize,
    max_size: usize,
    generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    name_end: u32,
    end: u32,
}

impl Entry {
    fn size(self) -> usize {
        (self.end - self.start) as usize + FIELD_OVERHEAD
    }
}

impl Table {
    pub(super) fn new(max_size: u32) -> Self {
        Self {
            text: Vec::new(),
            entries: VecDeque::new(),
            size: 0,
            max_size: max_size as usize,
            generation: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn max_size(&self) -> usize {
        self.max_size
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// Makes whatever a caller remembers of this generation out of date.
    pub(super) fn bump_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// Name and value of a field as one text, and where in it the value begins.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<(&[u8], usize)> {
        let entry = *self.entries.get(index)?;
        let text = &self.text[entry.start as usize..entry.end as usize];
        Some((text, (entry.name_end - entry.start) as usize))
    }

    /// Adds a field and evicts what no longer fits. A field larger than the whole table leaves it
    /// empty; that is no error (RFC 7541 section 4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        self.bump_generation();
        let length = name.len() + value.len();
        let size = length + FIELD_OVERHEAD;
        let Some(rest) = self.max_size.checked_sub(size) else { return self.evict_to(0) };
        self.evict_to(rest);
        self.make_room(length);
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.entries.push_front(Entry {
            start: start as u32,
            name_end: (start + name.len()) as u32,
            end: self.text.len() as u32,
        });
        self.size += size;
    }

    /// Changes how much fits (RFC 7541 section 4.3).
    pub(super) fn resize(&mut self, max_size: usize) {
        if max_size != self.max_size {
            self.bump_generation();
            self.max_size = max_size;
            self.evict_to(max_size);
        }
    }

    /// Bytes and entries there is memory for.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.text.capacity() + self.entries.capacity()
    }

    fn evict_to(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.size -= oldest.size();
        }
    }

    /// Moves the live text to the front when it would have to grow otherwise and at least half of
    /// it is dead, so each byte that is inserted pays for at most one that moves.
    fn make_room(&mut self, length: usize) {
        let start = self.entries.back().map_or(self.text.len(), |oldest| oldest.start as usize);
        if self.text.len() + length <= self.text.capacity() || start < self.text.len() - start {
            return;
        }
        self.text.drain(..start);
        for entry in &mut self.entries {
            entry.start -= start as u32;
            entry.name_end -= start as u32;
            entry.end -= start as u32;
        }
    }
}
