//! What a connection's protocol tells, and whose it is.

use super::call::{Side, Stage};
use super::conn::Peer;
use super::list::{Content, Wanted};
use super::read::Block;
use super::state::State;
use crate::h2::error as code;
use crate::h2::{Error, Event, Key};

impl State {
    pub(super) fn event(&mut self, at: u32, event: Event<'_>) -> Result<(), Error> {
        let Some(conn) = self.conns.get_mut(at) else { return Ok(()) };
        let side = match &mut conn.peer {
            Peer::Client(_) => Side::Down,
            Peer::Engine(_) => Side::Up,
        };
        match (side, event) {
            (Side::Down, Event::Headers { stream, opened: true, end, block }) => {
                self.begin(at, stream, &block, end)?;
            }
            (Side::Down, Event::Headers { stream, block, .. }) => {
                self.client_trailers(at, stream, &block)?;
            }
            (Side::Up, Event::Headers { stream, end, block, .. }) => {
                self.engine_headers(at, stream, &block, end)?;
            }
            (Side::Down, Event::Data { stream, bytes, end, flow }) => {
                self.client_data(at, stream, bytes, end, flow);
            }
            (Side::Up, Event::Data { stream, bytes, end, flow }) => {
                self.engine_data(at, stream, bytes, end, flow);
            }
            (Side::Down, Event::Reset { tag, .. }) => self.abandon(tag),
            (Side::Up, Event::Reset { tag, code, local, .. }) => {
                self.engine_ended(tag, code, local)
            }
            (_, Event::Writable { stream }) => {
                if let Some(tag) = conn.h2.tag(stream) {
                    self.drain_call(tag, side);
                }
            }
            (_, Event::WritableAll) => self.drain_waiting(at),
            (Side::Up, Event::GoAway { last, .. }) => self.engine_leaves(at, last),
            (Side::Down, Event::GoAway { .. }) => {}
            (_, Event::Settings) => self.settings_came(at, side),
            (_, Event::Pong { .. }) => conn.pinged = None,
        }
        Ok(())
    }

    fn client_data(&mut self, conn: u32, key: Key, bytes: &[u8], end: bool, flow: u32) {
        let at = self.conns.get(conn).and_then(|conn| conn.h2.tag(key));
        let call = at.and_then(|at| self.calls.get_mut(at));
        let (Some(at), Some(call)) = (at, call) else {
            self.release_on(conn, key, flow, false);
            return;
        };
        call.request_ended |= end;
        if let Some(record) = &mut call.record {
            record.received(bytes.len());
        }
        self.forward(at, Side::Up, bytes, end, flow);
        if end {
            self.request_ended(at);
        }
    }

    fn client_trailers(&mut self, conn: u32, key: Key, block: &[u8]) -> Result<(), Error> {
        let block = self.read_block(conn, block, Wanted::Trailers)?;
        let Some(at) = self.conns.get(conn).and_then(|conn| conn.h2.tag(key)) else {
            return Ok(());
        };
        match block {
            Block::List(list) if matches!(list.content, Content::Trailers(_)) => {
                if let Some(call) = self.calls.get_mut(at) {
                    call.request_ended = true;
                }
                self.forward_trailers(at, Side::Up, &list.without_ours());
                self.request_ended(at);
            }
            Block::TooLarge => {
                self.reject(at, &crate::reject::Rejection::TooLarge);
            }
            Block::List(_) | Block::Malformed(_) => {
                self.stop_waiting(at);
                self.remove(at, code::PROTOCOL_ERROR);
            }
        }
        Ok(())
    }

    /// A request that we answer has been read to its end.
    fn request_ended(&mut self, at: u32) {
        let Some(call) = self.calls.get_mut(at) else { return };
        if let Stage::Dismissed(stop) = &call.stage {
            let stop = (**stop).clone();
            self.send_own(at, &stop);
        } else {
            self.settle(at);
        }
    }

    fn engine_ended(&mut self, at: u32, code: u32, local: bool) {
        if local {
            self.engine_broke_rules(at, "the stream broke a rule");
        } else {
            self.engine_reset(at, Some(code), code == code::REFUSED_STREAM);
        }
    }

    /// SETTINGS may have made the window of every stream larger.
    fn windows_opened(&mut self, at: u32, side: Side) {
        let Some(conn) = self.conns.get(at) else { return };
        let calls: Vec<u32> = conn.h2.iter_streams().map(|(_, tag)| tag).collect();
        for call in calls {
            self.drain_call(call, side);
        }
    }

    /// The engine takes no new calls on this connection, and has not seen those above `last`.
    fn engine_leaves(&mut self, at: u32, last: u32) {
        self.retire(at);
        let Some(conn) = self.conns.get(at) else { return };
        let unseen: Vec<u32> =
            conn.h2.iter_streams().filter(|(key, _)| key.id() > last).map(|(_, tag)| tag).collect();
        for call in unseen {
            self.engine_reset(call, None, true);
        }
        self.close_if_done(at);
    }

    fn settings_came(&mut self, at: u32, side: Side) {
        self.windows_opened(at, side);
        let Some(conn) = self.conns.get_mut(at) else { return };
        match &mut conn.peer {
            Peer::Client(downstream) => downstream.settings_seen = true,
            Peer::Engine(upstream) => {
                let id = upstream.endpoint.id();
                self.serve_pool(id);
            }
        }
    }
}
