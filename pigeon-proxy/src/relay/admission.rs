//! A slot for a call: at once, after waiting in line, or not at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::Relay;
use super::call::Stage;
use super::slab::Ref;
use super::state::State;
use crate::admit::{Admission, Ask, Permit, Refusal, Share, Waiting, admit};
use crate::engine::Engine;
use crate::reject::Rejection;
use crate::table::hash_of;

/// How often a waiting call looks whether an endpoint that was avoided in the meantime may be tried again:
/// nothing else tells when that time is over.
const RECHECK: Duration = Duration::from_secs(1);

impl State {
    /// Asks for a slot.
    pub(super) fn ask(&mut self, at: u32) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let Some(engine) = call.engine.clone() else { return };
        if call.deadline.is_some_and(|deadline| deadline <= self.now) {
            self.reject(at, &Rejection::Deadline);
            return;
        }
        let hash = self.hash_of(at, &engine);
        let Some(call) = self.calls.get_mut(at) else { return };
        let attempts = &call.attempts;
        // At an endpoint that has not failed the call if one has a free slot, else at any.
        if attempts.failed != attempts.unreachable
            && let Admission::Granted(permit) =
                admit(&engine, &Ask { hash, ..Ask::new(&attempts.failed, fastrand::u64(..)) })
        {
            self.granted(at, permit);
            return;
        }
        let new = Ask::new(&attempts.unreachable, fastrand::u64(..));
        match admit(&engine, &Ask { place: attempts.place, hash, ..new }) {
            Admission::Granted(permit) => self.granted(at, permit),
            Admission::Refused(refusal) => self.reject(at, &rejection(refusal)),
            Admission::Waiting(waiting) => self.line_up_for_slot(at, &engine, waiting),
        }
    }

    /// What `balance: hash` goes by.
    pub(super) fn hash_of(&self, at: u32, engine: &Engine) -> Option<u64> {
        let settings = engine.settings();
        let key = settings.hash_key.as_ref()?;
        let call = self.calls.get(at)?;
        let peer = self.conns.get(call.down.conn)?.downstream()?.client.peer;
        let tenant = call.identity.as_ref().and_then(|identity| identity.tenant.as_ref());
        hash_of(key, |name| call.head.fields.get(name.as_bytes()), (peer, tenant))
    }

    fn line_up_for_slot(&mut self, at: u32, engine: &Arc<Engine>, waiting: Waiting) {
        let Some(reference) = self.calls.reference(at) else { return };
        let (Some(call), Some(relay)) = (self.calls.get_mut(at), self.me.upgrade()) else { return };
        if let Some(record) = &mut call.record {
            record.waits(self.now);
        }
        call.attempts.place = Some(waiting.ticket());
        let queue_timeout = engine.settings().pool.queue_timeout.duration();
        let until = *call.attempts.queue_until.get_or_insert(self.now + queue_timeout);
        let waits = wait(relay, reference, waiting, Arc::clone(engine), until);
        call.stage = Stage::Slot(tokio::spawn(waits).abort_handle());
    }

    /// The call holds a slot.
    pub(super) fn granted(&mut self, at: u32, permit: Permit) {
        let Some(call) = self.calls.get_mut(at) else { return };
        if let Some(record) = &mut call.record {
            record.goes_to(permit.endpoint());
        }
        call.permit = Some(permit);
        call.stage = Stage::Connection;
        self.connect(at);
    }

    /// The waiting of a call is over, if it still waits.
    fn waited(&mut self, reference: Ref, granted: Result<Permit, Rejection>) {
        let now = self.now;
        let Some(call) = self.calls.find(reference) else { return };
        if !matches!(call.stage, Stage::Slot(_)) {
            return;
        }
        if let Some(record) = &mut call.record {
            record.waited(now);
        }
        match granted {
            Ok(permit) => self.granted(reference.at, permit),
            Err(rejection) => self.reject(reference.at, &rejection),
        }
    }
}

/// Waits in line until there is a slot, the time is over, or the task is ended with its call. The call's own
/// deadline ends it from outside.
async fn wait(
    relay: Arc<Relay>,
    call: Ref,
    mut waiting: Waiting,
    engine: Arc<Engine>,
    until: Instant,
) {
    let granted = loop {
        let recheck = Instant::now() + waiting.recheck().unwrap_or(RECHECK);
        tokio::select! {
            biased;
            granted = &mut waiting => break granted.map_err(rejection),
            () = sleep_until(until.into()) => {
                break Err(Rejection::Saturated { retry: engine.retry_hint(Share::default()) });
            }
            () = sleep_until(recheck.into()) => engine.serve_line(),
        }
    };
    drop(waiting);
    relay.turn(|state| state.waited(call, granted));
}

fn rejection(refusal: Refusal) -> Rejection {
    match refusal {
        Refusal::NoEndpoint => Rejection::NoEndpoint,
        Refusal::AllTried => Rejection::ConnectFailed,
        Refusal::QueueFull { retry } => Rejection::Saturated { retry },
    }
}
