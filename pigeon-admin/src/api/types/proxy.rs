//! Proxies as the API tells of them, and how far a revision has come among them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::{millis, time};
use crate::proxies::{self, ProxyState};

/// How far a revision has come among the connected proxies.
#[derive(Clone, Serialize, ToSchema)]
pub struct Applied {
    /// The revision of the configuration after the write.
    revision: u64,
    /// Connected proxies.
    proxies: usize,
    /// Those that serve the revision, with nothing refused.
    applied: usize,
    /// From the beginning of the write until this was so, in milliseconds.
    ms: u64,
    /// Whether every connected proxy serves it.
    done: bool,
    /// The proxies that have neither acknowledged nor refused it.
    pending: Vec<String>,
    /// What proxies refused.
    rejected: Vec<AppliedRejection>,
}

impl Applied {
    /// What the proxies tell, `took` after the write began.
    pub fn of(a: proxies::Applied, took: Duration) -> Self {
        let rejection = |(proxy, r): (String, proxies::Rejection)| AppliedRejection {
            proxy,
            rejection: r.into(),
        };
        Self {
            revision: a.revision,
            proxies: a.proxies,
            applied: a.applied,
            ms: millis(took),
            done: a.done,
            pending: a.pending,
            rejected: a.rejected.into_iter().map(rejection).collect(),
        }
    }

    /// Whether every connected proxy serves the revision.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// `2/3`, as in the header `Pigeon-Applied`.
    pub fn ratio(&self) -> String {
        format!("{}/{}", self.applied, self.proxies)
    }
}

/// One object that a proxy refused, and which proxy.
#[derive(Clone, Serialize, ToSchema)]
pub struct AppliedRejection {
    /// The name of the proxy.
    proxy: String,
    /// What it refused.
    #[serde(flatten)]
    rejection: Rejection,
}

/// One object that a proxy cannot use.
#[derive(Clone, Serialize, ToSchema)]
pub struct Rejection {
    /// Its kind.
    kind: String,
    /// Its name.
    name: String,
    /// The version refused.
    mod_revision: u64,
    /// The version that still serves in its place; 0 if none does.
    serving_mod_revision: u64,
    /// Stable code, such as `PGN-P301`.
    code: String,
    /// Why, in the words of the proxy.
    message: String,
}

impl From<proxies::Rejection> for Rejection {
    fn from(r: proxies::Rejection) -> Self {
        let proxies::Rejection { kind, name, mod_revision, code, message, serving_mod_revision } =
            r;
        Self { kind, name, mod_revision, serving_mod_revision, code, message }
    }
}

/// A proxy as it was last heard of.
#[derive(Serialize, ToSchema)]
pub struct Proxy {
    /// The name people see.
    name: String,
    /// Stable and exclusive.
    node_id: String,
    /// Version of the program.
    version: String,
    /// Machine and boot id.
    machine: String,
    /// Whether its stream is open.
    connected: bool,
    /// When its newest stream began. RFC 3339, UTC.
    connected_at: String,
    /// Where its configuration came from: `stream`, `lkg` (last known good, from its disk) or `none`.
    source: String,
    /// Where it listens: listener → host:port.
    listen: BTreeMap<String, String>,
    /// The revision it has received.
    revision: u64,
    /// The newest revision it serves, with nothing refused.
    effective_revision: u64,
    /// How many revisions `effective_revision` is behind the configuration.
    lag: u64,
    /// When it last acknowledged or refused anything. RFC 3339, UTC.
    #[schema(required = true)]
    last_ack_at: Option<String>,
    /// How long ago that was, in milliseconds.
    #[schema(required = true)]
    last_ack_age_ms: Option<u64>,
    /// Objects it cannot use.
    rejected: Vec<Rejection>,
    /// `in_sync`, `behind`, `rejected` or `disconnected`.
    #[schema(example = "in_sync")]
    state: &'static str,
}

impl Proxy {
    /// Measured against the configuration at `current`.
    pub fn of(p: ProxyState, current: u64) -> Self {
        Self {
            state: p.state(current),
            lag: current.saturating_sub(p.effective),
            connected_at: time(p.connected_at_ms),
            last_ack_at: p.last_ack_ms.map(time),
            last_ack_age_ms: p.last_ack_age.map(millis),
            rejected: p.rejected.into_iter().map(Rejection::from).collect(),
            name: p.name,
            node_id: p.node_id,
            version: p.version,
            machine: p.machine,
            connected: p.connected,
            source: p.source,
            listen: p.listen,
            revision: p.revision,
            effective_revision: p.effective,
        }
    }
}
