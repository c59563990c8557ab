//! Bodies on their way: at once as far as windows and output allow, the rest when there is room again.
//!
//! What a peer sent is given back to its windows only as it is passed on, so a slow reader makes the gateway
//! hold no more than one stream's window.

use std::sync::Arc;

use super::call::{End, Pending, Side, Stage};
use super::list::List;
use super::state::State;
use crate::reject::Rejection;

/// Unsent output of a connection above which bodies wait.
const HIGH_WATER: usize = 256 << 10;
/// How much of one body is sent before it is the next one's turn.
const QUANTUM: usize = 16 << 10;

impl State {
    /// A part of a body goes towards `to`. `flow` = what the part costs its sender's windows.
    pub(super) fn forward(&mut self, at: u32, to: Side, bytes: &[u8], end: bool, flow: u32) {
        if let Some(rejection) = self.scan(at, to, bytes) {
            self.release(at, to.other(), flow, false);
            self.reject(at, &rejection);
            return;
        }
        let padding = flow.saturating_sub(bytes.len() as u32);
        let Some(call) = self.calls.get_mut(at) else { return };
        let Some(leg) = call.leg(to) else {
            self.hold(at, bytes, end, flow);
            return;
        };
        let (conn, key, free) = (leg.conn, leg.key, leg.pending.is_none());
        let taken = if free { self.send(conn, key, bytes, end) } else { 0 };
        let whole = free && taken == bytes.len();
        self.remember(at, to, &bytes[..taken]);
        // First: with its end the call may be gone, and then nobody would give these bytes back.
        self.release(at, to.other(), padding + taken as u32, !whole);
        if !whole {
            self.put_off(at, to, &bytes[taken..], end.then_some(End::Plain));
        } else if end {
            self.ended(at, to);
        }
    }

    /// Counts the messages that begin in these bytes. With them the body may be longer than the route's
    /// `max_body_bytes`, or a message longer than the engine's `max_message_bytes`.
    fn scan(&mut self, at: u32, to: Side, bytes: &[u8]) -> Option<Rejection> {
        let call = self.calls.get_mut(at)?;
        let scanners = call.scanners.as_mut()?;
        if let (Side::Up, Some(limit)) = (to, scanners.max_body) {
            scanners.body += bytes.len() as u64;
            if scanners.body > limit {
                return Some(Rejection::BodyTooLarge { limit });
            }
        }
        if !scanners.grpc {
            return None;
        }
        let max = scanners.max_message;
        let scanner = if to == Side::Up { &mut scanners.up } else { &mut scanners.down };
        match (scanner.feed(bytes, max), &mut call.record) {
            (Ok(0), _) | (Ok(_), None) => None,
            (Ok(begun), Some(record)) => {
                match to {
                    Side::Up => record.messages_received(begun),
                    Side::Down => record.messages_sent(begun),
                }
                None
            }
            (Err(_), _) => Some(Rejection::MessageTooLarge { limit: max.unwrap_or_default() }),
        }
    }

    /// A part of a request that has no engine (yet).
    fn hold(&mut self, at: u32, bytes: &[u8], end: bool, flow: u32) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let wanted = match &mut call.stage {
            Stage::Slot(_) | Stage::Connection | Stage::Pause => true,
            Stage::Bridge(bridge) => {
                bridge.wake_body();
                true
            }
            Stage::Engine | Stage::Dismissed(_) | Stage::Over | Stage::TurnedDown(_) => false,
        };
        if wanted {
            let held = call.held.get_or_insert_default();
            held.push(bytes);
            if end {
                held.end = Some(End::Plain);
            }
        }
        let dropped = if wanted { flow.saturating_sub(bytes.len() as u32) } else { flow };
        self.release(at, Side::Down, dropped, wanted);
    }

    fn send(&mut self, conn: u32, key: crate::h2::Key, bytes: &[u8], end: bool) -> usize {
        let Some(h2) = self.h2(conn) else { return 0 };
        let room = HIGH_WATER.saturating_sub(h2.out().len());
        h2.send_data(key, bytes, end, room)
    }

    /// A body ends with trailers.
    pub(super) fn forward_trailers(&mut self, at: u32, to: Side, trailers: &Arc<List>) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let end = || Some(End::Trailers(Arc::clone(trailers)));
        match call.leg(to) {
            None => self.hold_end(at, end()),
            Some(leg) if leg.pending.is_some() => self.put_off(at, to, b"", end()),
            Some(leg) => {
                let (conn, key) = (leg.conn, leg.key);
                self.send_list(conn, key, trailers, true);
                self.ended(at, to);
            }
        }
    }

    fn hold_end(&mut self, at: u32, end: Option<End>) {
        let Some(call) = self.calls.get_mut(at) else { return };
        if let Stage::Bridge(bridge) = &mut call.stage {
            bridge.wake_body();
        }
        if !matches!(call.stage, Stage::Engine | Stage::Dismissed(_) | Stage::Over) {
            call.held.get_or_insert_default().end = end;
        }
    }

    /// Keeps what does not fit, and lines the call up if it is the connection that has no room. A stream
    /// without a window is told of by its peer.
    pub(super) fn put_off(&mut self, at: u32, to: Side, bytes: &[u8], end: Option<End>) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let Some(leg) = call.leg(to) else { return };
        let pending = leg.pending.get_or_insert_default();
        pending.push(bytes);
        if end.is_some() {
            pending.end = end;
        }
        self.line_up(at, to);
    }

    fn line_up(&mut self, at: u32, to: Side) {
        let Some(leg) = self.calls.get_mut(at).and_then(|call| call.leg(to)) else { return };
        let Some(conn) = self.conns.get_mut(leg.conn) else { return };
        // Both are asked, so that the peer's word is waited for where it is needed.
        conn.h2.connection_has_window();
        if conn.h2.has_window(leg.key) && !leg.queued {
            leg.queued = true;
            conn.waiting.push_back(at);
        }
    }

    /// Sends what was put off, a quantum of each call in turn, until there is no room.
    pub(super) fn drain_waiting(&mut self, at: u32) {
        let side = match self.conns.get_mut(at) {
            Some(conn) if conn.downstream().is_some() => Side::Down,
            Some(_) => Side::Up,
            None => return,
        };
        while let Some(conn) = self.conns.get_mut(at)
            && conn.h2.out().len() < HIGH_WATER
            && conn.h2.connection_has_window()
            && let Some(call) = conn.waiting.pop_front()
        {
            let leg = self.calls.get_mut(call).and_then(|call| call.leg(side));
            // The number may belong to another call by now, which is in line itself or has nothing to send.
            let Some(leg) = leg.filter(|leg| leg.conn == at && leg.queued) else { continue };
            leg.queued = false;
            self.drain(call, side, QUANTUM);
            self.line_up_if_pending(call, side);
        }
    }

    fn line_up_if_pending(&mut self, at: u32, side: Side) {
        let leg = self.calls.get_mut(at).and_then(|call| call.leg(side));
        if leg.is_some_and(|leg| leg.pending.is_some()) {
            self.line_up(at, side);
        }
    }

    /// Sends what was put off for one call, as far as it goes.
    pub(super) fn drain_call(&mut self, at: u32, side: Side) {
        let leg = self.calls.get_mut(at).and_then(|call| call.leg(side));
        if leg.is_some_and(|leg| !leg.queued && leg.pending.is_some()) {
            self.drain(at, side, QUANTUM);
            self.line_up_if_pending(at, side);
        }
    }

    fn drain(&mut self, at: u32, side: Side, most: usize) {
        let Some(leg) = self.calls.get_mut(at).and_then(|call| call.leg(side)) else { return };
        let (conn, key) = (leg.conn, leg.key);
        let Some(mut pending) = leg.pending.take() else { return };
        let left = pending.left().len();
        let now = left.min(most);
        let end = now == left && matches!(pending.end, Some(End::Plain));
        let taken = if now > 0 || end {
            let part = pending.at..pending.at + now;
            let taken = self.send(conn, key, &pending.bytes[part], end);
            self.remember(at, side, &pending.bytes[pending.at..pending.at + taken]);
            taken
        } else {
            0
        };
        pending.at += taken;
        let again = taken.min(pending.credited);
        pending.credited -= again;
        let rest = left - taken;
        // First, as in `forward`.
        self.release(at, side.other(), (taken - again) as u32, rest > 0);
        if rest > 0 {
            self.put_back(at, side, pending);
        } else if let Some(End::Trailers(trailers)) = &pending.end {
            self.send_list(conn, key, trailers, true);
            self.ended(at, side);
        } else if end {
            self.ended(at, side);
        }
        if rest == 0
            && let Some(call) = self.calls.get_mut(at)
            && let Stage::Bridge(bridge) = &mut call.stage
        {
            bridge.wake_room();
        }
    }

    /// Keeps what was sent to the engine, as long as it may have to be sent to another.
    fn remember(&mut self, at: u32, to: Side, bytes: &[u8]) {
        if to == Side::Down || bytes.is_empty() {
            return;
        }
        let Some(call) = self.calls.get_mut(at) else { return };
        let Some(replay) = &mut call.attempts.replay else { return };
        let most = call.route.as_ref().map_or(0, |route| route.retry.buffer);
        if replay.len() + bytes.len() > most {
            call.attempts.replay = None;
        } else {
            replay.extend_from_slice(bytes);
        }
    }

    fn put_back(&mut self, at: u32, side: Side, pending: Box<Pending>) {
        if let Some(leg) = self.calls.get_mut(at).and_then(|call| call.leg(side)) {
            leg.pending = Some(pending);
        }
    }

    /// `flow` bytes that came from `side` have been taken.
    pub(super) fn release(&mut self, at: u32, side: Side, flow: u32, behind: bool) {
        if flow == 0 {
            return;
        }
        let Some(leg) = self.calls.get_mut(at).and_then(|call| call.leg(side)) else { return };
        let (conn, key) = (leg.conn, leg.key);
        self.release_on(conn, key, flow, behind);
    }

    /// The same, where there is no call (any more).
    pub(super) fn release_on(&mut self, conn: u32, key: crate::h2::Key, flow: u32, behind: bool) {
        let Some(at) = self.conns.get_mut(conn) else { return };
        at.h2.release(key, flow, behind);
        if !at.h2.out().is_empty() {
            self.touch(conn);
        }
    }
}
