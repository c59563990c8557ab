//! Header blocks become lists: decoded, or found among those that came before.

use std::sync::Arc;

use super::list::{Content, List, Wanted};
use super::state::State;
use crate::h2::Error;
use crate::h2::error as code;
use crate::h2::hpack::DecodeError;

/// What a block was.
pub(super) enum Block {
    List(Arc<List>),
    /// More fields than are allowed; what was read of them is in `State::fields`.
    TooLarge,
    /// It breaks a rule of RFC 9113, section 8.
    Malformed(&'static str),
}

impl State {
    /// Reads a block. Every block must be read, also one that nobody waits for, or the decoder's table no
    /// longer is the peer's.
    pub(super) fn read_block(
        &mut self,
        at: u32,
        bytes: &[u8],
        wanted: Wanted,
    ) -> Result<Block, Error> {
        let Some(conn) = self.conns.get_mut(at) else { return Ok(Block::Malformed("gone")) };
        let before = conn.h2.decoder_generation();
        if let Some(list) = conn.seen.find(before, wanted, bytes) {
            return Ok(Block::List(list));
        }
        self.fields.clear();
        match conn.h2.decode(bytes, &mut self.fields) {
            Ok(()) => {}
            Err(DecodeError::TooLarge) => return Ok(Block::TooLarge),
            Err(DecodeError::Malformed(why)) => {
                return Err(conn.h2.fail(code::COMPRESSION_ERROR, why));
            }
        }
        let after = conn.h2.decoder_generation();
        let origin = conn.origin();
        let table = (after, after == before);
        let what = (wanted, origin);
        let list = conn.seen.learn(&mut self.shared, table, what, bytes, &self.fields);
        Ok(match &list.content {
            Content::Malformed(why) => Block::Malformed(why),
            _ => Block::List(list),
        })
    }
}
