//! What is observed of an engine and its endpoints, summed over the connected proxies.

use pigeon_proto::model::{self, Engine};
use serde::Serialize;
use utoipa::ToSchema;

use crate::proxies::{EndpointState, EndpointUse, EndpointView, EngineUse, FirstMessage};

/// What the connected proxies together carry for an engine now.
#[derive(Serialize, ToSchema)]
pub struct EngineStatus {
    /// Slots there are; null without a limit.
    slots: Option<u64>,
    /// Slots held by calls.
    in_use: u64,
    /// Calls waiting for a slot.
    waiting: u64,
    /// Calls ended since the proxies started.
    calls: u64,
    /// Of these, the ones that failed in the gateway or on the way to the engine.
    failures: u64,
    /// Time to the first response message over the last 10 s; null without calls.
    #[schema(required = true)]
    first_message_ms: Option<FirstMessage>,
    /// The same by endpoint.
    endpoints: Vec<EndpointStatus>,
}

/// What the connected proxies together carry for an endpoint now, and whether they send calls there.
#[derive(Serialize, ToSchema)]
pub struct EndpointStatus {
    /// host:port
    pub address: String,
    /// Whether the configuration says that it gets no new calls.
    drain: bool,
    /// The worst that a proxy sees it as; null while none says.
    #[schema(required = true)]
    state: Option<EndpointState>,
    /// Why it is not healthy, in words; empty when it is.
    reason: String,
    /// How each proxy sees it, the worst first, where they do not agree on the state; else empty.
    proxies: Vec<EndpointView>,
    /// Slots there are; null without a limit.
    slots: Option<u64>,
    /// Slots held by calls.
    in_use: u64,
    /// Calls ended since the proxies started.
    calls: u64,
    /// Of these, the ones that failed in the gateway or on the way to the endpoint.
    failures: u64,
    /// Time to the first response message over the last 10 s; null without calls.
    #[schema(required = true)]
    first_message_ms: Option<FirstMessage>,
}

impl EngineStatus {
    /// Of an engine and what proxies carry for it.
    pub fn of(engine: &Engine, usage: Option<&EngineUse>) -> Self {
        let endpoints = EndpointStatus::all(engine, usage);
        let empty = EngineUse::default();
        let usage = usage.unwrap_or(&empty);
        let &EngineUse { slots, in_use, waiting, calls, failures, .. } = usage;
        let first_message_ms = usage.first_message.first_message();
        Self { slots, in_use, waiting, calls, failures, first_message_ms, endpoints }
    }
}

impl EndpointStatus {
    /// Those of the spec first, in its order, whether in use or not; then those that proxies still carry
    /// calls for.
    pub fn all(engine: &Engine, usage: Option<&EngineUse>) -> Vec<Self> {
        let used = usage.map_or(&[][..], |u| &u.endpoints);
        let mut all = Vec::new();
        for endpoint in &engine.endpoints {
            let found = used.iter().find(|u| u.address == endpoint.address.as_str());
            all.push(Self::of(endpoint, found));
        }
        let named =
            |u: &EndpointUse| engine.endpoints.iter().any(|e| e.address.as_str() == u.address);
        all.extend(used.iter().filter(|u| u.in_use > 0 && !named(u)).map(Self::left));
        all
    }

    fn of(endpoint: &model::Endpoint, usage: Option<&EndpointUse>) -> Self {
        let unused = || EndpointUse {
            address: endpoint.address.as_str().to_owned(),
            ..EndpointUse::default()
        };
        let status = usage.map_or_else(|| Self::left(&unused()), Self::left);
        Self { drain: endpoint.drain, ..status }
    }

    /// Of an endpoint that is not configured any more.
    fn left(usage: &EndpointUse) -> Self {
        let worst = usage.worst();
        Self {
            address: usage.address.clone(),
            drain: false,
            state: worst.map(|w| w.state),
            reason: worst.map(|w| w.reason.clone()).unwrap_or_default(),
            proxies: if usage.is_disputed() { usage.views.clone() } else { Vec::new() },
            slots: usage.slots,
            in_use: usage.in_use,
            calls: usage.calls,
            failures: usage.failures,
            first_message_ms: usage.first_message.first_message(),
        }
    }
}
