//! Passive health: endpoints that fail calls are left out for a growing time.
//!
//! An endpoint is ejected after `ejection.failures` failed calls in a row, or as an outlier
//! ([`super::outliers`]), for `time` × the number of its ejections so far, at most `max_time`; the number
//! begins anew once it stayed in service for `max_time`. Never more than `max_ejected` percent of the
//! endpoints, rounded down, are ejected at once. An endpoint that cannot be reached is not ejected but
//! avoided (`avoid.rs`), which notices sooner that it is back.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use pigeon_proto::model::Millis;

use super::condition::{Cause, flag};
use super::outcome::{Failure, Outcome};
use super::settings::us;
use super::{Endpoint, Engine, Member, Settings};

/// How a call's stay at an endpoint ended.
#[derive(Clone, Copy, Debug)]
pub struct Stay {
    /// How.
    pub outcome: Outcome,
    /// How long it had the slot, in microseconds.
    pub held_us: u64,
    /// When the first message of the response came, counted from when the call was sent there, in
    /// microseconds.
    pub first_message_us: Option<u64>,
}

impl Engine {
    /// A call's stay at `endpoint` is over; `now_us` by [`Engine::clock`]. Takes no lock unless it failed.
    pub fn ended(self: &Arc<Self>, endpoint: &Arc<Endpoint>, stay: &Stay, now_us: u64) {
        self.note_hold(stay.held_us);
        let failed = match stay.outcome {
            Outcome::Well => Some(false),
            Outcome::Failed(_) => Some(true),
            Outcome::Unknown => None,
        };
        endpoint.stats.ended(now_us, failed);
        if let Some(after) = stay.first_message_us {
            endpoint.stats.first_message(now_us, after);
        }
        match stay.outcome {
            Outcome::Well => {
                if endpoint.failed_in_a_row.load(Ordering::Relaxed) > 0 {
                    endpoint.failed_in_a_row.store(0, Ordering::Relaxed);
                }
            }
            Outcome::Failed(failure) => self.failed(endpoint, failure, now_us),
            Outcome::Unknown => {}
        }
    }

    #[cold]
    fn failed(&self, endpoint: &Arc<Endpoint>, failure: Failure, now_us: u64) {
        let row = endpoint.failed_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        let settings = self.settings.load();
        let most = settings.ejection.failures;
        if most > 0 && row >= most {
            let why = format_args!("{row} calls in a row failed, last: {failure}");
            self.eject(&settings, endpoint, (Cause::Failures, &why), now_us);
        }
    }

    /// Ejects an endpoint, unless enough are ejected already, or it is.
    pub(super) fn eject(
        &self,
        settings: &Settings,
        endpoint: &Arc<Endpoint>,
        (cause, why): (Cause, &dyn fmt::Display),
        now_us: u64,
    ) {
        // One at a time, so that two at once do not both take the last place.
        let _one = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        let known = settings.members.iter().any(|m| Arc::ptr_eq(&m.endpoint, endpoint));
        let ejected = |m: &&Member| m.endpoint.condition.ejected_until(now_us).is_some();
        let already = settings.members.iter().filter(ejected).count();
        let condition = &endpoint.condition;
        if !known || already >= most_ejected(settings) || condition.ejected_until(now_us).is_some()
        {
            return;
        }
        let mut words = condition.words();
        words.ejections = words.ejections.saturating_add(1);
        let time_us = us(settings.ejection.time)
            .saturating_mul(words.ejections.into())
            .min(us(settings.ejection.max_time));
        let time = Millis::new(time_us / 1_000);
        words.ejected = format!("{why}; ejected for {time}");
        words.ejected_cause = cause;
        drop(words);
        endpoint.failed_in_a_row.store(0, Ordering::Relaxed);
        condition.clear(flag::STARTING);
        condition.eject(now_us.saturating_add(time_us));
    }

    /// Lets endpoints back in when fewer may be ejected than are, those first that would return first.
    pub(super) fn keep_most_ejected(&self, settings: &Settings, now_us: u64) {
        let _one = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        let until = |m: &Member| {
            Some((m.endpoint.condition.ejected_until(now_us)?, Arc::clone(&m.endpoint)))
        };
        let mut ejected: Vec<_> = settings.members.iter().filter_map(until).collect();
        ejected.sort_by_key(|(until, _)| *until);
        let most = most_ejected(settings);
        let over = ejected.len().saturating_sub(most);
        for (_, endpoint) in &ejected[..over] {
            endpoint.condition.eject(now_us);
        }
    }
}

/// How many endpoints may be ejected at once.
fn most_ejected(settings: &Settings) -> usize {
    settings.members.len() * settings.ejection.max_ejected.min(100) as usize / 100
}
