//! The relay: calls between HTTP/2 clients and HTTP/2 engines, frame by frame.
//!
//! Each worker has one. What it knows is a [`state::State`]; a turn takes it, handles everything that a
//! socket, a timer or a waiter has brought, and leaves connections that have output on a list. One task then
//! flushes each of these once, after everything that was ready has been handled: that, few connections to
//! engines, and no task, channel or copy of a header list per call is what makes it cheap.
//!
//! A call: `serve → events → begin → admission → pool → answer → body → end`. What happens to a call is decided
//! by `table`, `admit`, `engine`, `retry` and `reject`, as for calls on the general path (`http`), which
//! takes calls for engines that speak HTTP/1.1 (`bridge`).

mod admission;
mod again;
mod answer;
mod begin;
mod body;
mod bridge;
mod call;
mod conn;
mod drain;
mod edits;
mod end;
mod events;
mod flush;
mod list;
mod lists;
mod pool;
mod read;
mod refuse;
mod serve;
mod slab;
mod state;
mod sweep;
mod tend;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::runtime::Handle;

pub(crate) use self::serve::Relayed;
use self::state::State;
use crate::gateway::Gateway;

/// The relay of one worker.
pub(crate) struct Relay(Mutex<State>);

impl Relay {
    /// A relay whose tasks run on `worker`.
    pub(crate) fn start(gateway: Arc<Gateway>, worker: &Handle) -> Arc<Self> {
        let relay = Arc::new_cyclic(|me| Self(Mutex::new(State::new(me.clone(), gateway))));
        worker.spawn(flush::run(Arc::downgrade(&relay)));
        worker.spawn(sweep::watch_timers(Arc::downgrade(&relay)));
        worker.spawn(sweep::run(Arc::downgrade(&relay)));
        relay
    }

    /// Does something with the state, and has what came of it flushed. Only tasks of the worker call this,
    /// so the lock is free.
    fn turn<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        state.now = Instant::now();
        let done = what(&mut state);
        state.ask_for_flush();
        done
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
