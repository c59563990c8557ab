//! Active health checks, and once a second a look at every engine.
//!
//! One task per endpoint and proxy, never per worker; [`crate::engine::health`] decides what a check means.
//! A check opens its own connection: it also tells whether the endpoint still takes any.

mod grpc;
mod probe;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use pigeon_proto::model::{Health, HealthCheck, Protocol};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::probe::probe;
use crate::engine::health::{Answer, Tracker, Verdict};
use crate::engine::{Change, Endpoint, Engine, Member, State};
use crate::gateway::Gateway;

/// How often engines are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Checks at once; more wait for their turn.
const AT_ONCE: usize = 64;

/// How an endpoint is to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    health: Health,
    protocol: Protocol,
}

/// A task that checks one endpoint.
struct Watched {
    wanted: watch::Sender<Wanted>,
    _task: AbortOnDropHandle<()>,
}

/// Checks the endpoints of all engines, as the configuration says, until told to stop.
pub async fn run(gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watched = HashMap::new();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = gateway.installed() => {}
            _ = looks.tick() => look(&gateway),
        }
        follow(&gateway, &mut watched, &turns);
    }
}

/// Sees that the endpoints are checked which should be, and no others.
fn follow(gateway: &Gateway, watched: &mut HashMap<u64, Watched>, turns: &Arc<Semaphore>) {
    let mut present = HashSet::new();
    for engine in gateway.engines() {
        let settings = engine.settings();
        let wanted = Wanted { health: settings.health.clone(), protocol: settings.protocol };
        for Member { endpoint, .. } in &settings.members {
            if wanted.health.check == HealthCheck::None {
                if endpoint.is_unhealthy() {
                    engine.checked(endpoint, Verdict::Healthy);
                }
                continue;
            }
            present.insert(endpoint.id());
            match watched.get(&endpoint.id()) {
                Some(watched) => {
                    watched.wanted.send_if_modified(|now| {
                        let changed = *now != wanted;
                        now.clone_from(&wanted);
                        changed
                    });
                }
                None => {
                    let (sender, receiver) = watch::channel(wanted.clone());
                    let (engine, endpoint) = (Arc::downgrade(&engine), Arc::clone(endpoint));
                    let id = endpoint.id();
                    let task = tokio::spawn(check(engine, endpoint, receiver, Arc::clone(turns)));
                    let task = AbortOnDropHandle::new(task);
                    watched.insert(id, Watched { wanted: sender, _task: task });
                }
            }
        }
    }
    watched.retain(|id, _| present.contains(id));
}

/// Checks one endpoint again and again; the first time at once.
async fn check(
    engine: Weak<Engine>,
    endpoint: Arc<Endpoint>,
    mut wanted: watch::Receiver<Wanted>,
    turns: Arc<Semaphore>,
) {
    let Wanted { health, protocol } = wanted.borrow_and_update().clone();
    let mut tracker = Tracker::new(health, protocol, !endpoint.is_unhealthy());
    loop {
        if let Some(check) = tracker.check() {
            // Never closed, so an error does not come.
            let turn = turns.acquire().await;
            let answer = probe(&check, &endpoint, tracker.timeout()).await;
            drop(turn);
            let Some(engine) = engine.upgrade() else { return };
            if answer.as_ref().is_some_and(|answer| !matches!(answer, Answer::Down(_))) {
                // It takes connections, so calls need not find that out.
                engine.dial_succeeded(&endpoint);
            }
            if let Some(verdict) = answer.and_then(|answer| tracker.answered(answer)) {
                engine.checked(&endpoint, verdict);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(tracker.pause(fastrand::u64(..))) => {}
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                let Wanted { health, protocol } = wanted.borrow_and_update().clone();
                tracker.update(health, protocol);
            }
        }
    }
}

/// Ends what is over in every engine, and logs what has changed.
fn look(gateway: &Gateway) {
    for engine in gateway.engines() {
        for change in engine.look() {
            log(&engine, &change);
        }
    }
}

/// One line per change: a warning when it goes bad, a note when it recovers.
fn log(engine: &Engine, change: &Change) {
    let (engine, endpoint) = (engine.name(), change.endpoint.address());
    let Change { from, to, reason, .. } = change;
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    match to {
        State::Ejected | State::Unhealthy => {
            tracing::warn!(%engine, %endpoint, "the endpoint is {to}{why}");
        }
        State::Draining => tracing::info!(%engine, %endpoint, "the endpoint is {to}{why}"),
        State::Healthy | State::Starting if from.is_good() => {
            tracing::debug!(%engine, %endpoint, "the endpoint is {to}{why}");
        }
        State::Healthy | State::Starting => {
            tracing::info!(%engine, %endpoint, "the endpoint is {to} again, it was {from}{why}");
        }
    }
}
