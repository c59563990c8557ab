//! What the connected proxies together say of an engine and its endpoints.

use serde::Serialize;
use utoipa::ToSchema;

use super::Histogram;

/// What the connected proxies together carry for one engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineUse {
    /// Slots there are; `None` without a limit.
    pub slots: Option<u64>,
    /// Slots held by calls now.
    pub in_use: u64,
    /// Calls waiting for a slot now.
    pub waiting: u64,
    /// Calls ended since the proxies started.
    pub calls: u64,
    /// Of these, the ones that failed in the gateway or the engine's transport.
    pub failures: u64,
    /// Calls of the last 10 s by time to the first response message.
    pub first_message: Histogram,
    /// The same for every endpoint, by address.
    pub endpoints: Vec<EndpointUse>,
}

/// What the connected proxies together carry for one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointUse {
    /// host:port
    pub address: String,
    /// Slots there are; `None` without a limit.
    pub slots: Option<u64>,
    /// Slots held by calls now.
    pub in_use: u64,
    /// Calls ended since the proxies started.
    pub calls: u64,
    /// Of these, failed.
    pub failures: u64,
    /// Calls of the last 10 s by time to the first response message.
    pub first_message: Histogram,
    /// How every proxy that says so sees it: the worst first, then by name.
    pub views: Vec<EndpointView>,
}

impl EndpointUse {
    /// How the proxy that thinks worst of it sees it.
    pub fn worst(&self) -> Option<&EndpointView> {
        self.views.first()
    }

    /// Whether proxies see it differently. Reasons may differ in details and do not count.
    pub fn is_disputed(&self) -> bool {
        self.views.windows(2).any(|two| two[0].state != two[1].state)
    }
}

/// How one proxy sees an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EndpointView {
    /// The name of the proxy.
    pub proxy: String,
    /// Whether it sends calls there.
    pub state: EndpointState,
    /// Why it is not healthy, in words; empty when it is.
    pub reason: String,
}

/// Whether an endpoint gets calls, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// It gets calls.
    Healthy,
    /// It gets fewer calls until its slow start is over.
    Starting,
    /// It gets no new calls.
    Draining,
    /// It gets no calls for a while, because calls failed.
    Ejected,
    /// It gets no calls, because checks fail or it refuses connections.
    Unhealthy,
}
