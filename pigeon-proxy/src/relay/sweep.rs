//! What time brings: deadlines of calls, and once a second a look at every connection.

use std::future::poll_fn;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::Relay;
use super::conn::{Conn, Peer};
use super::state::State;
use crate::guard::Level;
use crate::memory;

/// How often connections are looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// A client that does not answer a ping is gone, and its calls with it.
const PING_AFTER: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// A peer has to acknowledge SETTINGS, and a client to send its own, within this.
const SETTINGS_WITHIN: Duration = Duration::from_secs(10);

/// What is to be done with a connection.
enum Due {
    Nothing,
    Ping,
    Close(&'static str),
}

/// Fires the timers of calls, as long as the relay lives.
pub(super) async fn watch_timers(relay: Weak<Relay>) {
    poll_fn(|cx| {
        let Some(relay) = relay.upgrade() else { return Poll::Ready(()) };
        relay.turn(|state| state.fire(cx));
        Poll::Pending
    })
    .await;
}

/// Looks at every connection once a second, as long as the relay lives.
pub(super) async fn run(relay: Weak<Relay>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(relay) = relay.upgrade() else { return };
        relay.turn(State::sweep);
    }
}

impl State {
    fn fire(&mut self, cx: &mut Context<'_>) {
        // An empty queue is woken by the next timer that is set.
        while let Poll::Ready(Some(expired)) = self.timers.poll_expired(cx) {
            let reference = expired.into_inner();
            if self.calls.find(reference).is_some() {
                self.timer_fired(reference.at);
            }
        }
    }

    fn sweep(&mut self) {
        let numbers: Vec<u32> = self.conns.numbers().collect();
        let level = self.gateway.guard().memory();
        for at in numbers {
            let Some(conn) = self.conns.get_mut(at) else { continue };
            // What is never given back makes the window smaller for ever, until every call hangs.
            let all = conn.h2.streams() > 0 || conn.h2.unreleased() == 0;
            debug_assert!(all, "{} bytes were not given back", conn.h2.unreleased());
            // Longer than a round trip: nothing late is to be expected.
            if conn.h2.streams() == 0 && self.now.saturating_duration_since(conn.heard) > PERIOD {
                conn.h2.trim();
            }
            if level == Level::Tight && conn.downstream().is_some() && conn.h2.streams() == 0 {
                // Twice: without waiting for the answer to the first.
                self.send_away(at, true);
                self.send_away(at, true);
                continue;
            }
            match due(conn, self.now) {
                Due::Nothing => {}
                Due::Ping => {
                    conn.pinged = Some(self.now);
                    conn.h2.ping([0; 8]);
                    self.touch(at);
                }
                Due::Close(why) => {
                    tracing::debug!(why, "a connection was closed");
                    self.close(at);
                }
            }
        }
        self.tend_pools();
        self.give_back();
    }

    /// Once a worker has read nothing for a while, what it freed goes back to the system.
    fn give_back(&mut self) {
        match std::mem::take(&mut self.has_read) {
            // Others wait for it.
            _ if self.gateway.guard().memory() != Level::Fine => memory::give_back(),
            true => self.gave_back = false,
            false if self.gave_back => {}
            false => {
                memory::give_back();
                self.gave_back = true;
            }
        }
    }
}

fn due(conn: &Conn, now: Instant) -> Due {
    match &conn.peer {
        Peer::Client(client) => {
            let age = now.saturating_duration_since(client.opened);
            if !client.settings_seen && age > SETTINGS_WITHIN {
                return Due::Close("the client sent no SETTINGS");
            }
            due_ping(conn, now, PING_AFTER, PONG_WITHIN)
        }
        Peer::Engine(upstream) => {
            let settings = upstream.engine.settings();
            let pool = &settings.pool;
            match pool.keepalive_time {
                Some(time) if conn.h2.streams() > 0 || pool.keepalive_without_calls => {
                    due_ping(conn, now, time.duration(), pool.keepalive_timeout.duration())
                }
                _ => Due::Nothing,
            }
        }
    }
}

fn due_ping(conn: &Conn, now: Instant, after: Duration, within: Duration) -> Due {
    let since = |then: Instant| now.saturating_duration_since(then);
    match conn.pinged {
        // Anything that came since is as good as the answer.
        Some(then) if conn.heard <= then && since(then) >= within => {
            Due::Close("the other end does not answer")
        }
        Some(then) if conn.heard <= then => Due::Nothing,
        _ if since(conn.heard) >= after => Due::Ping,
        _ => Due::Nothing,
    }
}
