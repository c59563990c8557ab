//! Another attempt: when the call can be sent once more, and where.

use std::time::Duration;

use super::call::{Call, Pending, Stage};
use super::list::Response;
use super::state::State;
use crate::admit::{Admission, Ask, Permit, admit};
use crate::grpc::MessageScanner;
use crate::h2::error as code;
use crate::retry::Failed;

/// Up to this length, and for this time, the body of an answer is read that the caller does not get: its
/// engine has then ended the call, and the slot is free at once.
const SHORT: usize = 65_536;
const READ_TIME: Duration = Duration::from_millis(100);

/// An answer that the caller does not get.
pub(super) struct TurnedDown {
    /// Before the next attempt.
    pause: Duration,
    read: usize,
}

impl State {
    /// Takes a call back from an engine that has not seen it, or has ended it without an answer, and begins
    /// again. False if it cannot be sent again.
    pub(super) fn try_again(&mut self, at: u32, failed: Failed) -> bool {
        let Some(pause) = self.pause_before(at, failed) else { return false };
        self.go_again(at, pause, failed == Failed::Unseen);
        true
    }

    /// Whether policy, budget and deadline allow another attempt, and all that was sent of the request is at
    /// hand; the pause before it.
    fn pause_before(&mut self, at: u32, failed: Failed) -> Option<Duration> {
        let now = self.now;
        let call = self.calls.get_mut(at)?;
        let route = call.route.clone()?;
        // None after the head of an answer, too.
        call.attempts.replay.as_ref()?;
        let rules = (&route.retry, &*route.budget);
        let seed = fastrand::u64(..);
        let pause = call.attempts.tries.again(rules, failed, now, call.deadline, seed)?;
        if let Some(record) = &mut call.record {
            record.tries_again(Some(failed), now);
        }
        Some(pause)
    }

    /// `keep` = the call may use its slot again, where no other endpoint has a free one.
    fn go_again(&mut self, at: u32, pause: Duration, keep: bool) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(at) else { return };
        let permit = call.take_back();
        self.leave_engine(at, code::CANCEL);
        if !pause.is_zero() {
            drop(permit);
            self.set_timer(at, Some(now + pause));
            return;
        }
        match permit.filter(|_| keep) {
            Some(permit) => self.go_elsewhere(at, permit),
            None => self.ask(at),
        }
    }

    /// Another endpoint, if one has a free slot; else the one the call has.
    fn go_elsewhere(&mut self, at: u32, permit: Permit) {
        let Some(call) = self.calls.get(at) else { return };
        let Some(engine) = &call.engine else { return };
        let hash = self.hash_of(at, engine);
        let ask = Ask { hash, ..Ask::new(&call.attempts.failed, fastrand::u64(..)) };
        let other = match admit(engine, &ask) {
            Admission::Granted(other) => Some(other),
            // A place in line is left at once.
            Admission::Waiting(_) | Admission::Refused(_) => None,
        };
        self.granted(at, other.unwrap_or(permit));
    }

    /// Whether an answer with this status is not passed on, because there is another attempt. A gRPC answer
    /// must be nothing but its status: what comes after a head has been seen.
    pub(super) fn turned_down(&mut self, at: u32, answer: Response, end: bool) -> bool {
        let now = self.now;
        let Some(call) = self.calls.get_mut(at) else { return false };
        let Some(route) = &call.route else { return false };
        let failed = match answer.grpc_status.filter(|_| call.grpc && end) {
            Some(status) => Failed::Grpc(status),
            None => Failed::Http(answer.status),
        };
        if !route.retry.is_on() || !route.retry.lists(failed) {
            return false;
        }
        let Some(pause) = self.pause_before(at, failed) else { return false };
        if end {
            self.go_again(at, pause, false);
        } else if let Some(call) = self.calls.get_mut(at) {
            call.stage = Stage::TurnedDown(Box::new(TurnedDown { pause, read: 0 }));
            self.set_timer(at, Some(now + READ_TIME));
        }
        true
    }

    /// More of an answer that the caller does not get.
    pub(super) fn read_turned_down(&mut self, at: u32, bytes: usize, end: bool) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let Stage::TurnedDown(turned_down) = &mut call.stage else { return };
        turned_down.read += bytes;
        let pause = turned_down.pause;
        if end {
            self.go_again(at, pause, false);
        } else if turned_down.read > SHORT {
            self.end_turned_down(at);
        }
    }

    /// It has been read for long enough: what is left is broken off, and the slot rests.
    pub(super) fn end_turned_down(&mut self, at: u32) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let Stage::TurnedDown(turned_down) = &call.stage else { return };
        let pause = turned_down.pause;
        if let Some(permit) = call.permit.take() {
            call.attempts.failed.add(permit.endpoint().id());
            super::end::rest(permit);
        }
        self.go_again(at, pause, false);
    }
}

impl Call {
    /// Everything the engine was sent is held for the next one. Returns the slot.
    fn take_back(&mut self) -> Option<Permit> {
        let sent = self.attempts.replay.replace(Vec::new()).unwrap_or_default();
        let unsent = self.up.as_mut().and_then(|up| up.pending.take());
        self.held = Pending::again(sent, unsent, self.request_ended);
        self.stage = Stage::Pause;
        if let Some(scanners) = &mut self.scanners {
            scanners.down = MessageScanner::default();
        }
        let permit = self.permit.take();
        if let Some(permit) = &permit {
            self.attempts.failed.add(permit.endpoint().id());
        }
        permit
    }
}
