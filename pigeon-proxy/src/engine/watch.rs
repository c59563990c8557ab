//! What happens to endpoints over time and not by a call: looked at once a second by [`crate::health`].

use std::sync::Arc;

use pigeon_proto::model::Millis;

use super::balance::WHOLE;
use super::condition::{Cause, State, flag};
use super::health::Verdict;
use super::outliers::outliers;
use super::settings::us;
use super::stats::Recent;
use super::{Endpoint, Engine, Member, Settings};

/// An endpoint's condition is another than it was when somebody looked last.
#[derive(Clone, Debug)]
pub struct Change {
    /// Whose.
    pub endpoint: Arc<Endpoint>,
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
    /// Why, in words; empty if it is healthy.
    pub reason: String,
}

/// How an endpoint does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// In one word.
    pub state: State,
    /// Why, in one word.
    pub cause: Cause,
    /// Why, for people; empty if it is healthy.
    pub reason: String,
}

impl Engine {
    /// Ends what is over (ejections, slow starts), ejects outliers, and says what has changed since the
    /// last look. Calls do not depend on it being called in time.
    pub fn look(self: &Arc<Self>) -> Vec<Change> {
        let now_us = self.clock.now_us();
        let settings = self.settings.load_full();
        self.eject_outliers(&settings, now_us);
        let mut returned = false;
        for member in &settings.members {
            returned |= end_what_is_over(&settings, &member.endpoint, now_us);
        }
        if returned {
            self.serve_line();
        }
        settings.members.iter().filter_map(|m| change(&settings, m, now_us)).collect()
    }

    fn eject_outliers(&self, settings: &Settings, now_us: u64) {
        if !settings.ejection.outliers {
            return;
        }
        let recent = |m: &Member| {
            let condition = &m.endpoint.condition;
            let counts = !m.is_out() && condition.flags() & flag::EJECTED == 0;
            if counts { m.endpoint.stats.recent(now_us) } else { Recent::default() }
        };
        let recent: Vec<_> = settings.members.iter().map(recent).collect();
        for found in outliers(&recent) {
            let Recent { calls, failures } = recent[found];
            let why = format_args!(
                "{failures} of {calls} calls of the last 10s failed, clearly more than elsewhere"
            );
            let endpoint = &settings.members[found].endpoint;
            self.eject(settings, endpoint, (Cause::Outlier, &why), now_us);
        }
    }

    /// What the checks of an endpoint came to.
    pub fn checked(self: &Arc<Self>, endpoint: &Endpoint, verdict: Verdict) {
        let condition = &endpoint.condition;
        match verdict {
            Verdict::Unhealthy(why) => {
                condition.words().unhealthy = why;
                condition.set(flag::UNHEALTHY);
            }
            Verdict::Healthy => {
                if condition.clear(flag::UNHEALTHY) {
                    self.begins(endpoint);
                }
            }
        }
        // Waiters may go there now, or need not wait for it any more.
        self.serve_line();
    }

    /// An endpoint takes calls from now on that did not before.
    pub(super) fn begins(&self, endpoint: &Endpoint) {
        if self.settings.load().slow_start_us > 0 {
            endpoint.condition.start(self.clock.now_us());
        }
    }

    /// How an endpoint does, and why.
    pub fn standing(&self, settings: &Settings, member: &Member) -> Standing {
        standing(settings, member, self.clock.now_us())
    }
}

/// True if it takes calls now that it did not take before.
fn end_what_is_over(settings: &Settings, endpoint: &Endpoint, now_us: u64) -> bool {
    let condition = &endpoint.condition;
    if let Some(over) = condition.ejection_over(now_us) {
        condition.words().returned_us = over;
        if settings.slow_start_us > 0 {
            condition.start(over);
        }
        condition.clear(flag::EJECTED);
        return true;
    }
    let flags = condition.flags();
    if flags & flag::STARTING != 0 && condition.started(now_us, settings.slow_start_us) == WHOLE {
        condition.clear(flag::STARTING);
    }
    if flags & flag::EJECTED == 0 {
        let mut words = condition.words();
        let in_service = now_us.saturating_sub(words.returned_us);
        if words.ejections > 0 && in_service >= us(settings.ejection.max_time) {
            words.ejections = 0;
        }
    }
    false
}

fn change(settings: &Settings, member: &Member, now_us: u64) -> Option<Change> {
    let Standing { state: to, reason, .. } = standing(settings, member, now_us);
    let from = std::mem::replace(&mut member.endpoint.condition.words().told, to);
    let endpoint = Arc::clone(&member.endpoint);
    (from != to).then_some(Change { endpoint, from, to, reason })
}

fn standing(settings: &Settings, member: &Member, now_us: u64) -> Standing {
    let (endpoint, condition) = (&member.endpoint, &member.endpoint.condition);
    let flags = condition.flags();
    let (state, cause, reason) = if member.drain {
        let reason = match settings.pool.drain_timeout {
            Some(timeout) => format!("set to drain; calls still there after {timeout} are reset"),
            None => "set to drain".to_owned(),
        };
        (State::Draining, Cause::Drain, reason)
    } else if flags & flag::UNHEALTHY != 0 {
        (State::Unhealthy, Cause::Check, condition.words().unhealthy.clone())
    } else if condition.ejected_until(now_us).is_some() {
        let words = condition.words();
        (State::Ejected, words.ejected_cause, words.ejected.clone())
    } else if flags & flag::AVOIDED != 0 && endpoint.avoid.is_set() {
        let reason = format!("cannot be reached: {}", condition.words().avoided);
        (State::Unhealthy, Cause::Unreachable, reason)
    } else if condition.started(now_us, settings.slow_start_us) < WHOLE {
        let time = Millis::new(settings.slow_start_us / 1_000);
        (State::Starting, Cause::SlowStart, format!("slow start over {time}"))
    } else {
        (State::Healthy, Cause::None, String::new())
    };
    Standing { state, cause, reason }
}
