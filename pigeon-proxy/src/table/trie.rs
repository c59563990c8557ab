//! A tree over segments (of a path, or of a host from its end) that finds the longest prefixes.
//!
//! A walk costs one look-up per segment and ends at the first segment no pattern goes on with, so it
//! never costs more than the longest pattern, however long the text and however many patterns.

use std::collections::HashMap;

/// Values at prefixes of segment lists.
#[derive(Debug)]
pub(super) struct Trie<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    children: HashMap<Box<str>, usize>,
    parent: Option<usize>,
    value: Option<T>,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { nodes: vec![Node { children: HashMap::new(), parent: None, value: None }] }
    }
}

impl<T: Default> Trie<T> {
    /// The value of exactly this prefix, made if there is none.
    pub(super) fn entry<'s>(&mut self, segments: impl Iterator<Item = &'s str>) -> &mut T {
        let mut at = 0;
        for segment in segments {
            at = match self.nodes[at].children.get(segment) {
                Some(&child) => child,
                None => {
                    let child = self.nodes.len();
                    let node = Node { children: HashMap::new(), parent: Some(at), value: None };
                    self.nodes.push(node);
                    self.nodes[at].children.insert(segment.into(), child);
                    child
                }
            };
        }
        self.nodes[at].value.get_or_insert_with(T::default)
    }
}

impl<T> Trie<T> {
    /// The values of all prefixes of `segments`, longest first.
    pub(super) fn prefixes<'s>(
        &self,
        segments: impl Iterator<Item = &'s str>,
    ) -> impl Iterator<Item = &T> {
        let mut deepest = 0;
        for segment in segments {
            match self.nodes[deepest].children.get(segment) {
                Some(&child) => deepest = child,
                None => break,
            }
        }
        let up = std::iter::successors(Some(deepest), |&at| self.nodes[at].parent);
        up.filter_map(|at| self.nodes[at].value.as_ref())
    }

    /// Every value, to be put in order once all are there.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.nodes.iter_mut().filter_map(|node| node.value.as_mut())
    }
}
