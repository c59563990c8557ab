//! What a route does with a call before it asks for a slot: one closed list, run in one order by every
//! transport. Pure: the call's head, its client and the clock are arguments.

mod limits;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use pigeon_proto::model::{Name, Route};

use self::limits::Limits;
use crate::reject::Rejection;

/// What a client's certificate says, once it was verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// The subject as text (RFC 4514), as `CN=asr-client,O=Example`.
    pub subject: String,
    /// The names it is for, of every kind, without their kind: DNS names, URIs, addresses.
    pub names: Vec<String>,
}

/// A call that has found its route, as filters see it.
pub struct Asked<'a> {
    /// The listener it came in on.
    pub listener: &'a Name,
    /// Who is at the other end of the connection.
    pub peer: IpAddr,
    /// What the connection was opened with.
    pub certificate: Option<&'a Arc<Certificate>>,
    /// A header by its lower-cased name; of several values the first.
    pub header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    /// When the call began.
    pub now: Instant,
}

/// The filters of a route, in the order of the fields.
#[derive(Debug)]
pub struct Filters {
    limits: Limits,
}

impl Filters {
    /// Those of `route`. What the route had `before` goes on counting.
    pub fn new(route: &Route, before: Option<&Filters>, now: Instant) -> Self {
        Self { limits: Limits::new(&route.limits, before.map(|b| &b.limits), now) }
    }

    /// Lets the call pass, or says what it is answered.
    ///
    /// # Errors
    /// The first filter that does not let it pass.
    pub fn run(&self, asked: &Asked<'_>) -> Result<(), Rejection> {
        self.limits.pass(asked)
    }
}
