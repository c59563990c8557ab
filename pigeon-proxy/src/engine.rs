//! Engines at run time: endpoints, their slots, the line before them, and the choice between them.
//!
//! An engine is shared by all workers and outlives the tables that name it: a change of the
//! configuration changes its [`Settings`] and keeps everything that is counted.

mod avoid;
pub mod balance;
mod clock;
mod endpoint;
pub mod lifetime;
mod registry;
mod settings;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use pigeon_proto::model::{self, Address, Name, PoolMode};

use self::balance::{Pick, View};
pub use self::clock::Clock;
pub(crate) use self::clock::scramble;
pub use self::endpoint::Endpoint;
pub use self::registry::Registry;
pub use self::settings::{Member, Settings};
use crate::admit::{Delivery, Locked, Permit, Queue, Refusal, Served, Tried};

/// A named upstream service at run time.
#[derive(Debug)]
pub struct Engine {
    name: Name,
    clock: Clock,
    settings: ArcSwap<Settings>,
    queue: Queue,
    /// How long calls hold a slot, in microseconds: a moving average.
    hold_us: AtomicU64,
    calls: AtomicU64,
    failures: AtomicU64,
    /// Every endpoint somebody still holds, so that one that comes back finds its slots as they are.
    known: Mutex<HashMap<Address, Weak<Endpoint>>>,
}

/// What trying to take a slot gave.
#[derive(Debug)]
pub(crate) enum Taken {
    Slot(Permit),
    Full,
    Refused(Refusal),
}

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
        }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What the configuration says now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Takes new settings over and serves the line by them: more slots wake waiters, fewer let nobody
    /// in until enough calls have ended, an endpoint that is gone gets no new calls.
    pub fn update(self: &Arc<Self>, spec: &model::Engine) {
        self.settings.store(Arc::new(Settings::new(spec, |e| self.endpoint(&e.address))));
        self.serve_line();
    }

    /// The engine is gone from the configuration: running calls go on, waiting ones are refused
    /// [`Refusal::NoEndpoint`] at once.
    pub fn remove(self: &Arc<Self>) {
        self.settings.store(Arc::new(Settings::empty()));
        self.serve_line();
    }

    /// The endpoint of this address: the same as long as anybody holds it.
    fn endpoint(&self, address: &Address) -> Arc<Endpoint> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, endpoint| endpoint.strong_count() > 0);
        if let Some(endpoint) = known.get(address).and_then(Weak::upgrade) {
            return endpoint;
        }
        let endpoint = Arc::new(Endpoint::new(address.clone()));
        known.insert(address.clone(), Arc::downgrade(&endpoint));
        endpoint
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// How many calls may wait.
    pub(crate) fn queue_limit(&self) -> usize {
        let settings = self.settings.load();
        if settings.members.is_empty() { 0 } else { settings.pool.queue as usize }
    }

    /// How long a slot rests after the gateway broke off its call.
    pub(crate) fn cancel_cooldown(&self) -> Duration {
        self.settings.load().pool.cancel_cooldown.duration()
    }

    /// Takes a slot of the endpoint that balancing chooses.
    pub(crate) fn try_take(self: &Arc<Self>, tried: &Tried, seed: u64) -> Taken {
        let settings = self.settings.load();
        if settings.members.is_empty() {
            return Taken::Refused(Refusal::NoEndpoint);
        }
        let now_us = self.clock.now_us();
        let mut seed = seed;
        loop {
            let view = |i: usize| view(&settings.members[i], tried, now_us);
            match balance::pick(settings.members.len(), view, settings.balance, seed) {
                Pick::Full => return Taken::Full,
                Pick::AllTried => return Taken::Refused(Refusal::AllTried),
                Pick::Endpoint { index, limit } => {
                    let endpoint = &settings.members[index].endpoint;
                    if endpoint.slots.try_take(limit) {
                        endpoint.avoid.probe(now_us, settings.pool.dial_timeout.duration());
                        let permit = Permit::new(Arc::clone(self), Arc::clone(endpoint), now_us);
                        return Taken::Slot(permit);
                    }
                    // Another call was faster; look again.
                    seed = seed.wrapping_add(1);
                }
            }
        }
    }

    /// A permit ends: its slot is free, and the line is served.
    ///
    /// Here a slot is given back and then `waiting` read; a call that lines up publishes `waiting` and
    /// then looks for a free slot. Both in sequentially consistent order, so one of the two sees the
    /// other, and no slot is free while somebody who may take it waits.
    pub(crate) fn release(self: &Arc<Self>, endpoint: &Arc<Endpoint>, taken_us: u64) {
        endpoint.slots.give_back();
        let held = self.clock.now_us().saturating_sub(taken_us);
        let average = self.hold_us.load(Ordering::Relaxed);
        // Lost updates only make the average a little older.
        let next = if average == 0 { held } else { average - average / 8 + held / 8 };
        self.hold_us.store(next, Ordering::Relaxed);
        self.serve_line();
    }

    /// Serves the line: whoever waits and can have a slot gets it. Cheap when nobody waits.
    pub fn serve_line(self: &Arc<Self>) {
        if self.queue.waiting() == 0 {
            return;
        }
        let mut line = self.queue.lock();
        let deliveries = self.serve(&mut line);
        drop(line);
        for delivery in deliveries {
            delivery.send();
        }
    }

    pub(crate) fn serve(self: &Arc<Self>, line: &mut Locked<'_>) -> Vec<Delivery> {
        line.serve(|ticket, tried| match self.try_take(tried, ticket) {
            Taken::Slot(permit) => Served::Grant(Ok(permit)),
            Taken::Refused(refusal) => Served::Grant(Err(refusal)),
            Taken::Full => Served::NotYet,
        })
    }

    /// A connection to this endpoint could not be opened: it is avoided for a growing time. False if that
    /// was known already.
    pub fn dial_failed(&self, endpoint: &Endpoint, seed: u64) -> bool {
        endpoint.avoid.failed(self.clock.now_us(), seed)
    }

    /// A connection to this endpoint is open.
    pub fn dial_succeeded(self: &Arc<Self>, endpoint: &Endpoint) {
        if endpoint.avoid.reached() {
            self.serve_line();
        }
    }

    /// After which time an endpoint that is avoided now may be tried again.
    pub(crate) fn recheck(&self) -> Option<Duration> {
        let now_us = self.clock.now_us();
        let settings = self.settings.load();
        let next = settings.members.iter().filter_map(|m| m.endpoint.avoid.until(now_us)).min()?;
        Some(Duration::from_micros(next - now_us + 1_000))
    }

    /// When it may be worth trying again, for a call that got no slot: about as long as the line before
    /// it takes, between 100 ms and 30 s.
    pub fn retry_hint(&self) -> Duration {
        let slots = self.settings.load().slots().max(1);
        let ahead = u64::from(self.queue.waiting()) + 1;
        let us = self.hold_us.load(Ordering::Relaxed).saturating_mul(ahead) / slots;
        Duration::from_micros(us).clamp(SHORTEST_RETRY, LONGEST_RETRY)
    }

    /// Counts a call that has ended; `failed` if it failed in the gateway or on the way to the engine.
    pub fn count(&self, failed: bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(u64::from(failed), Ordering::Relaxed);
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

fn view(member: &Member, tried: &Tried, now_us: u64) -> View {
    let endpoint = &member.endpoint;
    View {
        in_use: endpoint.in_use(),
        slots: member.slots,
        limit: member.limit,
        weight: member.weight,
        avoided: endpoint.avoid.until(now_us).is_some(),
        tried: tried.contains(endpoint.id()),
    }
}

#[cfg(test)]
mod tests;
