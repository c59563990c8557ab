//! Waiting for a slot: the timers around [`crate::admit`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use crate::admit::{Admission, Ask, Permit, Refusal, Share, Tried, Waiting, admit};
use crate::engine::Engine;
use crate::record::Record;
use crate::reject::Rejection;

/// How often a waiting call looks whether an endpoint that was avoided in the meantime may be tried again:
/// nothing else tells when that time is over.
const RECHECK: Duration = Duration::from_secs(1);

/// One call's way to a slot, over several endpoints if some cannot be reached or have failed it.
pub(crate) struct Admitting {
    engine: Arc<Engine>,
    /// Endpoints that could not be reached: the call does not go there again.
    unreachable: Tried,
    /// These, and the endpoints that have failed the call: it goes there only if there is no other.
    failed: Tried,
    /// What `balance: hash` goes by.
    hash: Option<u64>,
    place: Option<u64>,
    /// The end of the waiting by `pool.queue_timeout`, once the call has waited.
    queue_until: Option<Instant>,
    /// When the call must be over.
    deadline: Option<Instant>,
}

impl Admitting {
    pub(crate) fn new(engine: Arc<Engine>, hash: Option<u64>, deadline: Option<Instant>) -> Self {
        let (unreachable, failed) = (Tried::default(), Tried::default());
        Self { engine, unreachable, failed, hash, place: None, queue_until: None, deadline }
    }

    fn ask<'t>(&self, tried: &'t Tried) -> Ask<'t> {
        Ask { hash: self.hash, ..Ask::new(tried, fastrand::u64(..)) }
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The endpoint could not be reached.
    pub(crate) fn not_reached(&mut self, endpoint: u64) {
        self.unreachable.add(endpoint);
        self.failed.add(endpoint);
    }

    /// The endpoint was reached, and the call is to be tried again.
    pub(super) fn failed(&mut self, endpoint: u64) {
        self.failed.add(endpoint);
    }

    /// A slot, now or after waiting.
    pub(crate) async fn slot(&mut self, record: &mut Record) -> Result<Permit, Rejection> {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Rejection::Deadline);
        }
        if let Some(permit) = self.elsewhere() {
            return Ok(permit);
        }
        let ask = Ask { place: self.place, ..self.ask(&self.unreachable) };
        match admit(&self.engine, &ask) {
            Admission::Granted(permit) => Ok(permit),
            Admission::Refused(refusal) => Err(rejection(refusal)),
            Admission::Waiting(waiting) => {
                record.waits(now);
                let granted = self.wait(waiting, now).await;
                record.waited(Instant::now());
                granted
            }
        }
    }

    /// A slot of an endpoint that has not failed the call, if one is free.
    pub(super) fn elsewhere(&self) -> Option<Permit> {
        if self.failed == self.unreachable {
            return None;
        }
        match admit(&self.engine, &self.ask(&self.failed)) {
            Admission::Granted(permit) => Some(permit),
            // A place in line is left at once: another endpoint may have a slot now.
            Admission::Waiting(_) | Admission::Refused(_) => None,
        }
    }

    async fn wait(&mut self, mut waiting: Waiting, now: Instant) -> Result<Permit, Rejection> {
        self.place = Some(waiting.ticket());
        let queue_timeout = self.engine.settings().pool.queue_timeout.duration();
        let queue_until = *self.queue_until.get_or_insert(now + queue_timeout);
        let (until, at_deadline) = match self.deadline {
            Some(deadline) if deadline <= queue_until => (deadline, true),
            _ => (queue_until, false),
        };
        loop {
            let recheck = Instant::now() + waiting.recheck().unwrap_or(RECHECK);
            tokio::select! {
                biased;
                granted = &mut waiting => return granted.map_err(rejection),
                () = sleep_until(until.into()) => break,
                () = sleep_until(recheck.into()) => self.engine.serve_line(),
            }
        }
        Err(if at_deadline {
            Rejection::Deadline
        } else {
            Rejection::Saturated { retry: self.engine.retry_hint(Share::default()) }
        })
    }
}

fn rejection(refusal: Refusal) -> Rejection {
    match refusal {
        Refusal::NoEndpoint => Rejection::NoEndpoint,
        Refusal::AllTried => Rejection::ConnectFailed,
        Refusal::QueueFull { retry } => Rejection::Saturated { retry },
    }
}
