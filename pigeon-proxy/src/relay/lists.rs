//! Remembering header blocks: bytes seen before are not decoded again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::list::{Content, List, Wanted};
use crate::h2::fields::Fields;
use crate::http::Client;

/// Blocks remembered per connection.
const BLOCKS: usize = 8;
/// The longest block that is remembered.
const LONGEST: usize = 512;
/// Lists shared per worker; when there are more, all are forgotten and learned again.
const SHARED: usize = 4_096;

/// The lists that connections of this worker share.
pub(super) struct Shared {
    next: u64,
    hasher: RandomState,
    by_content: HashMap<u64, Arc<List>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { next: 1, hasher: RandomState::new(), by_content: HashMap::new() }
    }
}

impl Shared {
    /// Keeps apart the lists of different listeners and senders: an address, a certificate, TLS or none.
    pub(super) fn origin(&self, client: &Client) -> u64 {
        self.hasher.hash_one((&client.listener, client.peer, client.secure, &client.certificate))
    }

    /// A number that no list has had.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// The list of these fields that everybody shares. `origin` keeps apart what must not be shared: what is
    /// worked out for a request depends on its listener and its sender.
    fn list(&mut self, fields: &Fields, wanted: Wanted, origin: u64) -> Arc<List> {
        let key = self.hasher.hash_one((fields, wanted as u8, origin));
        if let Some(list) = self.by_content.get(&key)
            && list.fields == *fields
        {
            return Arc::clone(list);
        }
        if self.by_content.len() >= SHARED {
            self.by_content.clear();
        }
        let list = Arc::new(List::read(self.number(), fields, wanted));
        self.by_content.insert(key, Arc::clone(&list));
        list
    }
}

/// The blocks a connection has sent and that are worth remembering: those that leave the decoder's table as
/// it is and came before.
#[derive(Default)]
pub(super) struct Seen {
    blocks: Vec<Block>,
    next: u8,
    /// Short hashes of blocks that came once.
    once: [u32; 4],
    next_once: u8,
}

struct Block {
    generation: u32,
    wanted: Wanted,
    bytes: Box<[u8]>,
    list: Arc<List>,
}

impl Seen {
    /// The list of a block that came before under the same table.
    pub(super) fn find(&self, generation: u32, wanted: Wanted, bytes: &[u8]) -> Option<Arc<List>> {
        let same =
            |b: &&Block| b.generation == generation && b.wanted == wanted && *b.bytes == *bytes;
        self.blocks.iter().find(same).map(|block| Arc::clone(&block.list))
    }

    /// Makes a list of decoded fields; `unchanged` = the block left the table as it was. The second time such
    /// a block comes it is remembered.
    pub(super) fn learn(
        &mut self,
        shared: &mut Shared,
        (generation, unchanged): (u32, bool),
        (wanted, origin): (Wanted, u64),
        bytes: &[u8],
        fields: &Fields,
    ) -> Arc<List> {
        if !unchanged || bytes.len() > LONGEST || !self.came_before(shared, bytes) {
            return Arc::new(List::read(0, fields, wanted));
        }
        let list = shared.list(fields, wanted, origin);
        if matches!(list.content, Content::Malformed(_)) {
            return list;
        }
        let block = Block { generation, wanted, bytes: bytes.into(), list: Arc::clone(&list) };
        if self.blocks.len() < BLOCKS {
            self.blocks.push(block);
        } else {
            self.blocks[usize::from(self.next) % BLOCKS] = block;
            self.next = self.next.wrapping_add(1);
        }
        list
    }

    fn came_before(&mut self, shared: &Shared, bytes: &[u8]) -> bool {
        // 0 stands for none.
        let hash = (shared.hasher.hash_one(bytes) as u32).max(1);
        if self.once.contains(&hash) {
            return true;
        }
        self.once[usize::from(self.next_once) % self.once.len()] = hash;
        self.next_once = self.next_once.wrapping_add(1);
        false
    }
}
