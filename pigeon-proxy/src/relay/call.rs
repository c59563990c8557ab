//! One call: a stream of a client's connection, and for most of its life one of an engine's.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::AbortHandle;
use tokio_util::time::delay_queue;

use super::again::TurnedDown;
use super::bridge::Bridge;
use super::list::List;
use crate::admit::{Permit, Tried};
use crate::engine::Engine;
use crate::filter::Stop;
use crate::filter::identity::Identity;
use crate::gateway::OpenCall;
use crate::grpc::MessageScanner;
use crate::h2::Key;
use crate::record::Record;
use crate::retry::Tries;
use crate::table::RouteEntry;

/// The two ends of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Towards the client.
    Down,
    /// Towards the engine.
    Up,
}

/// A route, and the table it is from.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) table: u64,
    pub(super) entry: Arc<RouteEntry>,
}

/// A call.
pub(super) struct Call {
    pub(super) down: Leg,
    /// None until there is a connection, and between attempts.
    pub(super) up: Option<Leg>,
    /// What the client has sent while there was no connection.
    pub(super) held: Option<Box<Pending>>,
    pub(super) stage: Stage,
    pub(super) head: Arc<List>,
    /// The id of a request that has none.
    pub(super) id: u128,
    pub(super) grpc: bool,
    /// The client has ended its request.
    pub(super) request_ended: bool,
    /// The engine has ended its answer, and with that the call as far as slots go.
    pub(super) answer_ended: bool,
    /// The head of the answer is on its way to the client.
    pub(super) answered: bool,
    /// None of a call that took none, or that another part of the gateway carries.
    pub(super) route: Option<Arc<RouteEntry>>,
    pub(super) engine: Option<Arc<Engine>>,
    /// Who calls, if the route asks.
    pub(super) identity: Option<Arc<Identity>>,
    /// Follows the bodies: messages of gRPC, and what is limited.
    pub(super) scanners: Option<Scanners>,
    pub(super) permit: Option<Permit>,
    /// None if another part of the gateway writes it.
    pub(super) record: Option<Record>,
    pub(super) deadline: Option<Instant>,
    pub(super) timer: Option<delay_queue::Key>,
    pub(super) attempts: Attempts,
    pub(super) open: Option<OpenCall>,
}

/// What the call is waiting for.
pub(super) enum Stage {
    /// A slot; the task that waits for it.
    Slot(AbortHandle),
    /// A connection to the endpoint of its permit.
    Connection,
    /// The time of its next attempt.
    Pause,
    /// The engine.
    Engine,
    /// The end of an answer that the caller does not get.
    TurnedDown(Box<TurnedDown>),
    /// The end of a short request that we answer; see `refuse.rs`.
    Dismissed(Box<Stop>),
    /// The general path, which carries it.
    Bridge(Box<Bridge>),
    /// Nothing: it was answered by us, and its end waits for the client to take it.
    Over,
}

/// What is counted of bodies: the messages of a gRPC call, either way, and the bytes of a request.
#[derive(Default)]
pub(super) struct Scanners {
    pub(super) grpc: bool,
    pub(super) max_message: Option<u32>,
    pub(super) max_body: Option<u64>,
    /// Of the request.
    pub(super) body: u64,
    pub(super) up: MessageScanner,
    pub(super) down: MessageScanner,
}

/// What was tried before.
#[derive(Default)]
pub(super) struct Attempts {
    /// Endpoints that could not be reached: the call does not go there again.
    pub(super) unreachable: Tried,
    /// These, and the endpoints that have failed the call: it goes there only if there is no other.
    pub(super) failed: Tried,
    /// The place in line, once the call has waited.
    pub(super) place: Option<u64>,
    /// The end of waiting by `pool.queue_timeout`.
    pub(super) queue_until: Option<Instant>,
    pub(super) tries: Tries,
    /// What was sent of the request, for sending it again; none when it was too much or no longer matters.
    pub(super) replay: Option<Vec<u8>>,
}

/// One end.
pub(super) struct Leg {
    pub(super) conn: u32,
    pub(super) key: Key,
    /// END_STREAM was sent there.
    pub(super) ended: bool,
    /// In the connection's line of those that wait for room.
    pub(super) queued: bool,
    /// What did not fit.
    pub(super) pending: Option<Box<Pending>>,
}

/// What waits to be sent.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) bytes: Vec<u8>,
    /// So many of them are gone.
    pub(super) at: usize,
    /// So many of the rest have been given back to their sender's windows: they are sent once more.
    pub(super) credited: usize,
    pub(super) end: Option<End>,
}

/// How the body ends.
pub(super) enum End {
    /// With its last byte.
    Plain,
    /// With these trailers.
    Trailers(Arc<List>),
}

impl From<End> for Pending {
    fn from(end: End) -> Self {
        Self { end: Some(end), ..Self::default() }
    }
}

impl Leg {
    pub(super) fn new(conn: u32, key: Key) -> Self {
        Self { conn, key, ended: false, queued: false, pending: None }
    }
}

impl Pending {
    /// What its sender's windows are still owed for it.
    pub(super) fn owed(&self) -> u32 {
        (self.left().len() - self.credited) as u32
    }

    pub(super) fn left(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        // What is gone is dropped when it is most of it, so that every byte is moved once at most.
        if self.at > self.bytes.len() / 2 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }
}

impl Call {
    /// It is known who calls, if the route asks.
    pub(super) fn identified(&mut self, identity: Option<Arc<Identity>>) {
        let tenant = identity.as_ref().and_then(|identity| identity.tenant.as_ref());
        if let (Some(record), Some(tenant)) = (&mut self.record, tenant) {
            record.tenant(tenant.as_str());
        }
        self.identity = identity;
    }

    /// The end towards `side`, if it is there.
    pub(super) fn leg(&mut self, side: Side) -> Option<&mut Leg> {
        match side {
            Side::Down => Some(&mut self.down),
            Side::Up => self.up.as_mut(),
        }
    }
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Down => Self::Up,
            Self::Up => Self::Down,
        }
    }
}
