//! Engines at run time: endpoints, their slots, the line before them, and the choice between them.
//!
//! An engine is shared by all workers and outlives the tables that name it: a change of the
//! configuration changes its [`Settings`] and keeps everything that is counted.

mod avoid;
pub mod balance;
mod clock;
mod condition;
mod ejection;
mod endpoint;
pub mod health;
pub mod lifetime;
mod outcome;
mod outliers;
mod registry;
mod settings;
mod stats;
mod watch;

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use pigeon_proto::model::{self, Address, Name, PoolMode};

use self::balance::Pick;
pub use self::clock::Clock;
pub(crate) use self::clock::scramble;
use self::condition::flag;
pub use self::condition::{Cause, State};
pub use self::ejection::Stay;
pub use self::endpoint::Endpoint;
pub use self::outcome::{Failure, Outcome};
pub use self::registry::Registry;
use self::settings::us;
pub use self::settings::{Member, Settings};
pub use self::stats::CLASSES;
pub use self::watch::{Change, Standing};
use crate::admit::{Grant, Permit, Queue, Refusal, Served, Share, Tried, Waiter, deliver};
use crate::tls::Outbound;

/// A named upstream service at run time. It and its endpoints hold each other until [`Engine::remove`].
#[derive(Debug)]
pub struct Engine {
    name: Name,
    clock: Clock,
    settings: ArcSwap<Settings>,
    queue: Queue<Waiter>,
    /// How long calls hold a slot, in microseconds: a moving average.
    hold_us: AtomicU64,
    calls: AtomicU64,
    failures: AtomicU64,
    /// Every endpoint somebody still holds, so that one that comes back finds its slots as they are.
    known: Mutex<HashMap<Address, Weak<Endpoint>>>,
    /// Held while one is ejected.
    ejecting: Mutex<()>,
    /// The free slots were handed to a successor: calls wait for it to give some back, whatever
    /// `pool.queue` says.
    handed_over: AtomicBool,
}

/// What trying to take a slot gave.
#[derive(Debug)]
pub(crate) enum Taken {
    Slot(Permit),
    Full,
    Refused(Refusal),
}

/// Calls that may wait at least while a successor has the free slots.
const HANDED_OVER_QUEUE: usize = 1_024;
const SHORTEST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

impl Engine {
    /// An engine without endpoints, until [`Engine::update`].
    pub fn new(name: Name, clock: Clock) -> Self {
        Self {
            name,
            clock,
            settings: ArcSwap::from_pointee(Settings::empty()),
            queue: Queue::default(),
            hold_us: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            known: Mutex::new(HashMap::new()),
            ejecting: Mutex::new(()),
            handed_over: AtomicBool::new(false),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The clock of all its times.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What the configuration says now. Not to be held for long: the guards of a thread are few.
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// Takes new settings over and serves the line by them: more slots wake waiters, fewer let nobody
    /// in until enough calls have ended, an endpoint that is gone gets no new calls.
    pub fn update(self: &Arc<Self>, spec: &model::Engine) {
        let before = self.settings.load();
        // As long as the configuration says the same of it, so do connections and what was read.
        let tls = spec.tls.as_ref().map(|spec| match &before.tls {
            Some(tls) if tls.spec() == spec => Arc::clone(tls),
            _ => Outbound::open(&self.name, spec),
        });
        let settings = Settings::new(spec, tls, |e| self.endpoint(&e.address));
        let now_us = self.clock.now_us();
        for (member, index) in settings.members.iter().zip(0..) {
            let endpoint = &member.endpoint;
            endpoint.index.store(index, Ordering::Relaxed);
            let same = |m: &Member| Arc::ptr_eq(&m.endpoint, endpoint) && !m.drain;
            // The first endpoints have nobody to leave calls to.
            let starts = !before.members.is_empty() && !before.members.iter().any(same);
            if starts && !member.drain && settings.slow_start_us > 0 {
                endpoint.condition.start(now_us);
            }
        }
        self.settings.store(Arc::new(settings));
        self.settled(now_us);
    }

    /// The engine is gone from the configuration: running calls go on, for `pool.drain_timeout` if that
    /// is set, and waiting ones are refused [`Refusal::NoEndpoint`] at once.
    pub fn remove(self: &Arc<Self>) {
        let before = self.settings.load();
        let (pool, tls) = (before.pool.clone(), before.tls.clone());
        self.settings.store(Arc::new(Settings { pool, tls, ..Settings::empty() }));
        self.settled(self.clock.now_us());
    }

    /// Brings what lives on in line with new settings.
    fn settled(self: &Arc<Self>, now_us: u64) {
        let settings = self.settings.load();
        let timeout_us = settings.pool.drain_timeout.map(us);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for endpoint in known.values().filter_map(Weak::upgrade) {
            let takes = |m: &Member| !m.drain && Arc::ptr_eq(&m.endpoint, &endpoint);
            endpoint.drain(!settings.members.iter().any(takes), now_us, timeout_us);
        }
        drop(known);
        self.keep_most_ejected(&settings, now_us);
        self.serve_line();
    }

    /// The endpoint of this address: the same as long as anybody holds it.
    fn endpoint(self: &Arc<Self>, address: &Address) -> Arc<Endpoint> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, endpoint| endpoint.strong_count() > 0);
        if let Some(endpoint) = known.get(address).and_then(Weak::upgrade) {
            return endpoint;
        }
        let endpoint = Arc::new(Endpoint::new(Arc::clone(self), address.clone()));
        known.insert(address.clone(), Arc::downgrade(&endpoint));
        endpoint
    }

    pub(crate) fn queue(&self) -> &Queue<Waiter> {
        &self.queue
    }

    /// How many calls may wait.
    pub(crate) fn queue_limit(&self) -> usize {
        let settings = self.settings.load();
        let queue = settings.pool.queue as usize;
        match self.handed_over.load(Ordering::Relaxed) {
            _ if settings.members.is_empty() => 0,
            true => queue.max(HANDED_OVER_QUEUE),
            false => queue,
        }
    }

    /// How long a slot rests after the gateway broke off its call.
    pub(crate) fn cancel_cooldown(&self) -> Duration {
        self.settings.load().pool.cancel_cooldown.duration()
    }

    /// Takes a slot of the endpoint that balancing chooses.
    pub(crate) fn try_take(self: &Arc<Self>, tried: &Tried, hash: Option<u64>, seed: u64) -> Taken {
        let settings = self.settings.load();
        // Read once, and only if somebody asks.
        let now = Cell::new(None);
        let now_us = || {
            now.get().unwrap_or_else(|| {
                now.set(Some(self.clock.now_us()));
                now.get().unwrap_or(0)
            })
        };
        let mut seed = seed;
        loop {
            let view = |i: usize| settings.members[i].view(tried, settings.slow_start_us, now_us);
            match balance::pick(&settings.rota, view, settings.balance, hash, seed) {
                Pick::Full => return Taken::Full,
                Pick::AllTried => return Taken::Refused(Refusal::AllTried),
                Pick::NoEndpoint => return Taken::Refused(Refusal::NoEndpoint),
                Pick::Endpoint { index, limit } => {
                    if let Some(permit) = self.take(&settings, index, limit, now_us) {
                        return Taken::Slot(permit);
                    }
                    // Another call was faster; look again.
                    seed = seed.wrapping_add(1);
                }
            }
        }
    }

    fn take(
        self: &Arc<Self>,
        settings: &Settings,
        index: usize,
        limit: u32,
        now_us: impl Fn() -> u64,
    ) -> Option<Permit> {
        let endpoint = &settings.members[index].endpoint;
        if !endpoint.slots.try_take(limit) {
            return None;
        }
        if endpoint.condition.flags() & flag::AVOIDED != 0 {
            endpoint.avoid.probe(now_us(), settings.pool.dial_timeout.duration());
        }
        Some(Permit::new(Arc::clone(endpoint)))
    }

    /// A permit ends: its slot is free, and the line is served. Why nobody is forgotten: queue.rs.
    pub(crate) fn release(self: &Arc<Self>, endpoint: &Arc<Endpoint>) {
        endpoint.slots.give_back();
        if self.queue.waiting() == 0 {
            return;
        }
        let freed = Cell::new(Some(endpoint));
        deliver(self.queue.serve(|ticket, waiter| {
            // Nearly always this is the one slot there is: among many endpoints it need not be sought.
            match freed.take().and_then(|freed| self.take_freed(freed, waiter)) {
                Some(permit) => Served::Grant(Ok(permit)),
                None => self.offer(ticket, waiter),
            }
        }));
    }

    /// A slot of the endpoint where one has just become free, if there is nothing to be weighed.
    fn take_freed(self: &Arc<Self>, endpoint: &Arc<Endpoint>, waiter: &Waiter) -> Option<Permit> {
        let settings = self.settings.load();
        let index = endpoint.index.load(Ordering::Relaxed) as usize;
        let member = settings.members.get(index).filter(|m| Arc::ptr_eq(&m.endpoint, endpoint))?;
        let plain = !member.drain && endpoint.condition.flags() == 0 && waiter.tried.is_empty();
        if !plain || settings.members.len() <= balance::SCAN || member.slots != member.limit {
            return None;
        }
        self.take(&settings, index, member.limit, || 0)
    }

    /// What there is for a waiter now.
    pub(crate) fn offer(self: &Arc<Self>, ticket: u64, waiter: &Waiter) -> Served<Grant> {
        match self.try_take(&waiter.tried, waiter.hash, ticket) {
            Taken::Slot(permit) => Served::Grant(Ok(permit)),
            Taken::Refused(refusal) => Served::Grant(Err(refusal)),
            Taken::Full => Served::NotYet,
        }
    }

    /// Serves the line: whoever waits and can have a slot gets it. Cheap when nobody waits.
    pub fn serve_line(self: &Arc<Self>) {
        deliver(self.queue.serve(|ticket, waiter| self.offer(ticket, waiter)));
    }

    /// A connection to this endpoint could not be opened, and why: it is avoided for a growing time. False
    /// if that was known already.
    pub fn dial_failed(&self, endpoint: &Endpoint, seed: u64, why: &dyn fmt::Display) -> bool {
        let most_us = us(self.settings.load().pool.dial_backoff_max);
        let new = endpoint.avoid.failed(self.clock.now_us(), most_us, seed);
        if new {
            endpoint.condition.words().avoided = why.to_string();
            endpoint.condition.set(flag::AVOIDED);
        }
        new
    }

    /// A connection to this endpoint is open.
    pub fn dial_succeeded(self: &Arc<Self>, endpoint: &Endpoint) {
        if endpoint.condition.flags() & flag::AVOIDED == 0 {
            return;
        }
        // The flag first: should a dial fail just now, it stays set.
        endpoint.condition.clear(flag::AVOIDED);
        if endpoint.avoid.reached() {
            self.begins(endpoint);
            self.serve_line();
        }
    }

    /// Whether a successor has the free slots.
    pub(crate) fn set_handed_over(&self, yes: bool) {
        self.handed_over.store(yes, Ordering::Relaxed);
    }

    /// Every endpoint that has calls or is configured, with its limit; none if it takes no new calls.
    pub(crate) fn counted_endpoints(&self) -> Vec<(Arc<Endpoint>, Option<u32>)> {
        let settings = self.settings.load_full();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = |e: &Arc<Endpoint>| {
            settings.members.iter().find(|m| Arc::ptr_eq(&m.endpoint, e)).map(|m| m.limit)
        };
        known.values().filter_map(Weak::upgrade).map(|e| (Arc::clone(&e), limit(&e))).collect()
    }

    /// After which time an endpoint that is left out now may be tried again.
    pub(crate) fn recheck(&self) -> Option<Duration> {
        let now_us = self.clock.now_us();
        let settings = self.settings.load();
        let back = |m: &Member| {
            let avoided = m.endpoint.avoid.until(now_us);
            avoided.into_iter().chain(m.endpoint.condition.ejected_until(now_us)).max()
        };
        let next = settings.members.iter().filter(|m| !m.is_out()).filter_map(back).min()?;
        Some(Duration::from_micros(next - now_us + 1_000))
    }

    /// When it may be worth trying again, for a call of this share that got no slot: about as long as it
    /// takes until those are served that would go before it, between 100 ms and 30 s.
    pub fn retry_hint(&self, share: Share) -> Duration {
        let ahead = self.queue.lock().ahead(share);
        self.retry_after(ahead)
    }

    pub(crate) fn retry_after(&self, ahead: u64) -> Duration {
        let slots = self.settings.load().slots().max(1);
        let us = self.hold_us.load(Ordering::Relaxed).saturating_mul(ahead) / slots;
        Duration::from_micros(us).clamp(SHORTEST_RETRY, LONGEST_RETRY)
    }

    /// Notes how long a call held its slot. Lost updates only make the average a little older.
    fn note_hold(&self, held_us: u64) {
        let average = self.hold_us.load(Ordering::Relaxed);
        let next = if average == 0 { held_us } else { average - average / 8 + held_us / 8 };
        if next != average {
            self.hold_us.store(next, Ordering::Relaxed);
        }
    }

    /// Counts a call that has ended; `failed` if it failed in the gateway or on the way to the engine.
    pub fn count(&self, failed: bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Calls ended, and how many of them failed in the gateway or on the way to the engine.
    pub fn counted(&self) -> (u64, u64) {
        (self.calls.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }

    /// Calls that wait for a slot now.
    pub fn waiting(&self) -> u32 {
        self.queue.waiting()
    }

    /// The slots of a member, as people are shown them; none without a limit.
    pub fn slots_shown(settings: &Settings, member: &Member) -> Option<u32> {
        (settings.pool.mode != PoolMode::Off).then_some(member.slots)
    }
}

impl Endpoint {
    /// Calls ended here since the proxy started, and how many of them failed.
    pub fn counted(&self) -> (u64, u64) {
        self.stats.totals()
    }

    /// The calls of the last ten seconds by the time to the first message of their response: class `i`
    /// counts those below 2^i × 64 µs that no earlier class counts.
    pub fn first_messages(&self, now_us: u64) -> [u32; CLASSES] {
        self.stats.first_messages(now_us)
    }
}

#[cfg(test)]
mod tests;
