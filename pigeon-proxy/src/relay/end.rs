//! How a call ends: carried to its end, broken off by either side, or tried again elsewhere.

use std::time::Duration;

use super::call::{Call, End, Leg, Pending, Side, Stage};
use super::state::State;
use crate::admit::Permit;
use crate::h2::error as code;
use crate::reject::Rejection;
use crate::retry::Failed;

impl State {
    /// END_STREAM was sent towards `side`.
    pub(super) fn ended(&mut self, at: u32, side: Side) {
        let leg = self.calls.get_mut(at).and_then(|call| call.leg(side));
        if let Some(leg) = leg {
            leg.ended = true;
        }
        self.settle(at);
    }

    /// Leaves the engine if it has ended the call and needs no more of it, and forgets the call once its
    /// answer has been sent whole. An HTTP request may go on after its answer; a gRPC call is over with its
    /// status (gRPC over HTTP/2, "Responses").
    pub(super) fn settle(&mut self, at: u32) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let needless = call.grpc || call.up.as_ref().is_some_and(|up| up.ended);
        if call.answer_ended && call.up.is_some() && needless {
            self.leave_engine(at, code::NO_ERROR);
        }
        let Some(call) = self.calls.get_mut(at) else { return };
        if call.down.ended && call.up.is_none() {
            if let Some(record) = &mut call.record {
                record.complete();
            }
            self.remove(at, code::NO_ERROR);
        }
    }

    /// The call leaves its engine: its stream there is reset, unless it has ended by itself.
    pub(super) fn leave_engine(&mut self, at: u32, code: u32) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let Some(leg) = call.up.take() else { return };
        let down = (call.down.conn, call.down.key);
        // What still waits for the client no longer holds up the engine's connection.
        let waiting = call.down.pending.as_mut().map_or(0, |pending| pending.credit());
        let dropped = leg.pending.as_ref().map_or(0, |pending| pending.owed());
        self.release_on(leg.conn, leg.key, waiting, true);
        self.release_on(down.0, down.1, dropped, false);
        self.close_leg(&leg, code);
        self.left_upstream(leg.conn);
    }

    /// Resets a stream that is still open.
    fn close_leg(&mut self, leg: &Leg, code: u32) {
        if let Some(conn) = self.conns.get_mut(leg.conn)
            && conn.h2.is_open(leg.key)
        {
            conn.h2.reset(leg.key, code);
            self.touch(leg.conn);
        }
    }

    /// We break the call off at its engine, which needs a moment to notice: the slot rests.
    pub(super) fn break_off(&mut self, at: u32, code: u32) {
        self.leave_engine(at, code);
        if let Some(permit) = self.calls.get_mut(at).and_then(|call| call.permit.take()) {
            rest(permit);
        }
    }

    /// The client went away.
    pub(super) fn abandon(&mut self, at: u32) {
        self.stop_waiting(at);
        self.remove(at, code::CANCEL);
    }

    /// Ends whatever the call waits for; a slot that no engine has seen in use is free at once.
    pub(super) fn stop_waiting(&mut self, at: u32) {
        let Some(call) = self.calls.get_mut(at) else { return };
        match &call.stage {
            Stage::Slot(task) => task.abort(),
            Stage::Bridge(bridge) => bridge.task.abort(),
            Stage::Engine | Stage::TurnedDown(_) => self.break_off(at, code::CANCEL),
            // The slot goes with the call.
            Stage::Connection | Stage::Pause | Stage::Dismissed(_) | Stage::Over => {}
        }
    }

    /// Forgets a call; what is left of its streams is reset.
    pub(super) fn remove(&mut self, at: u32, code: u32) {
        self.leave_engine(at, code);
        self.set_timer(at, None);
        let Some(call) = self.calls.remove(at) else { return };
        let Call { down, held, .. } = &*call;
        let owed = held.as_ref().map_or(0, |held| held.owed());
        self.release_on(down.conn, down.key, owed, false);
        self.close_leg(down, code);
        self.close_if_drained(down.conn);
    }

    /// The engine reset the call's stream, or its connection is gone. `unseen` = it has provably not looked
    /// at the call, so that another may.
    pub(super) fn engine_reset(&mut self, at: u32, code: Option<u32>, unseen: bool) {
        let Some(call) = self.calls.get_mut(at) else { return };
        if call.answer_ended {
            // It needs no more of the request (RFC 9113, section 8.1).
            self.leave_engine(at, code::NO_ERROR);
            self.settle(at);
            return;
        }
        let deadline = call.deadline;
        let failed = if unseen { Failed::Unseen } else { Failed::Reset };
        if !self.try_again(at, failed) {
            // The engine has ended the call, so its slot is free at once.
            let permit = self.calls.get_mut(at).and_then(|call| call.permit.take());
            drop(permit);
            let rejection = Rejection::EngineReset { code }.or_deadline(deadline, self.now);
            self.reject(at, &rejection);
        }
    }

    /// What the engine sent is not HTTP/2.
    pub(super) fn engine_broke_rules(&mut self, at: u32, why: &'static str) {
        tracing::debug!(why, "an engine's answer was refused");
        self.break_off(at, code::PROTOCOL_ERROR);
        self.reject(at, &Rejection::EngineProtocolError);
    }

    /// The time that was set for the call has come.
    pub(super) fn timer_fired(&mut self, at: u32) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(at) else { return };
        call.timer = None;
        let deadline = call.deadline;
        match &call.stage {
            Stage::Dismissed(stop) => {
                let stop = (**stop).clone();
                self.send_own(at, &stop);
            }
            Stage::Over => {}
            _ if deadline.is_some_and(|deadline| deadline <= now) => {
                self.reject(at, &Rejection::Deadline);
            }
            Stage::TurnedDown(_) => {
                self.set_timer(at, deadline);
                self.end_turned_down(at);
            }
            Stage::Pause => {
                self.set_timer(at, deadline);
                self.ask(at);
            }
            _ => self.set_timer(at, deadline),
        }
    }
}

impl Pending {
    /// Counts all of it as given back to its sender; returns how much was not yet.
    fn credit(&mut self) -> u32 {
        let owed = self.owed();
        self.credited = self.left().len();
        owed
    }

    /// What was sent already comes again, before what was not.
    pub(super) fn again(
        sent: Vec<u8>,
        unsent: Option<Box<Self>>,
        ended: bool,
    ) -> Option<Box<Self>> {
        if sent.is_empty() && unsent.is_none() {
            return None;
        }
        let mut unsent = unsent.unwrap_or_default();
        let credited = sent.len() + unsent.credited;
        let mut bytes = sent;
        bytes.extend_from_slice(unsent.left());
        let end = unsent.end.take().or(ended.then_some(End::Plain));
        Some(Box::new(Self { bytes, at: 0, credited, end }))
    }
}

/// Gives a slot back after its rest.
pub(super) fn rest(permit: Permit) {
    let rest = permit.rest();
    let time: Duration = rest.time();
    if !time.is_zero() {
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            drop(rest);
        });
    }
}
