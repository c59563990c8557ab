//! A list of header fields as it travels in one header block (RFC 9113 section 8.2).

/// How a field was represented in its block (RFC 7541 section 6), so that it can be passed on in
/// kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Indexing {
    /// An index: the whole field was in the static or the dynamic table.
    Indexed,
    /// A literal that was added to the dynamic table.
    Incremental,
    /// A literal that was not added.
    Plain,
    /// A literal that no hop may ever add (RFC 7541 section 7.1.3).
    Never,
}

/// Header fields in order, in two allocations that [`Fields::clear`] keeps.
///
/// Names and values are any bytes; `head.rs` says which lists are a valid request or response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fields {
    /// Name, value, name, value and so on, without gaps.
    text: Vec<u8>,
    fields: Vec<Field>,
}

/// Where a field lies in the text; it begins where the one before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Field {
    name_end: u32,
    end: u32,
    indexing: Indexing,
}

impl Fields {
    /// An empty list; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes all fields and keeps the allocations.
    pub fn clear(&mut self) {
        self.text.clear();
        self.fields.clear();
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Adds a field at the end. All names and values of a list together stay below 4 GiB.
    pub fn push(&mut self, name: &[u8], value: &[u8], indexing: Indexing) {
        self.text.extend_from_slice(name);
        let name_end = self.text.len();
        self.text.extend_from_slice(value);
        self.close(name_end, indexing);
    }

    /// The fields in order: name, value, representation.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8], Indexing)> + Clone {
        let mut start = 0;
        self.fields.iter().map(move |field| {
            let (name_end, end) = (field.name_end as usize, field.end as usize);
            let pair = (&self.text[start..name_end], &self.text[name_end..end], field.indexing);
            start = end;
            pair
        })
    }

    /// The value of the first field of that name.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(found, _, _)| *found == name).map(|(_, value, _)| value)
    }

    /// Whether there is more than one field of that name.
    pub fn repeats(&self, name: &[u8]) -> bool {
        self.iter().filter(|(found, _, _)| *found == name).nth(1).is_some()
    }

    /// The size of the list as SETTINGS_MAX_HEADER_LIST_SIZE counts it: the bytes of each name and
    /// value and 32 more for each field (RFC 9113 section 6.5.2).
    pub fn list_size(&self) -> usize {
        self.text.len() + super::hpack::FIELD_OVERHEAD * self.fields.len()
    }

    /// Keeps only the fields for which `keep`, given name and value, is true; the order stays.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let (mut start, mut kept_end) = (0, 0);
        let text = &mut self.text;
        self.fields.retain_mut(|field| {
            let (from, name_end, end) = (start, field.name_end as usize, field.end as usize);
            start = end;
            let kept = keep(&text[from..name_end], &text[name_end..end]);
            if kept {
                text.copy_within(from..end, kept_end);
                field.name_end = (kept_end + name_end - from) as u32;
                kept_end += end - from;
                field.end = kept_end as u32;
            }
            kept
        });
        self.text.truncate(kept_end);
    }

    /// The text, for a decoder to write the next name and value to before it calls
    /// [`Fields::close`] or [`Fields::drop_open`].
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Makes what was written to the text since the last field a field of its own.
    pub(super) fn close(&mut self, name_end: usize, indexing: Indexing) {
        debug_assert!(u32::try_from(self.text.len()).is_ok(), "a list beyond 4 GiB");
        let end = self.text.len() as u32;
        self.fields.push(Field { name_end: name_end as u32, end, indexing });
    }

    /// Forgets what was written to the text since the last field.
    pub(super) fn drop_open(&mut self) {
        self.text.truncate(self.fields.last().map_or(0, |last| last.end as usize));
    }
}

#[cfg(test)]
mod tests;
