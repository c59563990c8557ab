//! Header fields in order.

/// How a field was represented (RFC 7541 section 6), so that it can be passed on in kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexing {
    /// It was in a table.
    Indexed,
    /// Literal, added to the table.
    Incremental,
    /// Literal without indexing.
    Plain,
    /// Literal that is never indexed.
    Never,
}

/// Header fields in order, in two reused allocations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}
#[allow(missing_docs, clippy::todo)]
impl Fields {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn clear(&mut self) {
        self.fields.clear();
    }
    pub fn len(&self) -> usize {
        self.fields.len()
    }
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
    pub fn push(&mut self, _name: &[u8], _value: &[u8], _indexing: Indexing) {
        todo!()
    }
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8], Indexing)> + Clone {
        self.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice(), Indexing::Plain))
    }
    pub fn get(&self, _name: &[u8]) -> Option<&[u8]> {
        todo!()
    }
    pub fn list_size(&self) -> usize {
        todo!()
    }
    pub fn retain(&mut self, _keep: impl FnMut(&[u8], &[u8]) -> bool) {
        todo!()
    }
}
