//! What proxies say, cut to size before anyone keeps it.

use std::collections::{BTreeMap, HashMap};

use pigeon_proto::v1;
use pigeon_proto::v1::config_up::M;
use tonic::{Status, Streaming};

use crate::proxies::{
    EndpointReport, EndpointState, EngineReport, Hello, Histogram, Rejection, Session, UsageReport,
};

/// Longest name, version or address kept, in characters.
const NAME: usize = 253;
/// Longest reason kept, in characters.
const REASON: usize = 500;
/// Most refused objects kept of one proxy.
const MOST_REJECTED: usize = 1_000;
/// Most listeners kept of one proxy.
const MOST_LISTENERS: usize = 256;

/// How the proxy introduces itself.
pub(super) fn hello(s: &v1::Subscribe) -> Result<Hello, Status> {
    let node = s.node.clone().unwrap_or_default();
    let node_id = clean(&node.node_id, NAME);
    if node_id.is_empty() {
        return Err(Status::invalid_argument("the subscription names no node_id"));
    }
    let name = clean(&node.name, NAME);
    Ok(Hello {
        name: if name.is_empty() { node_id.clone() } else { name },
        node_id,
        incarnation: node.incarnation,
        machine: clean(&node.machine, NAME),
        version: clean(&node.version, NAME),
        listen: listen(node.listen),
        revision: s.have_revision,
    })
}

/// Records everything that comes until the proxy ends its side.
pub(super) async fn record(
    incoming: &mut Streaming<v1::ConfigUp>,
    session: &Session,
    newest: impl Fn() -> u64,
) -> Result<(), Status> {
    while let Some(message) = incoming.message().await? {
        match message.m {
            Some(M::Ack(ack)) => acknowledged(session, ack, newest()),
            Some(M::Status(s)) => session.status(source(&s), listen(s.listen)),
            Some(M::Usage(u)) => session.usage(usage(u)),
            Some(M::Subscribe(_)) => {
                return Err(Status::invalid_argument("a second Subscribe on one stream"));
            }
            None => return Err(Status::invalid_argument("a message this admin does not know")),
        }
    }
    Ok(())
}

fn acknowledged(session: &Session, ack: v1::Ack, newest: u64) {
    if ack.received > newest {
        // It speaks of another admin's revisions, and will be sent ours.
        tracing::debug!(received = ack.received, newest, "an acknowledgement of what is not sent");
        return;
    }
    let rejected = ack.rejected.into_iter().take(MOST_REJECTED).map(|r| Rejection {
        kind: clean(&r.kind, NAME),
        name: clean(&r.name, NAME),
        mod_revision: r.mod_revision,
        code: clean(&r.code, NAME),
        message: clean(&r.message, REASON),
        serving_mod_revision: r.serving_mod_revision,
    });
    session.ack(ack.received, ack.effective.min(ack.received), rejected.collect());
}

fn source(s: &v1::Status) -> &'static str {
    match s.source() {
        v1::status::Source::None => "none",
        v1::status::Source::Stream => "stream",
        v1::status::Source::Lkg => "lkg",
    }
}

fn listen(from: HashMap<String, String>) -> BTreeMap<String, String> {
    from.iter().take(MOST_LISTENERS).map(|(k, v)| (clean(k, NAME), clean(v, NAME))).collect()
}

fn usage(u: v1::Usage) -> UsageReport {
    let engine = |e: v1::EngineUsage| EngineReport {
        engine: clean(&e.engine, NAME),
        waiting: e.waiting.into(),
        calls: e.calls,
        failures: e.failures,
        first_message: Histogram::of(&e.first_message),
    };
    let endpoint = |e: v1::EndpointUsage| EndpointReport {
        engine: clean(&e.engine, NAME),
        address: clean(&e.address, NAME),
        in_use: e.in_use.into(),
        slots: (e.slots > 0).then_some(e.slots.into()),
        state: state(e.state()),
        reason: clean(&e.reason, REASON),
        calls: e.calls,
        failures: e.failures,
        first_message: Histogram::of(&e.first_message),
    };
    UsageReport {
        engines: u.engines.into_iter().map(engine).collect(),
        endpoints: u.endpoints.into_iter().map(endpoint).collect(),
    }
}

fn state(said: v1::endpoint_usage::State) -> Option<EndpointState> {
    use v1::endpoint_usage::State;
    match said {
        State::Unknown => None,
        State::Healthy => Some(EndpointState::Healthy),
        State::Starting => Some(EndpointState::Starting),
        State::Draining => Some(EndpointState::Draining),
        State::Ejected => Some(EndpointState::Ejected),
        State::Unhealthy => Some(EndpointState::Unhealthy),
    }
}

/// The beginning of a text without control characters, fit for tables and logs.
pub(super) fn clean(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_of_any_version_is_taken() {
        let endpoint = |state| v1::EndpointUsage {
            engine: "asr".into(),
            address: "a:1".into(),
            state,
            reason: "\u{1b}[31mfails".into(),
            first_message: vec![1; 100],
            ..Default::default()
        };
        let told = |endpoint| usage(v1::Usage { endpoints: vec![endpoint], ..Default::default() });
        let ejected = told(endpoint(v1::endpoint_usage::State::Ejected.into()));
        let ejected = &ejected.endpoints[0];
        assert_eq!(ejected.state, Some(EndpointState::Ejected));
        assert_eq!((ejected.reason.as_str(), ejected.slots), ("[31mfails", None));
        // A state of a newer version is one that is not said.
        assert_eq!(told(endpoint(99)).endpoints[0].state, None);
        assert_eq!(told(v1::EndpointUsage::default()).endpoints[0].state, None);
    }

    #[test]
    fn what_a_proxy_says_is_cut_to_size() {
        assert_eq!(clean("a\x1b[31m\nb", 10), "a[31mb");
        assert_eq!(clean("ééééé", 3), "ééé");
        let node = |id: &str, name: &str| v1::Subscribe {
            node: Some(v1::NodeInfo {
                node_id: id.into(),
                name: name.into(),
                listen: (0..1000).map(|i| (i.to_string(), "x".repeat(999))).collect(),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert!(hello(&node("", "n")).is_err());
        assert!(hello(&v1::Subscribe::default()).is_err());
        let h = hello(&node("id", "")).expect("taken");
        assert_eq!((h.name.as_str(), h.listen.len()), ("id", MOST_LISTENERS));
        assert!(h.listen.values().all(|v| v.len() == NAME));
    }
}
