//! The end of connections: closed at once, or once their calls have ended.

use socket2::SockRef;

use super::conn::Peer;
use super::state::State;
use super::{Relay, call::Side};
use pigeon_proto::model::Name;

impl Relay {
    /// Clients of a listener are told to go elsewhere (GOAWAY); their calls go on.
    pub(crate) fn drain(&self, listener: &Name) {
        self.turn(|state| {
            for at in state.clients_of(listener) {
                state.send_away(at, false);
            }
        });
    }

    /// Clients that have not yet said that they have heard it are told which of their calls is the last.
    pub(crate) fn finish_drain(&self, listener: &Name) {
        self.turn(|state| {
            for at in state.clients_of(listener) {
                state.send_away(at, true);
            }
        });
    }

    /// Cuts what is left of a listener's connections.
    pub(crate) fn cut(&self, listener: &Name) {
        self.turn(|state| {
            for at in state.clients_of(listener) {
                state.close(at);
            }
        });
    }
}

impl State {
    fn clients_of(&self, listener: &Name) -> Vec<u32> {
        let of = |at: &u32| {
            let downstream = self.conns.get(*at).and_then(|conn| conn.downstream());
            downstream.is_some_and(|d| d.client.listener == *listener)
        };
        self.conns.numbers().filter(of).collect()
    }

    /// Tells a client to go elsewhere; `last` = and that nothing more is taken from it.
    pub(super) fn send_away(&mut self, at: u32, last: bool) {
        if let Some(h2) = self.h2(at).filter(|h2| last || !h2.is_shutting_down()) {
            h2.shutdown();
        }
        self.close_if_drained(at);
    }

    /// Closes a client's connection that was told to go elsewhere, once it has no calls.
    pub(super) fn close_if_drained(&mut self, at: u32) {
        let Some(conn) = self.conns.get_mut(at) else { return };
        if conn.downstream().is_some() && conn.h2.is_drained() && !conn.closing {
            conn.closing = true;
            self.touch(at);
        }
    }

    /// The connection is gone, and its calls with it.
    pub(super) fn close(&mut self, at: u32) {
        self.lost_calls(at, false);
        let Some(mut conn) = self.conns.remove(at) else { return };
        if let Some(tls) = &mut conn.tls {
            // The last word, if the system takes it at once.
            tls.close();
            let _ = tls.write_to(&conn.socket);
        }
        // Whoever waits for the socket wakes up and finds the connection gone.
        if let Err(error) = SockRef::from(&*conn.socket).shutdown(std::net::Shutdown::Both) {
            tracing::trace!(%error, "the other end was faster");
        }
        if let Some(reader) = &conn.paused {
            reader.notify_one();
        }
        if let Peer::Engine(upstream) = &conn.peer {
            self.lost_upstream(at, upstream.endpoint.id());
        }
    }

    /// The calls of a connection that is gone, or whose other end broke the rules (`broke`).
    pub(super) fn lost_calls(&mut self, at: u32, broke: bool) {
        let Some(conn) = self.conns.get_mut(at) else { return };
        let side = if conn.downstream().is_some() { Side::Down } else { Side::Up };
        if let Some(upstream) = conn.upstream() {
            upstream.retired = true;
        }
        let last = conn.h2.peer_goaway();
        let calls: Vec<_> = conn.h2.iter_streams().collect();
        for (key, call) in calls {
            match side {
                Side::Down => self.abandon(call),
                Side::Up if broke => self.engine_broke_rules(call, "its connection broke a rule"),
                Side::Up => {
                    let unseen = last.is_some_and(|last| key.id() > last);
                    self.engine_reset(call, None, unseen);
                }
            }
        }
    }
}
